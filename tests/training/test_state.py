"""The state of a training is that of its parts, under names that resume files keep for ever."""

import json

import pytest
import torch
from torch import nn

from prunectl.errors import OptionError
from prunectl.training.learner import Learner
from prunectl.training.meters import Meter
from prunectl.training.progress import Progress
from prunectl.training.rewind import RewindPoint
from prunectl.training.slots import from_state, to_state
from prunectl.training.state import State, separated, under, within
from prunectl.training.trainer import Trainer
from tests.helpers.gradual_pruning import recipe, start
from tests.helpers.networks import image_data

CPU = torch.device("cpu")


def stopped(criterion: str, **changes: object) -> Trainer:
    """A training between its first round of pruning and its end."""
    trainer = Trainer(start(), image_data(), recipe(criterion, epochs=7, prune_delay=1, prune_every=1, **changes))
    for record in trainer.steps():
        if record and "pruned" in record:
            return trainer
    raise AssertionError("no round")


@pytest.mark.parametrize(
    ("criterion", "rewind_to", "kinds"),
    [
        ("imp", 1, "average model moment/average moment/network moment/slots optimizer random sums"),
        ("l0", None, "average model optimizer random sums"),
    ],
)
def test_the_names_of_a_resume_file(criterion: str, rewind_to: int | None, kinds: str) -> None:
    state = stopped(criterion, ema=0.9, rewind_to=rewind_to).state()
    found = {"/".join(name.split("/")[: 2 if name.startswith("moment") else 1]) for name in state.tensors}
    assert sorted(found) == kinds.split()
    values = "entries events groups images moment passed scheduler seconds seen slots spent step"
    assert sorted(state.values) == values.split()
    assert (state.values["moment"] is not None) == (criterion == "imp")


def test_the_names_of_a_callback() -> None:
    trainer = Trainer(start(), image_data(), recipe("l0", epochs=3, prune_every=1, ema=0.9))
    next(trainer.steps())
    names = set(trainer.state().tensors)
    assert {"companion/log_alpha", "companion_average/module.log_alpha"} <= names
    assert "optimizer/companion/log_alpha/exp_avg" in names


def test_a_learner_takes_over_the_state_of_another() -> None:
    trainer = stopped("imp", ema=0.9)
    saved = trainer.state()
    learner, now = trainer.learner, trainer.current
    other = Learner(trainer.recipe, now, learner.callback, scheduled=1)
    with torch.no_grad():
        for parameter in learner.model.parameters():
            parameter.zero_()
    other.load_state_dict(State(saved.tensors, json.loads(json.dumps(saved.values))).parts)
    tensors, values = separated(other.state_dict())
    assert all(torch.equal(tensor, saved.tensors[name]) for name, tensor in tensors.items())
    assert values == {name: saved.values[name] for name in values}
    assert other.rewind_point is not None and set(other.rewind_point.average)


def test_progress_and_its_meter() -> None:
    progress, other = Progress(CPU), Progress(CPU)
    progress.add_(torch.tensor(2.0), torch.tensor(2), images=3, flops=7)
    assert progress.latest() == (2.0, 2 / 3)
    state = progress.state_dict()
    assert {name: value for name, value in state.items() if name != "seconds"} == {
        "sums/loss": torch.tensor(6.0),
        "sums/correct": torch.tensor(2),
        "seen": 3,
        "step": 1,
        "images": 3,
        "spent": 7,
    }
    other.load_state_dict(state)
    progress.meter.clear_()
    assert other.latest() == (2.0, 2 / 3)
    assert (other.step, other.images, other.spent) == (1, 3, 7)


def test_a_meter_keeps_its_sums_to_itself() -> None:
    meter, other = Meter(CPU), Meter(CPU)
    meter.add_(torch.tensor(1.0), torch.tensor(2), images=2)
    other.load_state_dict(meter.state_dict())
    other.clear_()
    assert meter.means() == (1.0, 1.0)


def test_a_rewind_point_is_what_it_was() -> None:
    model = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    point = RewindPoint.of(model, optimizer, schedule)
    tensors, values = separated(point.state_dict())
    again = RewindPoint.from_state_dict({**tensors, **json.loads(json.dumps(values))})
    assert again.groups == point.groups and again.schedule == point.schedule
    assert torch.equal(again.network["weight"], point.network["weight"])
    assert torch.equal(again.slots["weight"]["exp_avg"], torch.full((2, 2), 0.1))
    assert again.average == {}


def test_slots_with_tensors_and_numbers() -> None:
    one = torch.ones(1)
    named = {"0.weight": {"exp_avg": one, "eta": 0.5}, "0.bias": {}}
    state = to_state("optimizer", named)
    assert state == {"optimizer/0.weight/exp_avg": one, "slots": {"0.weight": {"eta": 0.5}, "0.bias": {}}}
    assert from_state("optimizer", state) == named
    with pytest.raises(OptionError, match="keeps a list as 'seen'"):
        to_state("optimizer", {"0.weight": {"seen": [1]}})


def test_kinds_are_told_apart() -> None:
    state = under("average", {"a": torch.zeros(1)}) | under("average_2", {"a": torch.ones(1)})
    assert within("average", state) == {"a": torch.zeros(1)}
