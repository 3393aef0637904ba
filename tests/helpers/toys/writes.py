"""Networks that write into tensors in place."""

import torch
from torch import Tensor, nn

from tests.helpers.toys.parts import SHAPE, Toy, Toys, conv

VIEWS = (
    lambda x: x.flatten(1),
    lambda x: x.narrow(1, 0, 2),
    lambda x: x.unflatten(1, (2, 2)).select(1, 1),
    lambda x: x.movedim(1, -1).mul_(2),
    lambda x: x.mT,
    lambda x: x.expand(-1, -1, -1, -1).diagonal(0, 2, 3),
    lambda x: x.unfold(2, 2, 2),
)


class WrittenViews(nn.Module):
    """A sigmoid, which leaves no zeros, is written through a view of each branch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(width, 4, 1) for _ in VIEWS)
        self.out = nn.Conv2d(4 * len(VIEWS), width, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = []
        for branch, view in zip(self.branches, VIEWS, strict=True):
            y = branch(x)
            view(y).sigmoid_()
            parts.append(y - y.mean(1, keepdim=True))
        return self.out(torch.cat(parts, 1))


class Flattened(nn.Module):
    """A write through a view of what nothing reads any more, as of a ReLU behind a flatten."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(width, 4, 1), nn.Flatten(), nn.ReLU(True), nn.Linear(4 * 64, 6), nn.ReLU(True)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)[:, :, None, None]


class AddedInto(nn.Module):
    """A branch is added into a part of the channels of another."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(width, width, 1), nn.Sequential(conv(width, 6), nn.Conv2d(6, width // 2, 1))
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.left(x)
        part = y.narrow(1, 0, y.shape[1] // 2)
        part.mul_(0.5)
        part += self.right(x)
        return self.out(y)


TOYS: Toys = {
    "written-views": (lambda: Toy(WrittenViews(8)), SHAPE),
    "flatten-then-relu": (lambda: Toy(Flattened(8), out=6), SHAPE),
    "added-into-part": (lambda: Toy(AddedInto(8)), SHAPE),
}
