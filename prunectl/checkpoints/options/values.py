"""Converts options to the plain values of a history or a resume file, and back."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from prunectl.checkpoints.options.checks import check_of
from prunectl.checkpoints.options.option import Entry, completed, own_entries

T = TypeVar("T")


def recorded(options: Any, *, unset: bool = True) -> dict[str, Any]:
    """The fields of an options dataclass by their keys in a history, as JSON values; `unset` keeps those that are None.

    The fields of a nested dataclass are stored beside its own.
    """
    own = {entry.name: entry for entry in _own(type(options))}
    values = dict[str, Any]()
    for each in fields(options):
        value, entry = getattr(options, each.name), own.get(each.name)
        if entry is None:
            values |= {} if value is None else recorded(value, unset=unset)
        elif not (entry.option.sparse and value == entry.default) and (unset or value is not None):
            values[entry.key] = _plain(value)
    return values


def restored(record: type[T], values: Any, **inner: Any) -> T:
    """Undo `recorded`; `inner` are the nested dataclasses. A missing field has its earlier value, or its default.

    Raises:
        ValueError: names a value that is unknown, missing, or of the wrong type.
        OptionError: a value out of range.
    """
    if not isinstance(values, Mapping):
        raise ValueError("expected an object")
    known = {entry.key: entry for entry in _own(record)}
    for key, value in values.items():
        if key not in known:
            raise ValueError(f"unknown value '{key}'")
        check_of(known[key].type)(key, value)
    missing = next((key for key, entry in known.items() if entry.required and key not in values), None)
    if missing is not None:
        raise ValueError(f"'{missing}' is missing")
    whole = completed(known.values(), values)
    given = {known[key].name: tuple(value) if isinstance(value, list) else value for key, value in whole.items()}
    return record(**given, **inner)


def _own(record: Any) -> tuple[Entry, ...]:
    return own_entries(record)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value
