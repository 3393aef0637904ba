"""Checks values by the type of their field; a stranger's file can hold any JSON."""

import math
import types
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, get_args, get_origin

Check = Callable[[str, Any], None]
"""Raises ValueError if the value of this name is invalid."""
Fits = Callable[[Any], bool]


def expect(expected: str, fits: Fits) -> Check:
    """A check whose error says what was expected and what kind of value was found."""

    def check(name: str, value: Any) -> None:
        if not fits(value):
            raise ValueError(f"'{name}': expected {expected}, found {kind_of(value)}")

    return check


def kind_of(value: Any) -> str:
    """How a message shows a value: a number itself, else its kind, since a stranger's text may be anything."""
    if type(value) in (int, float) and not abs(value) >= 2**63:
        return str(value)
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", list: "a list"}
    return "nothing" if value is None else names.get(type(value), "an object")


def is_count(value: Any) -> bool:
    """A whole number of 0 or more that fits into 63 bits."""
    return type(value) is int and 0 <= value < 2**63


def is_number(value: Any) -> bool:
    """A finite number."""
    return type(value) in (int, float) and math.isfinite(value)


def is_text(value: Any) -> bool:
    """A text."""
    return isinstance(value, str)


def is_scalar(value: Any) -> bool:
    """A plain value."""
    return value is None or isinstance(value, bool | str) or is_number(value)


def optional(fits: Fits) -> Fits:
    """The same check, but None is allowed too."""
    return lambda value: value is None or fits(value)


def every(fits: Fits) -> Fits:
    """A list of such values."""
    return lambda value: isinstance(value, list | tuple) and all(fits(item) for item in value)


def values_that(fits: Fits) -> Fits:
    """An object of such values."""
    return lambda value: (
        isinstance(value, Mapping) and all(isinstance(key, str) and fits(item) for key, item in value.items())
    )


SCALAR = expect("a plain value", is_scalar)
_BY_TYPE: dict[Any, tuple[str, Fits]] = {
    int: ("a whole number", is_count),
    float: ("a number", is_number),
    str: ("a text", is_text),
    bool: ("true or false", lambda value: isinstance(value, bool)),
    tuple: ("a list of texts", every(is_text)),
    list: ("a list of texts", every(is_text)),
    dict: ("an object of plain values", values_that(is_scalar)),
    Mapping: ("an object of plain values", values_that(is_scalar)),
}


@cache
def check_of(annotation: Any) -> Check:
    """The check for the values of a field: `int | str`, `float | None`, `tuple[str, ...]`, `Mapping[str, Any]`, ..."""
    parts = get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    kinds = [_BY_TYPE[get_origin(part) or part] for part in parts if part is not type(None)]
    expected = " or ".join(name for name, _ in kinds)
    may_lack = type(None) in parts
    return expect(expected, lambda value: any(fits(value) for _, fits in kinds) or (may_lack and value is None))
