"""When rounds come, by epoch and by step, and the budgets that the last one meets."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunectl.checkpoints.header import ModelSpec
from prunectl.errors import OptionError
from prunectl.measuring.memory import stored_bytes
from prunectl.pruning.budget import Budget
from prunectl.pruning.prune import prune
from prunectl.pruning.shrink import shrink
from prunectl.training.round_times import RoundTimes, exploring, fitting
from prunectl.training.train import train
from prunectl.training.trainer import Trainer
from tests.helpers.gradual_pruning import SHAPE, recipe, start
from tests.helpers.marks import quick
from tests.helpers.networks import image_data

STEPS_PER_EPOCH = 4
COUNTS = st.integers(1, 40)


@pytest.mark.parametrize(
    ("epochs", "rounds", "expected"),
    [(33, 7, (4, 4)), (32, 7, (3, 3)), (10, 7, (1, 1)), (8, 7, (0, 1)), (7, 7, (4, 4)), (9, 1, (4, 4)), (8, 1, (3, 3))],
)
def test_rounds_fit_a_shorter_training(epochs: int, rounds: int, expected: tuple[int, int]) -> None:
    assert fitting(4, 4, rounds, epochs) == expected


@given(st.integers(0, 9), COUNTS, COUNTS, st.integers(1, 400))
def test_where_the_rounds_can_fit_they_do(delay: int, every: int, rounds: int, epochs: int) -> None:
    first, between = fitting(delay, every, rounds, epochs)
    assert (first + between * rounds < epochs) == (rounds < epochs)
    assert rounds >= epochs or (0 <= first <= delay and 1 <= between <= every)


def test_rounds_come_between_steps_where_there_are_more_than_epochs() -> None:
    assert fitting(4, 4, 10, 10, 3910) == ("0s", "355s")
    assert fitting(4, 4, 10, 10, 3910, by_epoch=True) == (4, 4)
    assert fitting(4, 4, 10, 1, 10) == (4, 4)  # a step is left after the last round
    assert fitting(4, 4, 10, 1, 11) == ("0s", "1s")


@given(st.integers(0, 9), COUNTS, COUNTS, st.integers(1, 9), COUNTS)
def test_where_the_rounds_fit_between_steps_they_do(delay, every, rounds, epochs, per_epoch) -> None:
    steps = epochs * per_epoch
    when = RoundTimes(*fitting(delay, every, rounds, epochs, steps), per_epoch, epochs)
    assert (when.first(rounds)[-1] < steps) == (rounds < max(epochs, steps))


@given(st.floats(0.1, 1), COUNTS, st.integers(1, 9))
def test_a_short_training_has_some_rounds_of_a_method_that_explores(until, per_epoch, epochs) -> None:
    own = RoundTimes("0s", "1000000s", per_epoch, epochs)
    found = exploring(own, until)
    if found is None:
        assert math.ceil(until * own.steps) < 4
    else:
        assert RoundTimes(*found, per_epoch, epochs).before(until) >= 3
    assert exploring(RoundTimes("0s", "1s", per_epoch, epochs), 1) is None or own.steps < 2


@given(st.integers(0, 9), COUNTS, COUNTS, COUNTS, COUNTS, st.booleans(), st.booleans())
def test_rounds_are_evenly_spaced_and_epochs_are_steps(delay, every, per_epoch, epochs, rounds, delay_s, every_s):
    steps = delay if delay_s else delay * per_epoch, every if every_s else every * per_epoch
    when = RoundTimes(f"{delay}s" if delay_s else delay, f"{every}s" if every_s else every, per_epoch, epochs)
    same = RoundTimes(f"{steps[0]}s", f"{steps[1]}s", per_epoch, epochs)
    times = when.first(rounds)
    assert times == same.first(rounds)
    assert times[0] == sum(steps)
    assert {after - before for before, after in pairwise(times)} <= {steps[1]}
    assert when.by_step == (delay_s or every_s)
    assert all(when.event(step)["epoch"] == step // per_epoch for step in times)
    assert [when.is_start(when.event(step)) for step in (0, *times)] == [True, *[False] * rounds]


@given(st.integers(0, 9), COUNTS, COUNTS, COUNTS, st.floats(0, 1, exclude_min=True))
def test_before_counts_the_rounds_in_a_share_of_the_training(delay, every, per_epoch, epochs, share):
    when = RoundTimes(f"{delay}s", f"{every}s", per_epoch, epochs)
    count = when.before(share)
    limit = share * when.steps
    assert all(step < limit for step in when.first(count))
    assert when.first(count + 1)[-1] >= limit or math.isclose(when.first(count + 1)[-1], limit)


@pytest.mark.parametrize("criterion", quick(["snapit-during", "rigl"], ["rigl"]))
def test_rounds_by_step_at_the_ends_of_epochs_are_those_by_epoch(criterion: str) -> None:
    made = [
        train(
            start(),
            image_data(),
            recipe(criterion, 0.6, epochs=6, steps=2, prune_delay=delay, prune_every=every, ema=0.9),
        )
        for delay, every in ((1, 1), ("4s", "4s"), (1, "4s"))
    ]
    state = made[0].model.state_dict()
    for other in made[1:]:
        assert all(tensor.equal(state[name]) for name, tensor in other.model.state_dict().items())
        events = other.history[-1].result["events"]
        assert [event["step"] for event in events] == [4 * event["epoch"] for event in events]
    assert all("step" not in event for event in made[0].history[-1].result["events"])
    assert [each.history[-1].options["prune_every"] for each in made] == [1, "4s", "4s"]


def test_rounds_come_within_epochs() -> None:
    trainer = Trainer(start(), image_data(), recipe("gmp", 0.6, epochs=4, prune_delay="1s", prune_every="3s", steps=4))
    pruned = [record["step"] for record in trainer.steps() if record and "pruned" in record]
    assert pruned == [4, 7, 10, 13]
    assert [event["epoch"] for event in trainer.result().history[-1].result["events"]] == [1, 1, 2, 3]


@pytest.mark.parametrize(("kind", "text"), [("flops", "2x"), ("params", "0.4x"), ("size", "1.2KB"), ("flops", "3x")])
@pytest.mark.parametrize("rounds", quick([1, 3], [3]))
def test_the_last_round_meets_a_budget_as_prune_does(kind: str, text: str, rounds: int) -> None:
    """Nothing is learnt at a learning rate of 0, so one round leaves what `prune` leaves."""
    still = {"opt": "sgd", "lr": 0.0, "wd": 0.0, "schedule": "cubic", "steps": rounds}
    begun = replace(start(), spec=ModelSpec("tests.helpers.dropout_network:built", SHAPE, 3))  # of the same shapes
    made = train(begun, image_data(), recipe("efficient-convnets", None, epochs=rounds + 1, **{kind: text}, **still))
    budget = Budget.read(kind, text)
    alone = shrink(prune(start(), None, criterion="efficient-convnets", budget=budget))
    result, expected = made.history[-1].result, alone.history[-2].result
    key = {"flops": "flops", "params": "parameters", "size": "bytes"}[kind]
    dense = start().dense
    whole = {"flops": dense.flops, "params": dense.parameters, "size": stored_bytes(start().model, start().masks)[0]}
    assert result[key] <= budget.limit(whole[kind])
    reached = [event["node_sparsity"] for event in result["events"]]
    assert len(reached) == rounds
    assert reached == sorted(reached)
    assert made.history[-1].options[kind] == text
    if rounds == 1:
        assert result[key] == expected[key]
        assert all(a.equal(b) for a, b in zip(made.model.parameters(), alone.model.parameters(), strict=True))
    else:
        assert reached[0] < 0.8 * reached[-1]


def test_a_budget_that_cannot_be_met_is_refused_before_training() -> None:
    with pytest.raises(OptionError, match=r"`flops` 500x allows .* is the minimum"):
        Trainer(start(), image_data(), recipe("snapit-during", None, flops="500x", steps=1))
    small = shrink(prune(start(), None, criterion="efficient-convnets", sparsity=0.5))
    with pytest.raises(OptionError, match=r", `params` 0\.9x allows"):
        Trainer(small, image_data(), recipe("snapit-during", None, params="0.9x", steps=1))
