"""Networks that read the neighbours of a pixel without a convolution: patches, differences, sampled places."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.helpers.toys.parts import SHAPE, Toy, Toys, conv


class Unfold(nn.Module):
    """Local attention's im2col: the neighbourhoods become channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Linear(9 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        x = F.unfold(x, 3, padding=1).transpose(1, 2)  # (B, H * W, 9 * C)
        return self.fc(x).transpose(1, 2).reshape(b, c, h, w)


class Fold(nn.Module):
    """VOLO's outlook attention with one head: the pixels of every patch, weighted and summed where patches overlap."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.value, self.weights = nn.Conv2d(width, width, 1), nn.Conv2d(width, 9, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        patches = F.unfold(self.value(x), 3, padding=1).view(b, c, 9, h * w)
        weights = self.weights(x).softmax(1).view(b, 1, 9, h * w)
        return F.fold((patches * weights).view(b, c * 9, h * w), (h, w), 3, padding=1)


class Differences(nn.Module):
    """Image gradients: differences of neighbours along each side, with what stands at the border learnt or repeated."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.border = nn.Parameter(torch.randn(1, width, 1, 1))
        self.conv = conv(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        border = self.border.expand(x.shape[0], -1, x.shape[2], -1)
        across, down = torch.diff(x, prepend=border), torch.diff(x, dim=2, append=x[:, :, -1:])
        return self.conv(torch.cat([across, down], 1))


class GateDifferences(nn.Module):
    """Differences of gates to a learnt border, summed over the channels: those of a removed gate, 1/2, would count."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.border = nn.Parameter(torch.randn(1, width, 1, 1))
        self.conv = conv(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        border = self.border.expand(x.shape[0], -1, x.shape[2], -1)
        return self.conv(x * torch.diff(x.sigmoid(), prepend=border).sum(1, keepdim=True))


class ChannelDifferences(nn.Module):
    """Each channel less the one before it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = conv(width - 1, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(torch.diff(x, dim=1))


class Deformed(nn.Module):
    """Pixels sampled at places that a convolution computes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.places = nn.Conv2d(width, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.grid_sample(x, torch.tanh(self.places(x)).permute(0, 2, 3, 1), align_corners=False)


TOYS: Toys = {
    "grid-sample": (lambda: Toy(Deformed(8)), SHAPE),
    "unfold": (lambda: Toy(Unfold(8)), SHAPE),
    "fold": (lambda: Toy(Fold(8)), SHAPE),
    "differences": (lambda: Toy(Differences(8)), SHAPE),
    "differences-of-gates": (lambda: Toy(GateDifferences(8)), SHAPE),
    "differences-of-channels": (lambda: Toy(ChannelDifferences(8)), SHAPE),
}
