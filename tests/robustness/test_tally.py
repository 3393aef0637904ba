"""A stored batch of an attack: what is read can be added to the others and reported, anything else is refused."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from prunectl.robustness.tally import MethodTally, Tally

REFUSED = (KeyError, TypeError, ValueError, AttributeError)
VALUES = (None, -1, 0.5, "x", True, [], [1], [None, 1], [-1, 0], ["1", "2"], {}, 10**30, float("nan"))


def batch(agree: list[int] | None = None) -> Tally:
    """Ten images at two eps, nine of them right."""
    methods = {"pgd": MethodTally([9, 9], [5, 2], [4, 7]), "ddn": MethodTally([9, 9], [4, 1], [5, 8], [0.5] * 9)}
    return Tally(10, 9, [4, 1], [5, 8], 9, agree, None if agree is None else 9, methods)


def places(plain: dict[str, Any], before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The keys to every value."""
    for key, value in plain.items():
        yield (*before, key)
        if isinstance(value, dict):
            yield from places(value, (*before, key))


@pytest.mark.parametrize("agree", [None, [4, 1]], ids=["alone", "reference"])
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_of_another_type_is_refused_or_harmless(value: object, agree: list[int] | None) -> None:
    for keys in places(batch(agree).plain()):
        plain = copy.deepcopy(batch(agree).plain())
        place = plain
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        try:
            found = Tally.read(plain)
        except REFUSED:
            continue
        if list(found.methods) == ["pgd", "ddn"] and (found.agree is None) == (agree is None):
            assert len(found.plus(batch(agree)).results([0.1, 0.2])) == 2, keys


@pytest.mark.parametrize(
    ("key", "value"),
    [("robust", None), ("turned", None), ("clean", 11), ("robust", [11, 0]), ("agree", [4, 1]), ("clean_agree", 9)],
)
def test_what_no_attack_counts_is_refused(key: str, value: object) -> None:
    with pytest.raises(REFUSED):
        Tally.read({**batch().plain(), key: value})


def test_what_was_stored_is_read() -> None:
    for made in (batch(), batch([4, 1])):
        assert Tally.read(made.plain()) == made
