"""prunectl models."""

from typing import Annotated

import typer

from prunectl.cli import listing, output
from prunectl.cli.completion import completes
from prunectl.errors import UnknownName
from prunectl.plugins.libraries import READABLE, library_names
from prunectl.plugins.registry import LIBRARIES, TABLES, check, names, unknown

_OTHERS = {
    "torchvision/NAME": "a classifier of torchvision; list: `prunectl models torchvision`",
    "timm/NAME": "a network of timm, with pip install 'prunectl[timm]'; list: `prunectl models timm`",
    "transformers/NAME": "an image classifier of transformers, by the type of its configuration, such as "
    "transformers/vit",
    "net.py:build": "a function of your own, (shape, classes) -> nn.Module, or a class built without arguments",
}
"""Networks from other sources than prunectl."""


def command(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Network to show, or the beginning of a library's names to list, such as torchvision or timm/resnet.",
            autocompletion=completes("model"),
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the networks that --model takes, or show one with its options."""
    if name is not None and name.partition("/")[0] in LIBRARIES["model"]:
        return _library(name, as_json=as_json)
    if name is not None:
        return _show(name, as_json=as_json)
    rows = [{"name": each, "network": _about(each)} for each in names("model")]
    if as_json:
        return listing.as_json(rows)
    return listing.show_list([*rows, *({"name": key, "network": text} for key, text in _OTHERS.items())], "network")


def _about(name: str) -> str:
    from prunectl.plugins.facts import facts

    return facts("model", name).about if name in TABLES["model"] else "of an installed package"


def _library(name: str, *, as_json: bool) -> None:
    """Print the networks of a library whose names begin with this one."""
    library = name.partition("/")[0]
    if library not in READABLE:
        raise UnknownName(
            f"{name}: networks of transformers are not listed; use --model transformers/TYPE, such as transformers/vit"
        )
    known = library_names(library)
    if not known:
        raise UnknownName(f"{library} is not installed; pip install 'prunectl[{library}]'")
    found = [each for each in known if each.startswith(name)]
    if not found:
        raise unknown("model", name, known)
    if as_json:
        return listing.as_json([{"name": each} for each in found])
    if name in found:
        return _show_library(name, [each for each in found if each != name])
    for each in found:
        output.emit(each)
    return None


def _show_library(name: str, longer: list[str]) -> None:
    """Print one network of a library, and the longer names that begin with its name."""
    shown = {
        "network": f"of {name.partition('/')[0]}; --pretrained downloads its weights, if there are any",
        "options": "-M KEY=VALUE passes any keyword to its builder",
        "example": f"prunectl train --model {name} --data cifar10",
        "see also": listing.joined(longer),
    }
    return listing.show_facts(name, {key: text for key, text in shown.items() if text})


def _show(name: str, *, as_json: bool) -> None:
    """Print one network of prunectl or of a package."""
    from prunectl.plugins.facts import facts

    check("model", name)
    known = facts("model", name)
    if as_json:
        return listing.as_json({"name": name, "network": known.about, "options": known.options})
    return listing.show_facts(
        name,
        {
            "network": known.about,
            "options": listing.options_of("model", known),
            "example": f"prunectl train --model {name} --data cifar10",
        },
    )
