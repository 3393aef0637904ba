"""prunectl datasets."""

from typing import Annotated

import typer

from prunectl.cli import listing
from prunectl.cli.completion import completes
from prunectl.plugins.registry import check, names
from prunectl.plugins.uses import USES

_OWN = "own.py:function"
_OF_OWN = (
    "A function of your own that returns (train, test), each a Dataset, a DataLoader or (images, labels): "
    "def function(): return CIFAR10('.', train=True), CIFAR10('.', train=False)"
)
_FORMS = {"imagefolder": "imagefolder:PATH", "hf": "hf:OWNER/NAME", "webdataset": "webdataset:PATTERN"}
"""Datasets that need a place."""


def command(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Show this dataset.", autocompletion=completes("data")),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the datasets that --data takes, or show one."""
    if name is not None:
        return _show(name, as_json=as_json)
    rows = [{"name": _FORMS.get(each, each), "use": USES["data"].get(each, "")} for each in names("data")]
    if as_json:
        return listing.as_json(rows)
    return listing.show_list([*rows, {"name": _OWN, "use": _OF_OWN}], "use")


def _show(name: str, *, as_json: bool) -> None:
    """Print one dataset."""
    from prunectl.plugins.facts import facts

    check("data", name)
    about, use = facts("data", name).about, USES["data"].get(name, "")
    if as_json:
        return listing.as_json({"name": name, "images": about, "use": use})
    line = f"prunectl train --model resnet18 --data {_FORMS.get(name, name)}"
    shown = {"images": about, "use": use, "example": line}
    return listing.show_facts(name, {key: text for key, text in shown.items() if text})
