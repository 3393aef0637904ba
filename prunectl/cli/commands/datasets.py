"""prunectl datasets."""

from dataclasses import asdict
from typing import Annotated

import typer

from prunectl.cli import listing
from prunectl.cli.completion import completes
from prunectl.plugins.dataset_facts import DATASETS, DatasetFacts
from prunectl.plugins.registry import TABLES, check, names
from prunectl.plugins.uses import USES

_OWN = "own.py:function"
_OF_OWN = (
    "A function of your own that returns (train, test), each a Dataset, a DataLoader or (images, labels): "
    "def function(): return CIFAR10('.', train=True), CIFAR10('.', train=False)"
)
_FORMS = {"imagefolder": "imagefolder:PATH", "hf": "hf:OWNER/NAME", "webdataset": "webdataset:PATTERN"}
"""Datasets that need a path or a name."""


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
    if name.partition(":")[0] in TABLES["data"]:  # NAME:PATH
        name = name.partition(":")[0]
    about, use, held = facts("data", name).about, USES["data"].get(name, ""), DATASETS.get(name)
    if as_json:
        more = {} if held is None else {key: value for key, value in asdict(held).items() if value not in ("", None)}
        return listing.as_json({"name": name, "images": about, "use": use, **more})
    line = f"prunectl train --model resnet18 --data {_FORMS.get(name, name)}"
    shown = {"images": about, "use": use, **({} if held is None else _held(held)), "example": line}
    return listing.show_facts(name, {key: text for key, text in shown.items() if text})


def _held(facts: DatasetFacts) -> dict[str, str]:
    """The content of a dataset, and how training uses it, in words."""
    size = "that of your images" if facts.shape is None else "x".join(map(str, facts.shape))
    mean, std = (",".join(f"{value:.4f}" for value in values) for values in (facts.mean, facts.std))
    change = "`train --augment none` leaves it out" if facts.augment else "`train --augment crop` adds one"
    augment = f"{', '.join(facts.augment) or 'none'}{f' ({facts.more})' if facts.more else ''}; {change}"
    return {
        "shape": f"{size} (channels x height x width); --image-size changes it",
        "classes": "" if facts.classes is None else str(facts.classes),
        "count": "" if facts.train is None else f"{facts.train:,} for training, {facts.test:,} for testing",
        "mean, std": f"{mean}; {std}" if mean else facts.normalisation,
        "augment": augment,
        "get it": facts.get or f"--download fetches about {facts.megabytes} MB; or copy {facts.files} to --data-dir",
    }
