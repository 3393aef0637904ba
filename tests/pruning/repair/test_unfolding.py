"""Layers as products of matrices: every kind of layer computes what its rows and matrix say."""

import numpy as np
import pytest
import torch
from torch import nn

from prunectl.torchtools.unfolding import CONVOLUTION, LINEAR, TRANSPOSED, Unfolding

LAYERS = {
    "linear": (nn.Linear(5, 4), (3, 5)),
    "linear-tokens": (nn.Linear(5, 4), (3, 6, 5)),
    "conv1d": (nn.Conv1d(4, 6, 3, stride=2, padding=1), (2, 4, 9)),
    "conv2d": (nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 0)), (2, 3, 7, 6)),
    "dilated": (nn.Conv2d(3, 4, 3, dilation=2, padding=2), (2, 3, 6, 6)),
    "same": (nn.Conv2d(3, 4, (3, 5), padding="same"), (2, 3, 6, 5)),
    "valid": (nn.Conv2d(3, 4, 3, padding="valid"), (2, 3, 6, 5)),
    "grouped": (nn.Conv2d(6, 4, 3, groups=2), (2, 6, 5, 5)),
    "depthwise": (nn.Conv2d(4, 8, 3, padding=1, groups=4), (2, 4, 5, 5)),
    "conv3d": (nn.Conv3d(2, 3, 2), (2, 2, 3, 4, 3)),
    "transposed": (nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1), (2, 3, 4, 5)),
    "transposed-1d": (nn.ConvTranspose1d(4, 6, 4, stride=3, groups=2, dilation=2), (2, 4, 5)),
    "transposed-grouped": (nn.ConvTranspose2d(4, 6, (3, 2), stride=(1, 2), groups=2), (2, 4, 4, 4)),
}


def unfolding_of(layer: nn.Module) -> Unfolding:
    if isinstance(layer, nn.Linear):
        return Unfolding.of(LINEAR, tuple(layer.weight.shape), {})
    kind = TRANSPOSED if "Transpose" in type(layer).__name__ else CONVOLUTION
    names = ("stride", "padding", "dilation", "groups", "output_padding")
    return Unfolding.of(kind, tuple(layer.weight.shape), {name: getattr(layer, name) for name in names})


@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_a_layer_is_its_rows_times_its_matrix(name: str) -> None:
    layer, shape = LAYERS[name]
    layer, unfold = layer.double(), unfolding_of(layer)
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = layer(x)
    found = unfold.rows(x) @ unfold.matrix(layer.weight).transpose(1, 2) + unfold.vector(layer.bias)[:, None]
    torch.testing.assert_close(found, unfold.outputs(y), rtol=0, atol=1e-12)
    assert unfold.matrix(layer.weight).shape == unfold.sizes
    assert torch.equal(unfold.weight(unfold.matrix(layer.weight)), layer.weight)
    pieces = [rows.shape[1] for rows, _ in unfold.pieces(x, y)]
    assert sum(pieces) == unfold.rows(x).shape[1]


def test_the_rows_of_a_convolution_by_hand() -> None:
    unfold = Unfolding.of(CONVOLUTION, (1, 1, 2, 2), {})
    image = torch.tensor([[[[1.0, 2, 3], [4, 5, 6]]]])
    np.testing.assert_array_equal(unfold.rows(image)[0].numpy(), [[1, 2, 4, 5], [2, 3, 5, 6]])
