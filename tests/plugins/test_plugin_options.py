"""Options of plug-ins: each is read as its default's type, and a wrong one is one line."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

from prunectl.errors import OptionError
from prunectl.plugins.options import keyword_options
from prunectl.plugins.registry import resolve


def refusal(call: Callable[[], object]) -> str:
    """The one line that a refused call gives."""
    with pytest.raises(OptionError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def plugin(
    model: object,
    steps: int = 3,
    *,
    batches: int = 5,
    rate: float = 0.5,
    on: bool = True,
    mode: str = "fast",
    path: str | None = None,
) -> None:
    """A function with an option of every kind."""


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("batches", "8", 8),
        ("batches", "-1", -1),
        ("rate", "0.25", 0.25),
        ("rate", "1e-3", 0.001),
        ("rate", "2", 2.0),
        ("on", "true", True),
        ("on", "Yes", True),
        ("on", "1", True),
        ("on", "False", False),
        ("on", "no", False),
        ("on", "0", False),
        ("mode", "slow", "slow"),
        ("mode", "", ""),
        ("mode", "1", "1"),
        ("path", "x", "x"),
    ],
)
def test_an_option_is_read_as_its_defaults_type(key, text, value):
    found = keyword_options(plugin, {key: text}, "criterion x")
    assert found == {key: value}
    assert type(found[key]) is type(value)


def test_only_what_is_given_comes_back():
    assert keyword_options(plugin, {}, "criterion x") == {}
    assert keyword_options(plugin, {"mode": "a", "batches": "2"}, "x") == {"mode": "a", "batches": 2}


@pytest.mark.parametrize("key", ["batch", "model", "steps", "self", ""])  # what is not keyword-only is no option
def test_an_unknown_option_lists_the_known(key):
    expected = f"criterion x has no option '{key}'; its options: batches=5, rate=0.5, on=True, mode=fast, path=None"
    assert refusal(lambda: keyword_options(plugin, {key: "1"}, "criterion x")) == expected


def test_an_option_of_what_has_none():
    expected = "criterion magnitude has no option 'batches'; its options: none"
    scorer = resolve("criterion", "magnitude").scorer
    assert refusal(lambda: keyword_options(scorer, {"batches": "1"}, "criterion magnitude")) == expected


@pytest.mark.parametrize(
    ("key", "text", "wants"),
    [
        ("batches", "many", "of type int, such as 5"),
        ("batches", "2.5", "of type int, such as 5"),
        ("batches", "", "of type int, such as 5"),
        ("rate", "fast", "of type float, such as 0.5"),
        ("on", "maybe", "of type bool, such as True"),
        ("on", "2", "of type bool, such as True"),
    ],
)
def test_a_value_that_does_not_read(key, text, wants):
    expected = f"option '{key}' of criterion x takes a value {wants}, got '{text}'"
    assert refusal(lambda: keyword_options(plugin, {key: text}, "criterion x")) == expected


@pytest.mark.parametrize("key", ["rate", "path"])
def test_nan_is_no_number(key):
    expected = f"option '{key}' of criterion x takes a number, got 'nan'"
    assert refusal(lambda: keyword_options(plugin, {key: "nan"}, "criterion x")) == expected


def test_an_option_without_a_default_is_a_text():
    def needs(*, place: str) -> None: ...

    assert keyword_options(needs, {"place": "here"}, "data x") == {"place": "here"}
    found = refusal(lambda: keyword_options(needs, {"x": "1"}, "data x"))
    assert found == "data x has no option 'x'; its options: place"


@pytest.mark.parametrize("thing", [5, "text", None, inspect])
def test_what_cannot_be_called_is_no_plugin(thing: Any):
    found = refusal(lambda: keyword_options(thing, {}, "model m.py:x"))
    assert re.fullmatch(r"model m\.py:x is a \w+, expected a function", found)
