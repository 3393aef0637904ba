"""A rewritten graph may be cast: its attention masks follow the type of the network."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from prunectl.pruning.prune import prune
from prunectl.pruning.shrink import shrink
from prunectl.structure.surgery.proof import difference
from tests.helpers.marks import quick
from tests.helpers.networks import checkpoint_of, randomise_

SHAPE = (3, 16, 16)


class Masked(nn.Module):
    """One attention layer with a boolean mask, as a user writes it in one of several ways."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.embed, self.norm, self.head = nn.Conv2d(3, 24, 4, 4), nn.LayerNorm(24), nn.Linear(24, 5)
        self.attention = nn.MultiheadAttention(24, 4, batch_first=True)
        self.parts, self.out = nn.Linear(24, 72), nn.Linear(24, 24)
        self.register_buffer("mask", torch.ones(16, 16, dtype=torch.bool).triu(1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.embed(x).flatten(2).transpose(1, 2))
        if self.kind.startswith("layer"):
            weights = self.kind == "layer, with weights"
            y, _ = self.attention(x, x, x, attn_mask=self.mask, need_weights=weights)
            return self.head((x + y).mean(1))
        q, k, v = self.parts(x).view(x.shape[0], 16, 3, 4, 6).permute(2, 0, 3, 1, 4)
        masks = {
            "bool": ~self.mask,
            "cast": (self.mask.float() * -1e4).to(x),
            "filled": torch.zeros_like(self.mask, dtype=x.dtype).masked_fill(self.mask, float("-inf")),
        }
        y = functional.scaled_dot_product_attention(q, k, v, attn_mask=masks[self.kind])
        return self.head((x + self.out(y.transpose(1, 2).flatten(2))).mean(1))


@pytest.mark.parametrize("kind", quick(["bool", "cast", "filled", "layer", "layer, with weights"], ["cast"]))
def test_a_boolean_mask_follows_a_cast_to_float64(kind: str) -> None:
    torch.manual_seed(0)
    masked = prune(
        checkpoint_of(randomise_(Masked(kind)).eval(), SHAPE), None, criterion="structured-random", sparsity=0.4
    )
    small = shrink(masked)
    assert small.history[-1].result["runs"] == "graph"
    double = copy.deepcopy(masked.model).double(), copy.deepcopy(small.model).double()
    assert difference(*double, SHAPE) < 1e-12
