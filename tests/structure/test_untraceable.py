"""Networks that cannot be traced are refused with the line that is to blame."""

import pytest
import torch
from torch import nn

from prunectl.errors import StructureError
from prunectl.structure.count import count_nodes
from prunectl.structure.trace import trace
from tests.helpers.structure_networks import SHAPE


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


def test_what_cannot_be_traced_is_named_with_its_line() -> None:
    with pytest.raises(StructureError, match=r"cannot be traced at .*test_untraceable.py:\d+ \(Branching.forward\)"):
        trace(Branching(), SHAPE)
    assert count_nodes(Branching(), SHAPE) is None


class Scaled(Branching):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(x)
        return self.head((x / (x.abs().max().item() + 1)).mean((2, 3)))


def test_a_number_computed_from_the_image_is_named_with_its_line() -> None:
    with pytest.raises(StructureError, match=r"a number computed from the image at test_untraceable.py:\d+: return"):
        trace(Scaled(), SHAPE)
    assert count_nodes(Scaled(), SHAPE) is None
