"""The reference pages of the guide, written from the program's own tables: `python -m tests.helpers.reference`."""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

from typer.models import ArgumentInfo

from prunectl.cli.guide_pages import FOLDER
from prunectl.cli.help.groups import in_groups
from prunectl.cli.loading import NAMES, callback
from prunectl.criteria.base.criterion import criterion_named
from prunectl.plugins.option_uses import OPTIONS
from prunectl.plugins.registry import PRESETS, TABLES, resolve
from prunectl.plugins.uses import USES

MADE_BY = "<!-- Generated: do not edit. Refresh with: python -m tests.helpers.reference -->"
WHEN = {"before": "before training", "after": "after training", "during": "during training"}
INTERNAL = ("image_size", "download", "progress", "direct", "network", "shape", "limit", "split")


def commands() -> str:
    """Every command with its arguments and options."""
    parts = [part for name in NAMES for part in _command(name, callback(name))]
    return _page(
        "Commands", "Every command with its arguments and options, as `prunectl COMMAND --help` lists them.", parts
    )


def criteria() -> str:
    """Every criterion with its options, and the schedules and regularisers."""
    parts = ["Set an option with `-O name=value`; the value shown is the default.", _meanings("criterion")]
    for name in TABLES["criterion"]:
        found = criterion_named(name)
        steps = "" if found.schedule in ("one-shot", "constant") else f", {found.steps} steps"
        takes = (found.scorer, found.callback, found.exploration, found.regrowth, found.prepare)
        facts = f"{found.unit}; {WHEN[found.when]}; schedule {found.schedule}{steps}; scope {found.scope}"
        parts += [
            f"## {name}",
            f"{_use('criterion', name)} The score: {_sentence(found.scorer)}",
            f"- Prunes {facts}.\n- Source: {found.source}.\n- {_options(*takes)}",
        ]
    parts += ["## Schedules", _listed("schedule"), "## Regularisers", _listed("regularizer")]
    return _page("Criteria", "Every criterion with its unit, schedule, scope, source and options.", parts)


def _meanings(kind: str) -> str:
    """What the options of all plug-ins of a kind mean."""
    return "\n".join(("| option | meaning |", "|---|---|", *(f"| `{k}` | {v} |" for k, v in OPTIONS[kind].items())))


def _use(kind: str, name: str) -> str:
    assert name in USES[kind], f"{kind} {name} has no sentence: add one to USES['{kind}'] in prunectl/plugins/uses.py"
    return USES[kind][name]


def names() -> str:
    """Every network, dataset, attack and optimiser."""
    presets = "\n".join(f"- `{name}`: {', '.join(members)}" for name, members in PRESETS.items())
    attacks = "\n".join(f"- `{name}`: {_attack(name)}" for name in TABLES["attack"])
    optimizers = ", ".join(f"`{name}`" for name in TABLES["optimizer"])
    parts = [
        *("## Networks", "For `--model`; set an option with `-M name=value`.", _listed("model"), _meanings("model")),
        *("## Datasets", "For `--data`.", _listed("data", INTERNAL)),
        *("## Attacks", "For `attack --attack`; set an option with `-O name=value`.", attacks, _meanings("attack")),
        *("### Presets", presets, "## Optimisers", f"For `train --opt`: {optimizers}."),
    ]
    return _page(
        "Networks, datasets, attacks", "Every name that `--model`, `--data`, `--attack` and `--opt` take.", parts
    )


PAGES: dict[str, Callable[[], str]] = {
    "ref-commands": commands,
    "ref-criteria": criteria,
    "ref-names": names,
}


def _page(title: str, about: str, parts: list[str]) -> str:
    return "\n\n".join([f"# Reference: {title}", MADE_BY, about, *parts]) + "\n"


def _command(name: str, function: Any) -> Iterator[str]:
    """The section of a command, from the signature of its function."""
    yield f"## {name}"
    yield inspect.getdoc(function).split("\n\n")[0].replace("\n", " ")
    hints = get_type_hints(function, include_extras=True)
    shown: dict[str, str] = {}
    arguments: list[str] = []
    for each in inspect.signature(function).parameters.values():
        type_, info = get_args(hints[each.name]) or (None, None)  # typer's own context has no spelling
        if info is not None and not info.hidden:
            shown[each.name] = _parameter(each, type_, info)
            arguments += [each.name] * isinstance(info, ArgumentInfo)
    yield "\n".join(shown[each] for each in arguments)
    for group, members in in_groups(name, [each for each in shown if each not in arguments]).items():
        yield f"**{group}**"
        yield "\n".join(shown[each] for each in members)


def _parameter(parameter: inspect.Parameter, type_: Any, info: Any) -> str:
    """The line of an option or argument."""
    types = {type_, *get_args(type_)}
    if isinstance(info, ArgumentInfo):
        spelled, value = info.metavar or parameter.name.upper(), ""
    else:
        spelled = ", ".join(_spellings(info) or [f"--{parameter.name.replace('_', '-')}"])
        value = "" if bool in types else f" {info.metavar or _kind(types)}"
    default = parameter.default
    if "[default" in info.help or default in (None, "", inspect.Parameter.empty) or default is False:
        shown = ""
    else:
        shown = f" [default: {spelled.split('/')[0] if default is True else default}]"
    return f"- `{spelled}{value}`: {' '.join(info.help.split())}{shown}"


def _spellings(info: Any) -> list[str]:
    """What an option is called; typer keeps the first spelling of an annotation as its default."""
    return [each for each in (info.default, *(info.param_decls or ())) if isinstance(each, str)]


def _kind(types: set[Any]) -> str:
    known = {int: "INT", float: "FLOAT", Path: "PATH"}
    return next((text for kind, text in known.items() if kind in types), "TEXT")


def _listed(kind: str, hidden: tuple[str, ...] = ()) -> str:
    return "\n".join(f"- `{name}`: {_plugin(resolve(kind, name), hidden)}" for name in TABLES[kind])


def _plugin(plugin: Any, hidden: tuple[str, ...]) -> str:
    options = _options(plugin, hidden=hidden)
    return f"{_sentence(plugin)} {options}" if options != "No options." else _sentence(plugin)


def _attack(name: str) -> str:
    attack = resolve("attack", name)
    what = f"foolbox's {attack.__name__}." if attack.__module__.startswith("foolbox") else _sentence(attack)
    return f"{what} {_options(attack, hidden=('distance',))}"


def _options(*plugins: Any, hidden: tuple[str, ...] = ()) -> str:
    parameters = [p for plugin in plugins if plugin is not None for p in inspect.signature(plugin).parameters.values()]
    known = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in hidden}
    shown = [f"`{name}`" if value is inspect.Parameter.empty else f"`{name}={value}`" for name, value in known.items()]
    return f"Options: {', '.join(shown)}." if shown else "No options."


def _sentence(plugin: Any) -> str:
    """The first sentence of a docstring."""
    text = " ".join((inspect.getdoc(plugin) or "").split("\n\n")[0].split())
    end = next(
        (
            i
            for i in range(len(text))
            if text[i] == "." and text[i + 1 : i + 3].strip()[:1].isupper() and text[i - 2 : i] != "al"
        ),
        None,
    )
    return text if end is None else text[: end + 1]


def main() -> None:
    """Write the pages."""
    for name, made in PAGES.items():
        Path(FOLDER / f"{name}.md").write_text(made(), encoding="utf-8")


if __name__ == "__main__":
    main()
