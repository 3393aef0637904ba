"""Channels that the image does not reach: which ones BatchNorm cancels, and that they are frozen in training."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.options.pruning import GradualPruning
from prunectl.data.load import load_data
from prunectl.masks import Masks
from prunectl.models.fresh import fresh
from prunectl.pruning.prune import prune
from prunectl.pruning.shrink import shrink
from prunectl.training.frozen_channels import frozen_entries
from prunectl.training.recipe import Recipe
from prunectl.training.trainer import Trainer
from tests.helpers.networks import checkpoint_of, randomise_
from tests.helpers.toys.parts import SHAPE, Toy

T, F = True, False
IMAGE = (1, 6, 6)


def network() -> nn.Sequential:
    """One convolution in front of a BatchNorm, one in front of an activation, and the logits."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Conv2d(3, 2, 3),
        nn.ReLU(),
        nn.BatchNorm2d(2),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


def without(model: nn.Module, **rows: list[int]) -> Masks:
    """Masks that take all weights of these output channels; `layer0` is the layer named 0."""
    masks = {}
    for layer, gone in rows.items():
        name = f"{layer.removeprefix('layer')}.weight"
        masks[name] = torch.ones_like(model.get_parameter(name), dtype=torch.bool)
        masks[name][gone] = False
    return Masks(masks)


def lists(found: dict[str, Tensor]) -> dict[str, list[bool]]:
    return {name: rows.tolist() for name, rows in found.items()}


def test_only_what_a_norm_reads_next() -> None:
    model = network()
    masks = without(model, layer0=[1], layer3=[0], layer7=[2])
    dead = [False, True, False]
    assert lists(frozen_entries(model, masks, IMAGE)) == {"0.bias": dead, "1.weight": dead, "1.bias": dead}
    assert model.training
    assert not model[1].running_mean.any()


def test_the_scale_of_a_single_weight_is_cancelled_too() -> None:
    """Its norm trains on, as its sign and size are felt."""
    model = network()
    masks = without(model, layer0=[1])
    masks["0.weight"][1, 0, 2, 2] = True
    found = frozen_entries(model, masks, IMAGE)
    assert found.keys() == {"0.weight", "0.bias"}
    assert torch.nonzero(found["0.weight"]).tolist() == [[1, 0, 2, 2]]
    assert found["0.bias"].tolist() == [F, T, F]
    masks["0.weight"][1, 0, 0, 0] = True
    assert frozen_entries(model, masks, IMAGE) == {}


def test_a_single_weight_that_reads_the_image_beside_constants() -> None:
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2), nn.BatchNorm1d(2)
    )
    masks = Masks(
        {"1.weight": torch.tensor([[F, F], [T, T], [T, T]]), "4.weight": torch.tensor([[T, T, F], [F, T, T]])}
    )
    found = lists(frozen_entries(model, masks, (1, 1, 2)))
    assert found["4.weight"] == [[T, T, F], [F, F, F]]
    assert found["4.bias"] == [T, F]
    assert found.keys() == {"1.bias", "2.weight", "2.bias", "4.weight", "4.bias"}


def test_what_reads_dead_channels_alone_is_dead() -> None:
    """Node 1 of the second layer reads node 0 of the first."""
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(2, 2), nn.BatchNorm1d(2), nn.ReLU(), nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2)
    )
    masks = Masks({"1.weight": torch.tensor([[F, F], [T, T]]), "4.weight": torch.tensor([[T, T], [T, F]])})
    first, second = [T, F], [F, T]
    assert lists(frozen_entries(model, masks, (1, 1, 2))) == {
        **dict.fromkeys(["1.bias", "2.weight", "2.bias"], first),
        "4.weight": [[F, F], [T, F]],
        **dict.fromkeys(["4.bias", "5.weight", "5.bias"], second),
    }


def test_what_is_masked_or_missing_is_not_held() -> None:
    model = network()
    masks = without(model, layer0=[1, 2])
    also = Masks({**masks, "0.bias": torch.tensor([T, F, T]), "1.weight": torch.tensor([T, F, F])})
    assert lists(frozen_entries(model, also, IMAGE)) == {"0.bias": [F, F, T], "1.bias": [F, T, T]}
    model[0].bias = None
    assert frozen_entries(model, masks, IMAGE).keys() == {"1.weight", "1.bias"}


def test_transposed_convolutions_have_their_outputs_on_the_second_axis() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(1, 3, 3), nn.BatchNorm2d(3))
    mask = torch.ones(1, 3, 3, 3, dtype=torch.bool)
    mask[:, 1] = False
    assert lists(frozen_entries(model, Masks({"0.weight": mask}), IMAGE))["0.bias"] == [F, T, F]
    again = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ConvTranspose2d(2, 3, 3), nn.BatchNorm2d(3))
    masks = Masks({"0.weight": torch.tensor([T, F]).view(2, 1, 1, 1).expand(2, 1, 3, 3)})
    masks = Masks({**masks, "1.weight": torch.tensor([[T, F, T], [T, T, F]]).view(2, 3, 1, 1).expand(2, 3, 3, 3)})
    assert "1.weight" not in frozen_entries(again, masks, IMAGE)  # what a constant gives is less at the borders


def test_a_depthwise_convolution() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.Conv2d(3, 3, 3, groups=3), nn.BatchNorm2d(3))
    mask = torch.ones(3, 1, 3, 3, dtype=torch.bool)
    mask[1] = mask[2, 0, 1:] = mask[2, 0, 0, 1:] = False
    found = lists(frozen_entries(model, Masks({"1.weight": mask}), IMAGE))
    assert found.pop("1.weight") == (mask & torch.tensor([F, F, T]).view(3, 1, 1, 1)).tolist()
    assert found == {"1.bias": [F, T, T], "2.weight": [F, T, F], "2.bias": [F, T, F]}


def test_channels_of_grouped_transposed_convolutions_are_trained() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(1, 3, 3), nn.ConvTranspose2d(3, 3, 3, groups=3), nn.BatchNorm2d(3))
    mask = torch.ones(3, 1, 3, 3, dtype=torch.bool)
    mask[1] = False
    assert frozen_entries(model, Masks({"1.weight": mask}), IMAGE) == {}


class Net(nn.Module):
    """A convolution, what its output goes through, and the logits; `how` says what else happens."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.calls = how, 0
        self.conv, self.again, self.norm = nn.Conv2d(1, 3, 3), nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)
        self.head = nn.Linear(3, 2)
        self.register_buffer("count", torch.zeros(()))
        if how == "tied":
            self.again.bias = self.conv.bias

    def train(self, mode: bool = True) -> "Net":
        super().train(mode)
        self.norm.train(mode and self.how != "frozen")
        return self

    def forward(self, x: Tensor) -> Any:
        self.count += 1
        y = self.conv(x)
        z = y
        if self.how == "refuses":
            assert x.std() > 0
        elif self.how == "dropout":
            z = nn.functional.dropout2d(y, 0.3, self.training)
        elif self.how == "in place":
            z = y.relu_()
        elif self.how == "view":
            z = y.flatten(2).view_as(y)
        z = self.norm(z) if self.how != "function" else nn.functional.batch_norm(z, None, None, training=True)
        if self.how == "skip":
            z = z + y
        elif self.how == "twice":
            z = z + self.conv(x).relu()
        elif self.how == "tied":
            z = z + self.again(x).relu()
        elif self.how == "norms":
            z = z + self.norm(self.conv(x.flip(3)))
        elif self.how == "noise":
            z = z + torch.randn_like(z)
        elif self.how == "read":
            z = z + self.conv.bias.view(1, 3, 1, 1)
        logits = self.head(z.mean((2, 3)))
        return (logits, y) if self.how == "given" else logits


@pytest.mark.parametrize(
    "how", ["skip", "twice", "tied", "frozen", "dropout", "in place", "view", "read", "given", "refuses"]
)
def test_what_anything_else_reads_is_trained(how: str) -> None:
    model = Net(how)
    assert frozen_entries(model, without(model, layerconv=[1]), IMAGE) == {}


@pytest.mark.parametrize("how", ["", "function", "norms", "noise"])
def test_what_norms_alone_read_is_not(how: str) -> None:
    model = Net(how)
    state, before = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    found = frozen_entries(model, without(model, layerconv=[1]), IMAGE)
    assert found["conv.bias"].tolist() == [False, True, False]
    assert found.keys() == {"conv.bias"} | ({"norm.weight", "norm.bias"} if how != "function" else set())
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), before)


class OverTheImage(nn.Module):
    """Channels are divided by what all of them are on average, which needs a rewritten graph after a shrink."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x)).relu()
        return x / (x.mean((1, 2, 3), keepdim=True) + 1)


def test_a_network_on_a_rewritten_graph() -> None:
    start = checkpoint_of(randomise_(Toy(OverTheImage())), SHAPE)
    small = shrink(prune(start, None, criterion="structured-random", sparsity=0.3))
    assert small.history[-1].result["runs"] == "graph"
    found = frozen_entries(small.model, without(small.model, **{"layerbody.conv": [1]}), SHAPE)
    assert found.keys() == {"body.conv.bias", "body.norm.weight", "body.norm.bias"}
    assert all(rows[1] and rows.sum() == 1 for rows in found.values())


def test_nothing_is_run_where_nothing_is_masked() -> None:
    class Silent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError

    assert frozen_entries(Silent(), Masks.dense(), IMAGE) == {}


def begun() -> Checkpoint:
    """lenet5 with biases that are not zero."""
    made = fresh("lenet5", load_data("digits"), source="test", seed=0)
    with torch.no_grad():
        for name, parameter in made.model.named_parameters():
            if name.endswith("bias"):
                parameter.uniform_(-0.1, 0.1)
    return made


def pruned(start: Checkpoint, dead: list[int]) -> Checkpoint:
    masks = without(start.model, **{"layerfeatures.8": dead})
    masks.apply_(start.model)
    return replace(start, masks=masks)


def test_evaluation_stays_with_training() -> None:
    """Adam makes whole steps of a gradient of rounding errors; then the running mean is behind."""
    dead = [*range(0, 120, 2)]
    start = pruned(begun(), dead)
    before = start.model.get_parameter("features.8.bias").detach().clone()
    trainer = Trainer(start, load_data("digits"), Recipe(epochs=8, batch_size=64, lr=1e-2))
    for _ in trainer.steps():
        pass
    bias, norm = trainer.model.get_parameter("features.8.bias"), trainer.model.get_submodule("features.9")
    assert torch.equal(bias[dead], before[dead])
    assert norm.weight[dead].tolist() == [1] * len(dead)
    assert (bias[1::2] != before[1::2]).all()
    assert isinstance(norm, nn.BatchNorm2d)
    off = (bias - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
    assert off[dead].abs().max() < 0.01


@pytest.mark.parametrize("criterion", ["imp", "rigl"])
def test_after_every_round_the_dead_channels_of_then_are_held_as_they_are(criterion: str) -> None:
    ways = {"imp": {"rewind_to": 1, "steps": 2}, "rigl": {"steps": None}}
    during = GradualPruning(criterion, 0.99, prune_delay=1, prune_every=1, **ways[criterion])
    trainer, held = Trainer(begun(), load_data("digits"), Recipe(epochs=6, lr=1e-2, prune=during)), []
    for record in trainer.steps():
        if record and "pruned" in record:
            now = frozen_entries(trainer.model, trainer.current.masks, trainer.current.spec.input)
            there = {
                id(p): v for p, v in zip(trainer.learner.enforcer.frozen, trainer.learner.enforcer.values, strict=True)
            }
            assert len(there) == len(now)
            for name, entries in now.items():
                parameter = trainer.model.get_parameter(name)
                assert torch.equal(parameter.detach() * entries, there[id(parameter)])
            held.append(sum(int(entries.sum()) for entries in now.values()))
    assert max(held) > 30
    assert len(set(held)) > 1


def test_a_resumed_training_holds_the_same() -> None:
    data, recipe = load_data("digits"), Recipe(epochs=2, batch_size=256, ema=0.9)
    whole = Trainer(pruned(begun(), [1, 2]), data, recipe)
    for _ in whole.steps():
        if whole.step == 5:
            resumed = Trainer(copy.deepcopy(whole.current), data, recipe, copy.deepcopy(whole.state()))
    for _ in resumed.steps():
        pass
    states = [trainer.result().model.state_dict() for trainer in (whole, resumed)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
