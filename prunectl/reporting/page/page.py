"""The page: one HTML file that opens offline and loads nothing."""

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

from prunectl.reporting.findings import Look
from prunectl.reporting.page.blocks import Section, data_link
from prunectl.reporting.page.data import PageData, page_data
from prunectl.reporting.page.figures.figure import SERIES, require
from prunectl.reporting.page.provenance import seeds, version_sets
from prunectl.reporting.page.sections.table import SECTIONS
from prunectl.reporting.sources import Source, Sources, collect

_ASSETS = Path(__file__).parent / "assets"
_SCRIPTS = ("page", "choices", "figures", "tables")


def page(paths: Sequence[str | Path], *, parents: bool = False) -> str:
    """The page of checkpoints, folders, results and logs, as HTML; no network is run.

    Raises:
        FileError, CheckpointError: a file is missing, or nothing can be read.
        OptionError: matplotlib is not installed.
    """
    return render(collect(paths, parents=parents))


def render(sources: Sources, focus: Source | None = None, looks: Mapping[Path, Look] | None = None) -> str:
    """The page of these sources; `looks` are analyses of networks, by path.

    The page shows `focus` first, by default the best trade-off.

    Raises:
        OptionError: matplotlib is not installed.
    """
    require()
    data = page_data(sources, focus, looks)
    sections = list(_sections(data))
    script = "\n".join((_ASSETS / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS)
    text: str = _template().render(
        title=_title(data),
        facts=_facts(data),
        notices=data.notices,
        sections=[(anchor, section) for anchor, section in sections if not section.empty],
        absent=[section for _, section in sections if section.empty],
        legend=[(style.number, label, _when(data, label), style) for label, style in data.styles.items()],
        colours=SERIES,
        data_link=data_link,
        css=(_ASSETS / "page.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
    )
    return text


def _sections(data: PageData) -> Iterator[tuple[str, Section]]:
    """Every section with its anchor; neighbours that are repeated for each setting stay together."""
    for per_setting, neighbours in groupby(SECTIONS, lambda entry: entry.per_setting):
        entries = list(neighbours)
        for part in data.each_setting() if per_setting else [data]:
            for entry in entries:
                section = entry.build(part)
                if section is not None:
                    yield f"{part.prefix}-{entry.anchor}" if per_setting else entry.anchor, section


def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415
    from markupsafe import Markup, escape  # noqa: PLC0415

    environment = Environment(
        loader=FileSystemLoader(_ASSETS),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    environment.filters["code"] = lambda text: Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704  (the input is escaped)
    return environment.get_template("page.html")


def _title(data: PageData) -> str:
    if data.settings:
        return f"Pruning {data.setting.name}" if len(data.settings) == 1 else f"Pruning {len(data.settings)} networks"
    return "Pruning" if data.focus is None or data.focus.seen is None else f"Pruning {data.focus.seen['model']}"


def _facts(data: PageData) -> list[str]:
    """The line under the title: the numbers of checkpoints and methods, the seeds and versions."""
    given, numbers = data.sources.given, seeds(data.sources.given)
    facts = [_counted(len(given), "checkpoint"), *([_counted(len(data.styles), "method")] if data.styles else [])]
    if numbers:
        facts.append(f"seeds {', '.join(numbers)}" if len(numbers) > 1 else f"seed {numbers[0]}")
    return [*facts, *version_sets(given)]


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _when(data: PageData, label: str) -> str:
    """When a method prunes, in all settings."""
    when = {series.when for setting in data.settings for series in setting.series if series.label == label}
    return " and ".join(f"{word} training" for word in sorted(filter(None, when)))
