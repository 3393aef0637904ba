"""What the default run takes of a list of cases; `-m long` takes the others."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def quick(cases: Iterable[Any], chosen: Collection[Any]) -> list[Any]:
    """All cases as parameters of a test, in their order; those that are not `chosen` are marked `long`."""
    listed = list(cases)
    missing = [case for case in chosen if case not in listed]
    assert not missing, f"no such case: {missing}"
    return [case if case in chosen else pytest.param(case, marks=pytest.mark.long) for case in listed]


def one_in(count: int, cases: Iterable[Any]) -> list[Any]:
    """As `quick`, with every `count`-th case chosen: of a table in groups, something of every large group."""
    listed = list(cases)
    return quick(listed, listed[::count])


def quick_rows(rows: Iterable[tuple[Any, ...]], chosen: Collection[int]) -> list[Any]:
    """As `quick` for cases of several arguments, chosen by their places."""
    return [row if i in chosen else pytest.param(*row, marks=pytest.mark.long) for i, row in enumerate(rows)]
