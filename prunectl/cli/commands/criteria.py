"""prunectl criteria."""

from typing import Annotated, Any

import typer

from prunectl.checkpoints.options.pruning import AUTO
from prunectl.cli import listing
from prunectl.cli.completion import completes
from prunectl.plugins.registry import check, names
from prunectl.plugins.uses import USES

_OF_AUTO: dict[str, Any] = {
    "unit": "any",
    "when": "after",
    "schedule": "one-shot",
    "steps": 1,
    "scope": "any",
    "source": "the best of several by accuracy after repair",
}
"""The entry of `auto`, which has no scorer."""
_UNITS = {"any": "weights or nodes", "both": "weights and nodes"}
_WHEN = {"before": "before training", "during": "during training", "after": "after training"}
_LINES = {
    "before": "prunectl prune --model resnet18 --data cifar10 -c {name} -s 0.5",
    "during": "prunectl train --model resnet18 --data cifar10 --epochs 30 -c {name} -s 0.5",
    "after": "prunectl prune NAME.safetensors -c {name} -s 0.5",
}
_ONE_ROUND = ("one-shot", "constant")


def command(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Show this criterion.", autocompletion=completes("criterion")),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the criteria, or show one: what it prunes and when, its options, source and use."""
    if name is not None:
        return _show(name, as_json=as_json)
    rows = [{"name": each, **_fields(each)} for each in (*names("criterion"), AUTO)]
    if as_json:
        return listing.as_json(rows)
    for row in rows:
        row["schedule"] = _schedule(row["schedule"], row.pop("steps"))
    return listing.show_list(rows, "source")


def _fields(name: str) -> dict[str, Any]:
    from prunectl.plugins.facts import facts

    return _OF_AUTO if name == AUTO else facts("criterion", name).fields


def _show(name: str, *, as_json: bool) -> None:
    """Print one criterion."""
    from prunectl.plugins.facts import facts

    if name != AUTO:
        check("criterion", name)
    fields, use = _fields(name), USES["criterion"].get(name, "")
    known = None if name == AUTO else facts("criterion", name)
    if as_json:
        options = {} if known is None else known.options
        score = "" if known is None else known.about
        return listing.as_json({"name": name, **fields, "use": use, "score": score, "options": options})
    shown: dict[str, str | list[str]] = {
        "prunes": f"{_UNITS.get(fields['unit'], fields['unit'])}, {_WHEN.get(fields['when'], fields['when'])}",
        "use": use,
        "schedule": _schedule(fields["schedule"], fields["steps"]),
        "scope": fields["scope"],
        "source": fields["source"],
        "score": "" if known is None else known.about,
        "options": [] if known is None else listing.options_of("criterion", known),
        "example": _example(name, fields["when"], fields["scope"]),
    }
    return listing.show_facts(name, {key: text for key, text in shown.items() if text})


def _example(name: str, when: str, scope: str) -> str:
    """A command line to copy; a pattern such as 2:4 is itself the target."""
    line = _LINES.get(when, _LINES["before"]).format(name=name)
    return line.removesuffix(" -s 0.5") if ":" in scope else line


def _schedule(name: str, steps: int) -> str:
    return name if name in _ONE_ROUND else f"{name} {steps}"
