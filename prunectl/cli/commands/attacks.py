"""prunectl attacks."""

import inspect
from typing import TYPE_CHECKING, Annotated

import typer

from prunectl.cli import listing
from prunectl.cli.completion import completes
from prunectl.plugins.registry import PRESETS, TABLES, check, names
from prunectl.plugins.uses import USES

if TYPE_CHECKING:
    from prunectl.plugins.facts import Facts

_NORMS = ("l2", "l1", "l0")
_IN_L2 = ("deepfool", "carlini-wagner", "ddn", "salt-and-pepper")
"""L2 attacks whose names and classes do not show the norm."""
_IN_L1 = ("ead",)
_OWN = {
    "pgd.py:attack": "a function of your own with keyword-only options that returns a foolbox attack",
    "L2DeepFoolAttack": "any class of foolbox.attacks",
}


def command(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Show this attack.", autocompletion=completes("attack")),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the attacks, or show one: its norm, options and use."""
    if name is not None:
        return _show(name, as_json=as_json)
    rows = [
        {"name": each, "norm": norm_of(each), "use": USES["attack"].get(each, "")}
        for each in (*names("attack"), *PRESETS)
    ]
    if as_json:
        return listing.as_json(rows)
    return listing.show_list([*rows, *({"name": key, "norm": "", "use": text} for key, text in _OWN.items())], "use")


def norm_of(name: str) -> str:
    """The norm that bounds a built-in attack, or the norms of a preset."""
    if name in PRESETS:
        return "linf, l2, l1" if name == "quick" else "linf, l2"
    if name in _IN_L2 or name in _IN_L1:
        return "l2" if name in _IN_L2 else "l1"
    made = TABLES["attack"].get(name, "").rpartition(":")[2].lower()
    return next((norm for norm in _NORMS if made.startswith(norm) or name.startswith(f"{norm}-")), "linf")


def _show(name: str, *, as_json: bool) -> None:
    """Print one attack or preset."""
    use = USES["attack"].get(name, "")
    if name in PRESETS:
        record = {"name": name, "norm": norm_of(name), "use": use, "attacks": list(PRESETS[name])}
        if as_json:
            return listing.as_json(record)
        return listing.show_facts(name, {"norm": norm_of(name), "use": use, "attacks": listing.joined(PRESETS[name])})
    norm, known = _of_foolbox(name) if name[:1].isupper() else _plugin(name)
    if as_json:
        own = {"attack": known.about, "options": known.options}
        return listing.as_json({"name": name, "norm": norm, "use": use, **own})
    shown: dict[str, str | list[str]] = {
        "norm": norm,
        "use": use,
        "attack": known.about,
        "options": listing.options_of("attack", known),
        "example": f"prunectl attack NAME.safetensors -a {name} -n 500",
    }
    return listing.show_facts(name, {key: text for key, text in shown.items() if text})


def _plugin(name: str) -> "tuple[str, Facts]":
    """The norm and the facts of an attack, by name or the user's own."""
    from prunectl.plugins.facts import facts

    check("attack", name)
    return norm_of(name), facts("attack", name)


def _of_foolbox(name: str) -> "tuple[str, Facts]":
    """The norm and the facts of a class of foolbox.attacks."""
    from prunectl.plugins.facts import Facts
    from prunectl.robustness.methods import maker, norm_of_class

    made = maker(name)
    own = (p for p in inspect.signature(made).parameters.values() if p.kind is p.KEYWORD_ONLY)
    return norm_of_class(name), Facts({p.name: p.default for p in own}, f"foolbox.attacks.{name}")
