"""Operations along an axis: the channels of the others can be removed, also where all of them are summed up next."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from prunectl.pruning.prune import prune
from prunectl.pruning.shrink import shrink
from prunectl.structure.count import count_nodes
from tests.helpers.marks import quick
from tests.helpers.networks import checkpoint_of

SHAPE = (1, 8, 8)
FREE: dict[str, Callable[[Tensor], Tensor]] = {
    "cumsum": lambda x: torch.cumsum(x, 2),
    "cumprod": lambda x: torch.cumprod(x, 2),
    "cummax": lambda x: torch.cummax(x, 2).values,
    "cummin": lambda x: torch.cummin(x, 2).values,
    "median": lambda x: x.median(2, keepdim=True).values + x,
    "kthvalue": lambda x: x.kthvalue(2, 3, keepdim=True).values + x,
    "mode": lambda x: x.round().mode(2, keepdim=True).values + x,
    "nansum": lambda x: x.nansum(2, keepdim=True) + x,
    "nanmean": lambda x: x.nanmean(2, keepdim=True) + x,
    "aminmax": lambda x: torch.aminmax(x, dim=2, keepdim=True).max + x,
    "std_mean": lambda x: torch.std_mean(x, (2, 3), keepdim=True)[1] + x,
    "rot90": lambda x: torch.rot90(x, 1, (2, 3)),
    "tril": lambda x: x.tril(),
    "broadcast_to": lambda x: x * torch.broadcast_to(torch.sigmoid(x.mean((2, 3), keepdim=True)), x.shape),
}
"""What makes zeros of zeros: both convolutions lose channels."""
NOT_ZERO: dict[str, Callable[[Tensor], Tensor]] = {
    "sort-indices": lambda x: torch.sort(x.flatten(2)).indices.to(x.dtype).view_as(x),
    "topk-indices": lambda x: torch.topk(x.flatten(2), 64).indices.to(x.dtype).view_as(x),
    "cummax-indices": lambda x: torch.cummax(x, 2).indices.to(x.dtype),
    "logcumsumexp": lambda x: torch.logcumsumexp(x, 2),
    "logsigmoid": nn.functional.logsigmoid,
}
"""What makes something else of them: summed over the channels, that would count."""
ALONG_CHANNELS: dict[str, Callable[[Tensor], Tensor]] = {
    "rot90-of-channels": lambda x: torch.rot90(x, 1, (1, 2)),
    "tril-of-channels": lambda x: x.transpose(1, 3).tril().transpose(1, 3),
    "std-of-channels": lambda x: torch.std_mean(x, 1, keepdim=True)[0] + x,
    "median-of-all": lambda x: x * x.median(),
}
OPERATIONS = {**FREE, **NOT_ZERO, **ALONG_CHANNELS}
QUICK = ("sort-indices", "cumprod", "std_mean", "tril-of-channels")


class Net(nn.Module):
    """The operation between two convolutions of 8 channels; with `total`, times the sum over channels."""

    def __init__(self, name: str, *, total: bool) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 1), nn.Linear(8, 3)
        self.name, self.total = name, total

    def forward(self, x: Tensor) -> Tensor:
        x = OPERATIONS[self.name](torch.relu(self.first(x)))
        x = x * x.sum(1, keepdim=True) if self.total else x
        return self.last(torch.relu(self.second(x)).mean((2, 3)))


@pytest.mark.parametrize("total", [False, True], ids=["plain", "summed"])
@pytest.mark.parametrize("name", quick(OPERATIONS, QUICK))
def test_channels_beside_an_operation_along_an_axis_are_removed_exactly(name: str, total: bool) -> None:
    torch.manual_seed(0)
    model = Net(name, total=total)
    frozen = name in ALONG_CHANNELS or (total and name in NOT_ZERO)
    assert count_nodes(model, SHAPE) == (8 if frozen else 16)
    masked = prune(checkpoint_of(model, SHAPE), None, criterion="structured-random", sparsity=0.4)
    small = shrink(masked)  # which proves both equal
    assert small.history[-1].result["removed"] == (3 if frozen else 6)
    images = torch.randn(4, *SHAPE, dtype=torch.float64)
    expected = masked.model.double().eval()(images)
    assert torch.allclose(small.model.double().eval()(images), expected, rtol=0, atol=1e-10)
