"""BatchNorms are folded where the layer before them is theirs alone, and the result is proved."""

import pytest
import torch
from torch import Tensor, nn

from prunectl.errors import OptionError
from prunectl.exchange.fuse import fused
from prunectl.structure.surgery.proof import noise
from tests.helpers.marks import one_in
from tests.helpers.networks import randomise_

SHAPE = (4, 8, 8)


class Twice(nn.Module):
    """One convolution before two norms."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.one, self.two = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return (self.two(self.conv(self.one(self.conv(x)))) + x).flatten(1)


class Shared(nn.Module):
    """A norm reads what a sum reads too, and another stands alone."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.last, self.last_norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.last_norm(self.last(self.norm(x) + x)).flatten(1)


class Rows(nn.Module):
    """A norm over rows, behind a linear layer that makes columns."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(8, 8), nn.BatchNorm1d(32)
        self.head, self.last = nn.Linear(256, 3), nn.BatchNorm1d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.head(self.norm(self.linear(x.flatten(1, 2))).flatten(1)))


def built(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16, 3))


CASES = {
    "a bias": (lambda: built(nn.Conv2d(4, 16, 8), nn.BatchNorm2d(16), nn.ReLU()), 1),
    "no bias": (lambda: built(nn.Conv2d(4, 16, 8, bias=False), nn.BatchNorm2d(16)), 1),
    "groups": (lambda: built(nn.Conv2d(4, 16, 8, groups=4), nn.BatchNorm2d(16)), 1),
    "no scale": (lambda: built(nn.Conv2d(4, 16, 8), nn.BatchNorm2d(16, affine=False)), 1),
    "linear": (lambda: built(nn.Flatten(), nn.Linear(256, 16, bias=False), nn.BatchNorm1d(16)), 1),
    "transposed": (lambda: built(nn.ConvTranspose2d(4, 5, 3), nn.BatchNorm2d(5), nn.Conv2d(5, 16, 10)), 1),
    "transposed without bias": (
        lambda: built(nn.ConvTranspose2d(4, 5, 3, bias=False), nn.BatchNorm2d(5), nn.Conv2d(5, 16, 10)),
        1,
    ),
    "two": (lambda: built(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 16, 6), nn.BatchNorm2d(16)), 2),
    "only the second": (lambda: built(nn.BatchNorm2d(4), nn.Conv2d(4, 16, 8), nn.BatchNorm2d(16)), 1),
    "one that a sum reads": (Shared, 1),
    "one over rows": (Rows, 1),
}


@pytest.mark.parametrize("case", one_in(3, CASES))
def test_folded_norms_leave_the_function(case: str) -> None:
    build, count = CASES[case]
    network = randomise_(build()).eval()
    norms = sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
    small, folded, proof = fused(network, SHAPE, noise)
    assert folded == count
    assert proof["float64"] < 1e-10 and proof["float32"] < 1e-5
    images = torch.randn(5, *SHAPE)
    with torch.no_grad():
        assert torch.allclose(small(images), network(images), atol=1e-4)
    left = [node for node in small.graph.nodes if "batch_norm" in str(node.target)]
    assert len(left) == norms - count
    assert len(small.state_dict()) < len(network.state_dict()) - 2


@pytest.mark.parametrize("network", [Twice(), nn.Sequential(nn.Flatten(), nn.Linear(256, 3))])
def test_nothing_to_fold_is_refused(network: nn.Module) -> None:
    with pytest.raises(OptionError, match="no BatchNorm right after"):
        fused(randomise_(network).eval(), SHAPE, noise)
