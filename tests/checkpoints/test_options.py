"""History, flags and checks of an option follow from its field: what is recorded comes back from the command line."""

from types import UnionType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunectl.checkpoints.options.checks import check_of
from prunectl.checkpoints.options.option import entries
from prunectl.checkpoints.options.pruning import GradualPruning, StandalonePruning
from prunectl.checkpoints.options.table import COMMANDS, RECORDS, flags, known
from prunectl.checkpoints.options.training import Recipe
from prunectl.checkpoints.options.values import recorded, restored
from prunectl.cli import in_process
from prunectl.errors import OptionError

SAMPLES = {int: 13, float: 0.25, str: "word", bool: True}
READ_AS_TEXT = {"adv_eps", "augment", "prune_delay", "prune_every"}
"""Fields whose parameter is a text such as 8/255, which the command reads."""


def _sample(entry) -> object:
    parts = entry.type.__args__ if isinstance(entry.type, UnionType) else (entry.type,)
    kind = next(part for part in parts if part is not type(None))
    return not entry.default if kind is bool else SAMPLES.get(kind)


FIELDS = [
    (command, entry)
    for command in COMMANDS
    for entry in known(command).values()
    if entry.option.shown and _sample(entry) is not None and entry.name not in READ_AS_TEXT and not entry.option.file
]


@pytest.mark.parametrize(("command", "entry"), FIELDS, ids=[f"{c}-{e.name}" for c, e in FIELDS])
def test_a_recorded_value_is_what_the_command_line_reads(command, entry) -> None:
    value = _sample(entry)
    needed = {} if entry.option.needs is None else {entry.option.needs: "l1"}
    words = [
        f"{flag}={text}" if text is not None else flag for flag, text in flags(command, {**needed, entry.key: value})
    ]
    assert in_process.read([command, *words])[entry.name] == value


def test_lists_and_options_of_plug_ins_are_flags() -> None:
    assert flags(
        "prune", {"keep": ["a", "b.*"], "controls": ["reinit"], "options": {"batches": 2}, "balanced": False}
    ) == [
        ("-O", "batches=2"),
        ("--keep", "a"),
        ("--keep", "b.*"),
        ("--shuffled", None),
        ("--reinit", None),
    ]
    both = {"criterion": "snip", "options": {"batches": 2}, "reg": "lp", "reg_options": {"p": "1"}, "augment": []}
    assert flags("train", both) == [
        *(("--criterion", "snip"), ("-O", "criterion.batches=2"), ("--reg", "lp"), ("-O", "reg.p=1")),
        ("--augment", "none"),
    ]
    assert flags("train", {"amp": True, "device": "cuda"}) == flags("train", {"amp": False, "device": "cpu"}) == []
    assert flags("train", {"amp": False, "device": "cuda"}) == [("--no-amp", None)]
    assert flags("train", {"reg": None, "reg_weight": 0.5, "prune_steps": 2}) == [("--steps", "2")]


def test_no_two_options_of_a_command_have_one_key() -> None:
    for command, records in RECORDS.items():
        keys = [entry.key for record in records for entry in entries(record)]
        assert len(keys) == len(set(keys)), command


@given(st.floats(0.1, 0.9), st.integers(1, 9), st.lists(st.text(max_size=3), max_size=2), st.booleans())
def test_what_is_recorded_is_restored(sparsity, steps, keep, balanced) -> None:
    pruning = StandalonePruning(sparsity=sparsity, steps=steps, keep=tuple(keep), balanced=balanced, options={"a": 1})
    assert restored(StandalonePruning, recorded(pruning)) == pruning
    during = GradualPruning("imp", sparsity, steps=steps, keep=tuple(keep))
    assert recorded(during)["prune_steps"] == steps and "steps" not in recorded(during)
    assert restored(GradualPruning, recorded(during)) == during
    recipe = Recipe(epochs=steps, augment=("flip",), prune=during)
    values = recorded(recipe)
    assert values.items() >= recorded(during).items()
    own = {key: value for key, value in values.items() if key not in recorded(during)}
    assert restored(Recipe, own, prune=during) == recipe


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"lr": "x"}, "'lr': expected a number, found a text"),
        ({"epochs": 2.5}, "'epochs': expected a whole number, found 2.5"),
        ({"epochs": -1}, "'epochs': expected a whole number, found -1"),
        ({"augment": "flip"}, "'augment': expected a list of texts, found a text"),
        ({"x": 1}, "unknown value 'x'"),
        ([], "expected an object"),
    ],
)
def test_values_of_another_type_are_refused(values, said) -> None:
    with pytest.raises(ValueError, match=said):
        restored(Recipe, values)


def test_a_schedule_without_end_is_refused() -> None:
    with pytest.raises(OptionError, match="`steps` must be at most 10,000, got 1000000000000000000"):
        restored(GradualPruning, {"prune_steps": 10**18})


def test_every_field_has_a_check() -> None:
    for command in RECORDS:
        for entry in known(command).values():
            with pytest.raises(ValueError, match="expected"):
                check_of(entry.type)(entry.key, object())
