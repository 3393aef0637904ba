"""Wide residual networks for CIFAR, with BatchNorm and ReLU before each convolution."""

import torch
from torch import Tensor, nn

from prunectl.models.layers import check_input, initialise_he_


class WideBlock(nn.Module):
    """BatchNorm, ReLU and a 3x3 convolution, twice, with a shortcut around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = None if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride), sides rounded up."""
        active = torch.relu(self.bn1(x))
        around = x if self.shortcut is None else self.shortcut(active)
        change: Tensor = self.conv2(torch.relu(self.bn2(self.conv1(active))))
        return change + around


class WideResNet(nn.Module):
    """A 3x3 convolution of 16 channels, three stages of 16, 32, 64 times `factor`, one linear layer."""

    def __init__(self, channels: int, classes: int, depth: int, factor: int) -> None:
        super().__init__()
        widths = (16, 16 * factor, 32 * factor, 64 * factor)
        blocks = (depth - 4) // 6
        self.conv1 = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.block1 = _stage(widths[0], widths[1], 1, blocks)
        self.block2 = _stage(widths[1], widths[2], 2, blocks)
        self.block3 = _stage(widths[2], widths[3], 2, blocks)
        self.bn = nn.BatchNorm2d(widths[3])
        self.linear = nn.Linear(widths[3], classes)
        initialise_he_(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to logits (B, classes)."""
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        logits: Tensor = self.linear(torch.relu(self.bn(x)).mean((2, 3)))
        return logits


def wrn_16_4(input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """WRN-16-4 (Zagoruyko and Komodakis 2016, arXiv:1605.07146, table 1; 2,748,890 parameters at 3x32x32)."""
    check_input("wrn-16-4", input_shape)
    return WideResNet(input_shape[0], classes, depth=16, factor=4)


def _stage(inputs: int, outputs: int, stride: int, blocks: int) -> nn.Sequential:
    """`blocks` blocks of one width, the first with the stride."""
    return nn.Sequential(
        WideBlock(inputs, outputs, stride), *(WideBlock(outputs, outputs, 1) for _ in range(blocks - 1))
    )
