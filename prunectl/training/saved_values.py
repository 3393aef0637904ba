"""Checks the values of a resume file against those of a fresh training: a stranger may have written the file."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from prunectl.checkpoints.history import check_events
from prunectl.checkpoints.options.checks import expect, is_count, is_number, values_that
from prunectl.errors import CheckpointError

_OBJECT = expect("an object", lambda value: isinstance(value, Mapping))
_PART = expect("an object or nothing", lambda value: value is None or isinstance(value, Mapping))
_CHECKS: dict[str, Callable[[str, Any], None]] = {
    **dict.fromkeys(("step", "images", "spent", "seen", "passed", "entries"), expect("a whole number", is_count)),
    "seconds": expect("a number", is_number),
    "groups": expect("a list of objects", lambda value: isinstance(value, list) and all(map(_is_object, value))),
    "scheduler": _OBJECT,
    "slots": expect("an object of objects", values_that(lambda value: isinstance(value, Mapping))),
    "moment": _PART,
    "events": check_events,
}

_NEEDED = ("lr", "last_epoch", "groups")
"""Names that an optimiser or a schedule needs to continue where it stopped."""


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping)


def check_values(values: Any) -> None:
    """Check the plain values of a training's state.

    Raises:
        ValueError: one is missing or of the wrong type.
    """
    _OBJECT("values", values)
    for name, check in _CHECKS.items():
        if name not in values:
            raise ValueError(f"'{name}' is missing")
        check(name, values[name])


def like(saved: Any, fresh: Any, where: str) -> Any:
    """The saved value, if it has the type of the fresh one; for an object, only the names of the fresh one.

    A name that only a later or earlier torch has is left out or stays fresh, except those in `_NEEDED`. A value that is
    None at first may also be a flag or a number.

    Raises:
        ValueError: it has the wrong type, or a needed name is missing.
    """
    if isinstance(fresh, Mapping):
        if not isinstance(saved, Mapping):
            raise ValueError(f"'{where}' is not an object")
        missing = [key for key in _NEEDED if key in fresh and key not in saved]
        if missing:
            raise ValueError(f"'{where}.{missing[0]}' is missing")
        return {
            key: like(saved[key], value, f"{where}.{key}") if key in saved else value for key, value in fresh.items()
        }
    if isinstance(fresh, list | tuple):
        if not isinstance(saved, list | tuple) or (isinstance(fresh, tuple) and len(saved) != len(fresh)):
            raise ValueError(f"'{where}' is not a list of the right length")
        return type(fresh)(
            like(each, fresh[min(i, len(fresh) - 1)] if fresh else None, where) for i, each in enumerate(saved)
        )
    if fresh is None:
        fits = saved is None or isinstance(saved, bool) or is_number(saved)
    else:
        fits = is_number(saved) if type(fresh) in (int, float) else type(saved) is type(fresh)
    if not fits:
        raise ValueError(f"'{where}' has the wrong type")
    return saved


def groups_like(saved: list[Any], fresh: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The groups of an optimiser from a file, with the flags (`fused`, `maximize`) of the fresh ones.

    A training changes only numbers; the optimiser may not take a flag that the training did not set.

    Raises:
        ValueError: as `like`, or the number of groups differs.
    """
    if len(saved) != len(fresh):
        raise ValueError(f"'groups' has {len(saved)} entries, expected {len(fresh)}")
    flags = [
        {key: value for key, value in group.items() if value is None or isinstance(value, bool)} for group in fresh
    ]
    return [
        {**like(group, own, "groups"), **own_flags} for group, own, own_flags in zip(saved, fresh, flags, strict=True)
    ]


def check_slots(slots: Mapping[str, Any], parameter: nn.Parameter, name: str, needed: Collection[str] = ()) -> None:
    """Check an optimiser's slots of a parameter: numbers, and tensors of its shape and type or with a single entry.

    A parameter that has had a step has all the `needed` slots.

    Raises:
        ValueError: a tensor does not fit, or a slot is missing.
    """
    missing = sorted(set(needed) - slots.keys()) if slots else []
    if missing:
        raise ValueError(f"'{missing[0]}' of {name} is missing")
    for slot, value in slots.items():
        if isinstance(value, Tensor):
            whole = value.shape == parameter.shape and value.dtype == parameter.dtype
            fits = whole or (value.ndim == 0 and value.is_floating_point())
        else:
            fits = value is None or isinstance(value, bool | str) or is_number(value)
        if not fits:
            raise ValueError(f"'{slot}' of {name} does not fit")


@contextmanager
def fitting() -> Iterator[None]:
    """Turn any error about values that do not fit the training into one line.

    Raises:
        CheckpointError: it does not fit.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        what = str(error).strip().partition("\n")[0] or type(error).__name__
        raise CheckpointError(f"the saved state does not fit its training ({what}); use an intact copy") from error
