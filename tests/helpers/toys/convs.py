"""Networks with convolutions that are not plain, and with weights that are used twice or made of others."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import register_parametrization

from tests.helpers.toys.parts import CLASSES, SHAPE, Toy, Toys, conv


class Bottleneck(nn.Module):
    """ResNeXt."""

    def __init__(self, width: int, inner: int, groups: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(width, inner, 1), conv(inner, inner, 3, groups=groups)
        self.conv3 = nn.Sequential(nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.conv3(self.conv2(self.conv1(x))))


class DepthMultiplier(nn.Module):
    """A depthwise convolution with two outputs a channel, between plain depthwise ones."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dw1 = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.dw2 = nn.Conv2d(width, 2 * width, 3, padding=1, groups=width, bias=False)
        self.bn = nn.BatchNorm2d(2 * width)
        self.pw = nn.Conv2d(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pw(F.relu6(self.bn(self.dw2(self.dw1(x)))))


class Shared(nn.Module):
    """One convolution used twice in a row, with a norm of its own each time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv(x)))
        return F.relu(self.bn2(self.conv(x)))


class SharedHead(nn.Module):
    """One convolution on two branches that have nothing else in common."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.left, self.right = conv(width, 6), conv(width, 6, 1)
        self.shared = nn.Conv2d(6, 5, 1)
        self.out = conv(10, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.cat([self.shared(self.left(x)), self.shared(self.right(x))], 1))


class Tied(nn.Module):
    """An autoencoder whose decoder is the transposed encoder, and two layers that hold one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.enc = nn.Linear(3 * 64, 10)
        self.bias = nn.Parameter(torch.zeros(3 * 64))
        self.fc1 = nn.Linear(3 * 64, 8)
        self.fc2 = nn.Linear(3 * 64, 8, bias=False)
        self.fc2.weight = self.fc1.weight
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        decoded = F.linear(torch.relu(self.enc(x)), self.enc.weight.t(), self.bias)
        return self.head(torch.tanh(self.fc1(x)) + self.fc2(decoded))


class Transposed(nn.Module):
    def __init__(self, width: int, groups: int = 1) -> None:
        super().__init__()
        self.down = conv(width, 12, stride=2)
        self.up = nn.ConvTranspose2d(12, width, 4, stride=2, padding=1, groups=groups)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.bn(self.up(self.down(x))))


class StandardisedConv(nn.Conv2d):
    """Weight standardisation as BiT writes it: the weight is normalised for every output channel."""

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight
        mean = w.mean((1, 2, 3), keepdim=True)
        var = w.var((1, 2, 3), keepdim=True, unbiased=False)
        return F.conv2d(x, (w - mean) / torch.sqrt(var + 1e-6), self.bias, self.stride, self.padding)


class StandardisedByNorm(nn.Conv2d):
    """The same through `F.batch_norm` on the reshaped weight with a learnt gain, as NFNet writes it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)
        self.gain = nn.Parameter(torch.full((outputs, 1, 1, 1), 0.7))
        self.scale = self.weight[0].numel() ** -0.5

    def forward(self, x: Tensor) -> Tensor:
        weight = F.batch_norm(
            self.weight.reshape(1, self.out_channels, -1),
            None,
            None,
            weight=(self.gain * self.scale).view(-1),
            training=True,
            momentum=0.0,
            eps=1e-6,
        ).reshape_as(self.weight)
        return F.conv2d(x, weight, self.bias, padding=self.padding)


class BlurPool(nn.Module):
    """A fixed depthwise filter in a buffer, expanded to the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("filt", (row[:, None] * row[None, :])[None, None].repeat(width, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (1, 1, 1, 1), "reflect")
        return F.conv2d(x, self.filt, stride=2, groups=self.width)


class ConstantKernel(nn.Module):
    """A depthwise filter that is made on the way, behind a mean that the small network has to take by hand."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = x / (x.mean((1, 2, 3), keepdim=True).abs() + 1)
        kernel = torch.ones(1, 1, 3, 3, dtype=x.dtype, device=x.device) / 9
        return F.conv2d(x, kernel.repeat(x.shape[1], 1, 1, 1), padding=1, groups=x.shape[1])


class FirstOnly(nn.Module):
    """The first of an axis everywhere, as the parametrization of a weight: no rule knows it, so all stays."""

    def forward(self, x: Tensor) -> Tensor:
        return x.gather(2, torch.zeros_like(x, dtype=torch.int64))


def made_weights(width: int, groups: int) -> nn.Sequential:
    """Grouped convolutions whose weights are made of others, between plain ones."""
    layers = [nn.Conv2d(width, width, 3, padding=1, groups=groups) for _ in range(2)]
    weight_norm(layers[0])
    register_parametrization(layers[1], "weight", FirstOnly())
    plain = [nn.Conv2d(width, width, 1) for _ in range(3)]
    return nn.Sequential(plain[0], layers[0], nn.ReLU(), plain[1], layers[1], nn.ReLU(), plain[2])


class ConditionalConv(nn.Module):
    """CondConv: each image has its own kernel, and the batch is folded into the groups."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, width, width, 3, 3) * 0.2)
        self.route = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        weight = torch.sigmoid(self.route(x.mean((2, 3)))) @ self.weight.flatten(1)
        x = F.conv2d(x.reshape(1, b * c, h, w), weight.view(b * c, c, 3, 3), padding=1, groups=b)
        return x.view(b, c, h, w)


class Factorised(nn.Module):
    """Asymmetric, dilated and 1d kernels, a pool branch without padding counted: Inception's ways."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.row = nn.Conv2d(width, 6, (1, 7), padding=(0, 3))
        self.col = nn.Conv2d(6, 6, (7, 1), padding="same")
        self.dil = nn.Conv2d(width, 4, 3, padding=2, dilation=2, padding_mode="circular")
        self.pool = nn.AvgPool2d(3, 1, 1, count_include_pad=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([F.elu(self.col(self.row(x))), F.silu(self.dil(x)), self.pool(x)], 1)


class AllConv(nn.Module):
    """No linear layer: the last convolution outputs the classes, then a global pool."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(conv(3, 8), nn.Dropout2d(0.0), conv(8, 6, stride=2), nn.Conv2d(6, CLASSES, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).mean([2, 3])


class Stack3d(nn.Module):
    """The image as a clip of two frames through 3d convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn = nn.Conv3d(3, 8, 3, padding=1), nn.BatchNorm3d(8)
        self.conv2 = nn.Conv3d(8, 6, (1, 3, 3))
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.stack([x, x.flip(-1)], dim=2)  # (B, 3, 2, H, W)
        x = self.conv2(F.relu(self.bn(self.conv1(x))))
        return self.fc(x.amax((2, 3, 4)))


TOYS: Toys = {
    "grouped-2": (lambda: Toy(Bottleneck(8, 12, 2)), SHAPE),
    "grouped-4": (lambda: Toy(Bottleneck(8, 12, 4)), SHAPE),
    "depth-multiplier": (lambda: Toy(DepthMultiplier(8)), SHAPE),
    "shared-conv": (lambda: Toy(Shared(8)), SHAPE),
    "shared-on-branches": (lambda: Toy(SharedHead(8)), SHAPE),
    "tied-linear": (Tied, SHAPE),
    "conv-transpose": (lambda: Toy(Transposed(8)), SHAPE),
    "conv-transpose-grouped": (lambda: Toy(Transposed(8, 4)), SHAPE),
    "weight-standardised": (
        lambda: Toy(nn.Sequential(StandardisedConv(8, 8, 3, padding=1), nn.GroupNorm(4, 8), nn.ReLU())),
        SHAPE,
    ),
    "weight-standardised-gain": (lambda: Toy(nn.Sequential(StandardisedByNorm(8, 8), nn.GELU())), SHAPE),
    "blur-pool": (lambda: Toy(BlurPool(8)), SHAPE),
    "constant-kernel": (lambda: Toy(ConstantKernel(8)), SHAPE),
    "made-weights-depthwise": (lambda: Toy(made_weights(8, 8)), SHAPE),
    "made-weights-grouped": (lambda: Toy(made_weights(8, 2)), SHAPE),
    "conditional-conv": (lambda: Toy(ConditionalConv(8)), SHAPE),
    "factorised": (lambda: Toy(Factorised(8), out=18), SHAPE),
    "all-conv": (AllConv, SHAPE),
    "conv3d": (Stack3d, SHAPE),
}
