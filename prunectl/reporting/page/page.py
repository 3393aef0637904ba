"""The page: one HTML file that holds all it needs, and asks no network for anything."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prunectl.reporting.curves import Setting, settings
from prunectl.reporting.findings import Look
from prunectl.reporting.page.blocks import Section, data_link
from prunectl.reporting.page.checklist import checklist
from prunectl.reporting.page.figures.figure import SERIES, Style, require
from prunectl.reporting.page.headline import headline
from prunectl.reporting.page.provenance import seeds, tree, version_sets
from prunectl.reporting.page.sections.checkpoints import checkpoints_section
from prunectl.reporting.page.sections.inside import inside_section
from prunectl.reporting.page.sections.speed import speed_section
from prunectl.reporting.page.sections.tradeoff import robust_section, settings_names, trade_off_section
from prunectl.reporting.page.sections.training import training_section
from prunectl.reporting.rows import rows
from prunectl.reporting.sources import Source, Sources, collect

_ASSETS = Path(__file__).parent / "assets"


def page(paths: Sequence[Path], *, parents: bool = False) -> str:
    """The page of checkpoints, folders, results and logs, as text; nothing is run for it.

    Raises:
        FileError, CheckpointError: a file is missing, or nothing can be read.
        OptionError: matplotlib is not installed.
    """
    return render(collect(paths, parents=parents))


def render(sources: Sources, focus: Source | None = None, look: Look | None = None) -> str:
    """The page of what was read. `look` is what was found inside the network `focus`, that of `focus_of` by default.

    Raises:
        OptionError: matplotlib is not installed.
    """
    require()
    focus = focus or focus_of(sources)
    found, mixed = settings(sources)
    labels = dict.fromkeys(series.label for setting in found for series in setting.series)
    styles = {label: Style(i) for i, label in enumerate(labels)}
    text: str = _template().render(
        title=_title(found, focus),
        facts=_facts(sources, found),
        notices=[*sources.notices, *mixed],
        settings=[(setting, headline(setting), checklist(setting)) for setting in found],
        sections=[section for section in _sections(sources, found, focus, look, styles) if not section.empty],
        legend=[(style.number, label, _when(found, label), style) for label, style in styles.items()],
        colours=SERIES,
        tree=tree(sources.given),
        data_link=data_link,
        css=(_ASSETS / "page.css").read_text(encoding="utf-8"),
        script=(_ASSETS / "page.js").read_text(encoding="utf-8"),
    )
    return text


def focus_of(sources: Sources) -> Source | None:
    """The network that the page looks into: the last one that was measured, else the last one."""
    there = [source for source in sources.given if source.seen is not None]
    measured = [source for source in there if source.measured]
    return next(reversed(measured or there), None)


def _sections(
    sources: Sources, found: Sequence[Setting], focus: Source | None, look: Look | None, styles: dict[str, Style]
) -> list[Section]:
    suffixes = settings_names(found)
    sections = []
    for i, (setting, suffix) in enumerate(zip(found, suffixes, strict=True)):
        sections.append(trade_off_section(setting, styles, prefix=f"s{i}", suffix=suffix))
        sections.append(robust_section(setting, sources, styles, prefix=f"s{i}", suffix=suffix))
    sections.append(training_section(found, sources, focus, styles, suffixes))
    if focus is not None:
        sections += [inside_section(focus, look), speed_section(focus, look)]
    return [*sections, checkpoints_section(sources.given, rows(sources))]


def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader  # noqa: PLC0415
    from markupsafe import Markup, escape  # noqa: PLC0415

    environment = Environment(
        loader=FileSystemLoader(_ASSETS),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["code"] = lambda text: Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
    return environment.get_template("page.html")


def _title(found: Sequence[Setting], focus: Source | None) -> str:
    if found:
        return f"Pruning {found[0].name}" if len(found) == 1 else f"Pruning {len(found)} networks"
    return "Pruning" if focus is None or focus.seen is None else f"Pruning {focus.seen['model']}"


def _facts(sources: Sources, found: Sequence[Setting]) -> list[str]:
    """What the page is about, in a few words each."""
    methods = {series.label for setting in found for series in setting.series}
    numbers = seeds(sources.given)
    facts = [_counted(len(sources.given), "checkpoint"), *([_counted(len(methods), "method")] if methods else [])]
    if numbers:
        facts.append(f"seeds {', '.join(numbers)}" if len(numbers) > 1 else f"seed {numbers[0]}")
    return [*facts, *version_sets(sources.given)]


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _when(found: Sequence[Setting], label: str) -> str:
    when = {series.when for setting in found for series in setting.series if series.label == label}
    return " and ".join(f"{word} training" for word in sorted(filter(None, when)))
