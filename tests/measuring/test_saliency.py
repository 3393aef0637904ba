"""Saliency maps against gradients known by hand."""

import torch
from torch import nn

from prunectl.data.images import Preprocessing
from prunectl.measuring.saliency import saliency

PLAIN = Preprocessing((0.0,), (1 / 255,))
PIXELS = torch.tensor([[[[1, 0], [2, 1]]]], dtype=torch.uint8)


def linear() -> nn.Sequential:
    """Two classes whose logits are opposite sums of two of four pixels; the dropout would disturb them in training."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False), nn.Dropout(0.5))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[0.0, 1.0, 0.0, -0.5], [0.0, -1.0, 0.0, 0.5]]))
    return model.train()


def loss(logits: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(logits, torch.tensor([1]), reduction="sum")


def test_saliency_of_the_loss_is_proportional_to_the_weights():
    model = linear()
    maps, logits = saliency(model, PIXELS, PLAIN, loss)
    assert maps.tolist() == [[[0.0, 1.0], [0.0, 0.5]]]
    assert logits.tolist() == [[-0.5, 0.5]]
    assert model.training and model[1].weight.grad is None


def test_a_network_of_zeros_has_no_saliency():
    model = linear()
    model[1].weight.data.zero_()
    assert saliency(model, PIXELS, PLAIN, loss)[0].tolist() == [[[0.0, 0.0], [0.0, 0.0]]]


def test_values_above_the_quantile_are_one():
    maps, _ = saliency(linear(), PIXELS, PLAIN, lambda logits: logits[:, 0].sum(), top=2 / 3)
    assert maps.tolist() == [[[0.0, 1.0], [0.0, 1.0]]]  # the gradients 0, 0, 0.5, 1: two thirds of the way is 0.5
