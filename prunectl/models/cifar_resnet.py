"""Residual networks in the shapes of CIFAR: three stages of blocks, ReLU, one linear layer."""

import torch
from torch import Tensor, nn

from prunectl.errors import OptionError
from prunectl.models.layers import check_input, initialise_he_


class Subsample(nn.Module):
    """Shortcut without parameters: every other row and column, with zeros in the new channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        before = (outputs - inputs) // 2
        self.padding = (0, 0, 0, 0, before, outputs - inputs - before)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / 2, W / 2), sides rounded up."""
        return nn.functional.pad(x[:, :, ::2, ::2], self.padding)


class Block(nn.Module):
    """Two 3x3 convolutions with BatchNorm, added to the shortcut before the last ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride), sides rounded up."""
        change = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(change + self.shortcut(x))


class CifarResNet(nn.Module):
    """A 3x3 convolution, three stages of widths 1, 2, 4 times `width`, global average pooling, one linear layer."""

    def __init__(self, channels: int, classes: int, depth: int, shortcut: str, width: int = 16) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, depth, shortcut)
        self.layer2 = _stage(width, 2 * width, depth, shortcut)
        self.layer3 = _stage(2 * width, 4 * width, depth, shortcut)
        self.linear = nn.Linear(4 * width, classes)
        initialise_he_(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to logits (B, classes)."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


def resnet20(input_shape: tuple[int, int, int], classes: int, *, shortcut: str = "pad", width: int = 16) -> nn.Module:
    """ResNet-20 for CIFAR (He et al. 2015, arXiv:1512.03385, section 4.2; 269,722 parameters at 3x32x32).

    A shortcut to a larger width subsamples and pads with zeros ("pad", option A of the paper), or is a 1x1 convolution
    with BatchNorm ("conv", option B, which many ports use). The stages have 1, 2 and 4 times `width` channels; fewer
    than 16 make a dense network as cheap as a pruned one.

    Raises:
        OptionError: an unknown shortcut, or a width below 1.
    """
    return _resnet("resnet20", input_shape, classes, 3, shortcut, width)


def resnet56(input_shape: tuple[int, int, int], classes: int, *, shortcut: str = "pad", width: int = 16) -> nn.Module:
    """ResNet-56 for CIFAR (He et al. 2015, arXiv:1512.03385, section 4.2; 853,018 parameters at 3x32x32).

    Raises:
        OptionError: a shortcut that is neither "pad" nor "conv", or a width below 1, as in `resnet20`.
    """
    return _resnet("resnet56", input_shape, classes, 9, shortcut, width)


def _resnet(
    name: str, input_shape: tuple[int, int, int], classes: int, depth: int, shortcut: str, width: int
) -> nn.Module:
    check_input(name, input_shape)
    if shortcut not in ("pad", "conv"):
        raise OptionError(f"the shortcut of {name} must be 'pad' or 'conv', got '{shortcut}'")
    if width < 1:
        raise OptionError(f"the width of {name} must be at least 1, got {width}")
    return CifarResNet(input_shape[0], classes, depth, shortcut, width)


def _stage(inputs: int, outputs: int, depth: int, shortcut: str) -> nn.Sequential:
    """`depth` blocks of one width; the first has stride 2 where the width grows."""
    if inputs == outputs:
        first = Block(inputs, outputs, 1, nn.Identity())
    else:
        first = Block(inputs, outputs, 2, _shortcut(inputs, outputs, shortcut))
    return nn.Sequential(first, *(Block(outputs, outputs, 1, nn.Identity()) for _ in range(depth - 1)))


def _shortcut(inputs: int, outputs: int, kind: str) -> nn.Module:
    """The shortcut of a block that halves the sides."""
    if kind == "pad":
        return Subsample(inputs, outputs)
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=2, bias=False), nn.BatchNorm2d(outputs))
