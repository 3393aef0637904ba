"""What a resume file says of optimiser and schedule is taken where it is of the kind that a fresh training has."""

import pytest
import torch
from torch import nn

from prunectl.errors import CheckpointError
from prunectl.training.saved_values import check_slots, check_values, fitting, groups_like, like

FRESH = {"lr": 0.1, "betas": (0.9, 0.99), "fused": True, "foreach": None, "steps": [1, 2], "inner": {"x": 1}}


def test_values_of_the_same_kind_are_taken_and_unknown_names_are_not() -> None:
    saved = {"lr": 1, "betas": [0.5, 0.6], "fused": False, "foreach": True, "steps": [], "inner": {"x": 2}, "step": 3}
    expected = {"lr": 1, "betas": (0.5, 0.6), "fused": False, "foreach": True, "steps": [], "inner": {"x": 2}}
    assert like(saved, FRESH, "groups") == expected
    assert like({"lr": 0.5}, FRESH, "groups") == {**FRESH, "lr": 0.5}


def test_a_group_without_its_rate_and_a_schedule_without_its_step_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'groups\.lr' is missing"):
        like({"betas": (0.5, 0.6)}, FRESH, "groups")
    with pytest.raises(ValueError, match=r"'scheduler\.last_epoch' is missing"):
        like({}, {"last_epoch": 3}, "scheduler")


def test_flags_of_an_optimiser_are_those_of_the_recipe() -> None:
    group = {"lr": 0.1, "fused": True, "maximize": False, "foreach": None}
    assert groups_like([{"lr": 0.3, "fused": False, "maximize": True, "foreach": True}], [group]) == [
        {**group, "lr": 0.3}
    ]
    with pytest.raises(ValueError, match="'groups' has 2 entries, expected 1"):
        groups_like([group, group], [group])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(
            ("lr", "x"),
            ("lr", True),
            ("lr", float("nan")),
            ("lr", None),
            ("betas", 3),
            ("betas", [0.1, 0.2, 0.3]),
            ("betas", ["x", 1]),
        ),
        *(("fused", 1), ("foreach", "x"), ("steps", {}), ("steps", [None]), ("inner", 3), ("inner", {"x": []})),
    ],
)
def test_values_of_another_kind_are_refused(key, value) -> None:
    with pytest.raises(ValueError, match=f"'groups.{key}"):
        like({"lr": 0.1, key: value}, FRESH, "groups")


@pytest.mark.parametrize(
    "slot",
    [torch.zeros(3), torch.zeros(2, 3).half(), torch.zeros((), dtype=torch.int64), [1], float("inf")],
    ids=["shape", "type", "step", "list", "infinite"],
)
def test_slots_that_do_not_fit_their_parameter_are_refused(slot) -> None:
    parameter = nn.Parameter(torch.zeros(2, 3))
    check_slots({"exp_avg": torch.zeros(2, 3), "step": torch.tensor(1.0), "n": 1}, parameter, "w")
    with pytest.raises(ValueError, match="'exp_avg' of w does not fit"):
        check_slots({"exp_avg": slot}, parameter, "w")


def test_a_slot_that_is_missing_is_refused() -> None:
    parameter = nn.Parameter(torch.zeros(2))
    check_slots({}, parameter, "w", {"exp_avg"})
    with pytest.raises(ValueError, match="'exp_avg' of w is missing"):
        check_slots({"step": torch.tensor(1.0)}, parameter, "w", {"step", "exp_avg"})


def test_plain_values_are_checked_by_name() -> None:
    counts = dict.fromkeys(("step", "images", "spent", "seen", "passed", "entries"), 1)
    whole = {
        **counts,
        "seconds": 0.5,
        "groups": [{}],
        "scheduler": {},
        "slots": {"w": {}},
        "moment": None,
        "events": [],
    }
    check_values(whole)
    for name, value in (("step", -1), ("seconds", "x"), ("groups", {}), ("slots", {"w": 1}), ("events", [{}])):
        with pytest.raises(ValueError, match=name):
            check_values({**whole, name: value})
        with pytest.raises(ValueError, match=f"'{name}' is missing"):
            check_values({key: each for key, each in whole.items() if key != name})


def test_what_does_not_fit_is_one_line() -> None:
    with (
        pytest.raises(CheckpointError, match=r"does not fit its training \(size mismatch\); use an intact copy"),
        fitting(),
    ):
        raise RuntimeError("size mismatch\nand more")
