"""Biases of channels without weights: which BatchNorm takes away, and that they stay where they are in training."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from prunectl.constants import unfelt_biases
from prunectl.data import load_data
from prunectl.during import During
from prunectl.fresh import fresh
from prunectl.masks import Masks
from prunectl.recipe import Recipe
from prunectl.train import Trainer

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


def test_only_what_a_norm_takes_in_next() -> None:
    model = network()
    masks = without(model, layer0=[1], layer3=[0], layer7=[2])
    assert lists(unfelt_biases(model, masks, IMAGE)) == {"0.bias": [False, True, False]}
    assert model.training
    assert not model[1].running_mean.any()


def test_a_channel_with_one_weight_left_feels_its_bias_in_evaluation() -> None:
    model = network()
    masks = without(model, layer0=[1])
    masks["0.weight"][1, 0, 2, 2] = True
    assert unfelt_biases(model, masks, IMAGE) == {}


def test_biases_that_are_masked_or_missing() -> None:
    model = network()
    masks = without(model, layer0=[1, 2])
    also = Masks({**masks, "0.bias": torch.tensor([True, False, True])})
    assert lists(unfelt_biases(model, also, IMAGE)) == {"0.bias": [False, False, True]}
    model[0].bias = None
    assert unfelt_biases(model, masks, IMAGE) == {}


def test_transposed_convolutions_have_their_outputs_on_the_second_axis() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(1, 3, 3), nn.BatchNorm2d(3))
    mask = torch.ones(1, 3, 3, 3, dtype=torch.bool)
    mask[:, 1] = False
    assert lists(unfelt_biases(model, Masks({"0.weight": mask}), IMAGE)) == {"0.bias": [False, True, False]}


def test_nothing_is_run_where_nothing_is_dead() -> None:
    class Silent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError

    model = Silent()
    assert unfelt_biases(model, Masks({"layer.weight": torch.eye(2).bool()}), IMAGE) == {}


def test_evaluation_stays_with_training() -> None:
    """Adam makes whole steps of a gradient of rounding errors; then the running mean is behind."""
    data = load_data("digits")
    begun = fresh("lenet5", data, source="test", seed=0)
    dead = [*range(0, 120, 2)]
    masks = without(begun.model, **{"layerfeatures.8": dead})
    masks.apply_(begun.model)
    trainer = Trainer(replace(begun, masks=masks), data, Recipe(epochs=8, batch_size=64, lr=1e-2))
    before = begun.model.features[8].bias.detach().clone()
    for _ in trainer.steps():
        pass
    layer, norm = trainer.model.features[8], trainer.model.features[9]
    assert torch.equal(layer.bias[dead], before[dead])
    assert (layer.bias[1::2] != before[1::2]).all()
    assert isinstance(norm, nn.BatchNorm2d)
    off = (layer.bias - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
    assert off[dead].abs().max() < 0.01


def test_after_rewinding_what_is_held_is_what_is_there() -> None:
    data = load_data("digits")
    begun = fresh("lenet5", data, source="test", seed=0)
    during = During("imp", 0.99, rewind_to=1, prune_delay=1, prune_every=1, prune_steps=2)
    trainer, held = Trainer(begun, data, Recipe(epochs=5, lr=1e-2, prune=during)), 0
    for record in trainer.steps():
        if record and "pruned" in record:
            for bias, values in zip(trainer.enforcer.held, trainer.enforcer.values, strict=True):
                assert torch.equal(bias[values != 0], values[values != 0])
                held += int(values.count_nonzero())
    assert held > 30
