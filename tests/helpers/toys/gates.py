"""Networks that scale channels or pixels: gates, per-channel parameters, activations that have parameters."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.helpers.toys.parts import CLASSES, SHAPE, Toy, Toys, conv


class SqueezeExcite(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1, self.fc2 = nn.Conv2d(width, inner, 1), nn.Conv2d(inner, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = F.hardsigmoid(self.fc2(F.relu(self.fc1(self.avgpool(x)))))
        return scale * x


class SqueezeExciteLinear(nn.Module):
    """SENet's first way: linear layers and a view."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(width, inner, bias=False), nn.ReLU(True), nn.Linear(inner, width, bias=False), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        b, c, _, _ = x.size()
        y = F.adaptive_avg_pool2d(x, 1).view(b, c)
        return x * self.fc(y).view(b, c, 1, 1).expand_as(x)


class Eca(nn.Module):
    """A convolution over the channels."""

    def __init__(self, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = x.mean((2, 3)).view(x.shape[0], 1, -1)
        y = self.conv(y)
        return x * y.view(x.shape[0], -1, 1, 1).sigmoid()


class SpatialGate(nn.Module):
    """One output, broadcast over the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.conv(x))


class SpatialAttention(nn.Module):
    """CBAM: mean and maximum over the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        seen = torch.cat([torch.mean(x, dim=1, keepdim=True), torch.amax(x, dim=1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.conv(seen))


class ResponseNorm(nn.Module):
    """ConvNeXtV2's global response norm: the mean over the channels of their norms."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        gx = torch.norm(x, p=2, dim=(2, 3), keepdim=True)
        nx = gx / (gx.mean(dim=1, keepdim=True) + 1e-6)
        return self.gamma * (x * nx) + self.beta + x


class Scalars(nn.Module):
    """A learned scale and shift a channel, and one number for all."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(width))
        self.beta = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("offset", torch.linspace(0.1, 0.2, width)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * torch.addcmul(self.beta, x, self.alpha.view(1, -1, 1, 1)) - self.offset


class LayerScale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = conv(width, width)
        self.gamma = nn.Parameter(1e-6 * torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x).mul(self.gamma.reshape(1, -1, 1, 1))


class Normalised(nn.Module):
    """L2-normalised features before the head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.features, self.head = conv(3, width), nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x).mean((2, 3))
        return self.head(F.normalize(x, dim=-1))


class Cosine(nn.Module):
    """A cosine classifier: features and weights normalised, a learned temperature."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.features = nn.Sequential(conv(3, width), nn.Conv2d(width, width, 3))
        self.weight = nn.Parameter(torch.randn(CLASSES, width))
        self.scale = nn.Parameter(torch.tensor(5.0))

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x).mean((2, 3))
        x = x / x.norm(dim=1, keepdim=True).clamp_min(1e-6)
        return self.scale * F.linear(x, F.normalize(self.weight))


class Distances(nn.Module):
    """Prototypes: minus the squared distance to each."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.features = conv(3, width)
        self.prototypes = nn.Parameter(torch.randn(CLASSES, width))

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x).mean((2, 3))
        return -(x[:, None] - self.prototypes[None]).pow(2).sum(-1)


class SoftmaxChannels(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x * self.conv(x).softmax(1))


class ShiftedZero(nn.Module):
    """Activations that turn a removed channel's 0 into another constant, before a padded convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(F.hardtanh(torch.exp(-self.conv1(x)) + 0.5, 0.1, 1.9))


TOYS: Toys = {
    "squeeze-excite": (lambda: Toy(SqueezeExcite(8, 4)), SHAPE),
    "squeeze-excite-linear": (lambda: Toy(SqueezeExciteLinear(8, 4)), SHAPE),
    "eca": (lambda: Toy(Eca()), SHAPE),
    "one-output-gate": (lambda: Toy(SpatialGate(8)), SHAPE),
    "spatial-attention": (lambda: Toy(SpatialAttention()), SHAPE),
    "response-norm": (lambda: Toy(nn.Sequential(ResponseNorm(8), conv(8, 6)), out=6), SHAPE),
    "scalars": (lambda: Toy(nn.Sequential(Scalars(8), nn.Conv2d(8, 8, 1))), SHAPE),
    "layer-scale": (lambda: Toy(LayerScale(8)), SHAPE),
    "prelu": (lambda: Toy(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.PReLU(8), nn.Conv2d(8, 8, 1))), SHAPE),
    "l2-normalised": (lambda: Normalised(8), SHAPE),
    "cosine-classifier": (lambda: Cosine(8), SHAPE),
    "prototypes": (lambda: Distances(8), SHAPE),
    "softmax-channels": (lambda: Toy(SoftmaxChannels(8)), SHAPE),
    "shifted-zero": (lambda: Toy(ShiftedZero(8)), SHAPE),
    "dropout": (
        lambda: Toy(nn.Sequential(nn.Dropout(0.2), nn.Conv2d(8, 8, 3), nn.Dropout2d(0.2), nn.AlphaDropout(0.1))),
        SHAPE,
    ),
}
