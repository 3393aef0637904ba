"""The names of torchvision's and timm's networks, read from their source, since importing either takes seconds."""

import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

READABLE = ("torchvision", "timm")
"""Libraries that register networks by a decorator of functions; transformers reads types from configurations."""
_REGISTERED = re.compile(r"^@register_model(?:\(\))?[^\n]*\n(?:@[^\n]*\n(?:[ )][^\n]*\n)*)*def (\w+)", re.MULTILINE)


@cache
def library_names(library: str) -> tuple[str, ...]:
    """The networks of a library as `library/name`, sorted; empty if it is not installed."""
    found = importlib.util.find_spec(library) if library in READABLE else None
    if found is None or found.origin is None:
        return ()
    folder = Path(found.origin).parent / "models"
    return tuple(sorted(f"{library}/{name}" for file in folder.glob("*.py") for name in _registered(file)))


def _registered(file: Path) -> Iterator[str]:
    yield from _REGISTERED.findall(file.read_text(encoding="utf-8"))
