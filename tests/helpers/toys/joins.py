"""Networks whose branches meet or part: additions, concatenations, splits, products."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.helpers.toys.parts import SHAPE, Toy, Toys, conv


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class DenseLayer(nn.Module):
    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, growth, 3, padding=1, bias=False)

    def forward(self, features: list[Tensor]) -> Tensor:
        return self.conv(F.relu(self.norm(torch.cat(features, 1))))


class Dense(nn.Module):
    def __init__(self, inputs: int, growth: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DenseLayer(inputs + i * growth, growth) for i in range(layers))
        self.norm = nn.BatchNorm2d(inputs + layers * growth)

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for layer in self.layers:
            features.append(layer(features))
        return F.relu(self.norm(torch.cat(features, 1)))


class ChunkGate(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(width, 2 * width, 1)
        self.project = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.expand(x).chunk(2, dim=1)
        return self.project(value * torch.sigmoid(gate))


class UnequalSplit(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.sizes = (width // 4, width - width // 4)
        self.small = conv(self.sizes[0], self.sizes[0])
        self.large = conv(self.sizes[1], width)

    def forward(self, x: Tensor) -> Tensor:
        small, large = torch.split(x, self.sizes, dim=1)
        return torch.cat((self.small(small), self.large(large)), dim=1)


class ChunkOnePasses(nn.Module):
    """ShuffleNetV2: one half passes, the other is worked on."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = conv(width // 2, width // 2)

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=1)
        out = torch.cat((left, self.branch(right)), dim=1)
        b, c, h, w = out.shape
        return out.view(b, 2, c // 2, h, w).transpose(1, 2).contiguous().view(b, c, h, w)


class SelectiveKernel(nn.Module):
    """SKNet: branches are stacked, and summed with weights from a softmax over the branches."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.paths = nn.ModuleList([conv(width, width, 3), conv(width, width, 1)])
        self.reduce = nn.Conv2d(width, 4, 1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.select = nn.Conv2d(4, 2 * width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.stack([path(x) for path in self.paths], dim=1)  # (B, 2, C, H, W)
        attention = x.sum(1).mean((2, 3), keepdim=True)
        attention = self.select(F.relu(self.bn(self.reduce(attention))))
        b, c, h, w = attention.shape
        attention = attention.view(b, 2, c // 2, h, w).softmax(dim=1)
        return (x * attention).sum(dim=1)


class Unet(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.enc = conv(width, width)
        self.pool = nn.MaxPool2d(2)
        self.mid = conv(width, 2 * width)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.dec = conv(3 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.enc(x)
        x = self.mid(self.pool(skip))
        x = torch.cat([F.interpolate(x, size=skip.shape[-2:], mode="nearest") + self.up(x), skip], dim=1)
        return self.dec(x)


class PadShortcut(nn.Module):
    """ResNet's option A: the shortcut strides, and zero channels are added on both sides."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.conv = nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        extra = (self.outputs - x.shape[1]) // 2
        return F.relu(self.conv(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, extra, extra)))


class PadThenConv(nn.Module):
    """Channels padded at the end, as PyramidNet does, and space padded by hand before a convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.extra = outputs - inputs
        self.conv = nn.Conv2d(outputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (1, 1, 1, 1, 0, self.extra)))


class Highway(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Conv2d(width, width, 1)
        self.change = conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.gate(x))
        return gate * self.change(x) + (1 - gate) * x


class Product(nn.Module):
    """Bilinear: a product of two branches, of which neither is a gate."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.left = nn.Conv2d(width, width, 3, padding=1)
        self.right = nn.Conv2d(width, width, 1)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.out(self.left(x) * F.relu6(self.right(x)))


class MaxOut(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.left, self.right = conv(width, width), conv(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.maximum(self.left(x), self.right(x)) - torch.where(x > 0.5, x, torch.zeros_like(x))


class LargestOfHalves(nn.Module):
    """LightCNN's max-feature-map, and its opposite, side by side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand, self.out = nn.Conv2d(width, 12, 1), nn.Conv2d(12, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.expand(x).chunk(2, 1)
        return self.out(torch.hstack([torch.max(left, right), torch.min(left, right)]))


TOYS: Toys = {
    "residual": (lambda: Toy(nn.Sequential(Residual(8, 8), Residual(8, 12, 2)), out=12), SHAPE),
    "dense-concat": (lambda: Toy(Dense(8, 4, 3), out=20), SHAPE),
    "chunk-gate": (lambda: Toy(ChunkGate(8)), SHAPE),
    "unequal-split": (lambda: Toy(UnequalSplit(8), out=10), SHAPE),
    "chunk-one-passes": (lambda: Toy(nn.Sequential(ChunkOnePasses(8), ChunkOnePasses(8))), SHAPE),
    "stack-sum": (lambda: Toy(SelectiveKernel(8)), SHAPE),
    "upsample-concat": (lambda: Toy(Unet(8)), SHAPE),
    "pad-shortcut": (lambda: Toy(PadShortcut(8, 12), out=12), SHAPE),
    "pad-then-conv": (lambda: Toy(PadThenConv(8, 10), out=10), SHAPE),
    "highway": (lambda: Toy(Highway(8)), SHAPE),
    "product": (lambda: Toy(Product(8)), SHAPE),
    "largest-of-halves": (lambda: Toy(LargestOfHalves(8)), SHAPE),
    "gated-linear-unit": (lambda: Toy(nn.Sequential(nn.Conv2d(8, 12, 1), nn.GLU(1), conv(6, 8))), SHAPE),
    "maximum": (lambda: Toy(MaxOut(8)), SHAPE),
}
