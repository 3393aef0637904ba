"""Residual networks of basic blocks."""

from torch import Tensor, nn

from prunectl.errors import OptionError
from prunectl.models.layers import SLOPE, check_input, head, network


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut, which is a 1x1 convolution if the block has a stride."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.act1 = nn.LeakyReLU(SLOPE)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = _projection(inputs, outputs, stride) if stride > 1 else nn.Identity()
        self.act2 = nn.LeakyReLU(SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride), sides rounded up."""
        change = self.norm2(self.conv2(self.act1(self.norm1(self.conv1(x)))))
        result: Tensor = self.act2(change + self.shortcut(x))
        return result


def resnet18(input_shape: tuple[int, int, int], classes: int, *, stem: str = "imagenet") -> nn.Module:
    """ResNet-18 (He et al. 2015) in the shapes of Verdenius et al. 2020 (11,707,978 parameters at 3x32x32).

    The stem "imagenet" divides the resolution by four, "cifar" keeps it, which costs 16 times the FLOPs in every block.

    Raises:
        OptionError: an unknown stem.
    """
    check_input("resnet18", input_shape)
    return _resnet(input_shape[0], classes, (2, 2, 2, 2), stem)


def resnet34(input_shape: tuple[int, int, int], classes: int, *, stem: str = "imagenet") -> nn.Module:
    """ResNet-34 (He et al. 2015) in the shapes of Verdenius et al. 2020 (21,819,850 parameters at 3x32x32).

    Raises:
        OptionError: a stem that is neither "imagenet" nor "cifar", as in `resnet18`.
    """
    check_input("resnet34", input_shape)
    return _resnet(input_shape[0], classes, (3, 4, 6, 3), stem)


def _resnet(channels: int, classes: int, depths: tuple[int, int, int, int], stem: str) -> nn.Module:
    """A stem, four stages of `depths` blocks, and a head with one hidden layer."""
    return network(
        stem=_stem(channels, stem),
        stage1=_stage(64, 64, depths[0]),
        stage2=_stage(64, 128, depths[1]),
        stage3=_stage(128, 256, depths[2]),
        stage4=_stage(256, 512, depths[3]),
        pool=[nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten()],  # (B, 2048)
        classifier=head(512 * 4, (256,), classes),
    )


def _stem(channels: int, kind: str) -> list[nn.Module]:
    """The layers before the first block, 64 channels wide."""
    after: list[nn.Module] = [nn.BatchNorm2d(64), nn.LeakyReLU(SLOPE)]
    if kind == "imagenet":
        first = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        return [first, *after, nn.MaxPool2d(3, stride=2, padding=1)]
    if kind == "cifar":
        return [nn.Conv2d(channels, 64, 3, padding=1, bias=False), *after]
    raise OptionError(f"a ResNet's stem must be 'imagenet' or 'cifar', got '{kind}'")


def _stage(inputs: int, outputs: int, depth: int) -> list[nn.Module]:
    """Blocks of one width; the first has a stride where the width grows."""
    first = BasicBlock(inputs, outputs, stride=1 if inputs == outputs else 2)
    return [first, *(BasicBlock(outputs, outputs, stride=1) for _ in range(depth - 1))]


def _projection(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """The shortcut of a block that changes the shape."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
