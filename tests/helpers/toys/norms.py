"""Networks with each kind of norm."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.helpers.toys.parts import SHAPE, Patches, Toy, Toys, conv


class LayerNorm2d(nn.LayerNorm):
    """Over the channels of (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class HandLayerNorm(nn.Module):
    """ConvNeXt's channels-first way, by mean and variance."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        u = x.mean(1, keepdim=True)
        s = (x - u).pow(2).mean(1, keepdim=True)
        x = (x - u) / torch.sqrt(s + 1e-6)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class HandRmsNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


class UnitPower(nn.Module):
    """Every channel over its own length: one that is zero would be 0 / 0."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.square().mean((2, 3), keepdim=True).pow(-0.5)


class ConvNext(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pwconv1, self.pwconv2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        x = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        x = self.gamma * self.pwconv2(F.gelu(self.pwconv1(x)))
        return shortcut + x.permute(0, 3, 1, 2)


class Mlp(nn.Module):
    """A transformer block without its attention, under any norm."""

    def __init__(self, norm: nn.Module, width: int) -> None:
        super().__init__()
        self.norm, self.fc1, self.fc2 = norm, nn.Linear(width, 12), nn.Linear(12, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fc2(F.gelu(self.fc1(self.norm(x))))


def after_conv(norm: nn.Module, width: int = 8) -> Toy:
    return Toy(nn.Sequential(nn.Conv2d(8, width, 3, padding=1), norm, nn.ReLU(), conv(width, 8)))


TOYS: Toys = {
    "layer-norm-2d": (lambda: after_conv(LayerNorm2d(8)), SHAPE),
    "layer-norm-by-hand": (lambda: after_conv(HandLayerNorm(8)), SHAPE),
    "layer-norm-all-axes": (lambda: after_conv(nn.LayerNorm([8, 8, 8])), SHAPE),
    "convnext": (lambda: Toy(nn.Sequential(ConvNext(8), LayerNorm2d(8), nn.Conv2d(8, 12, 2, 2)), out=12), SHAPE),
    "layer-norm-tokens": (lambda: Patches(nn.Sequential(Mlp(nn.LayerNorm(8), 8), nn.LayerNorm(8))), SHAPE),
    "layer-norm-plain": (lambda: Patches(Mlp(nn.LayerNorm(8, elementwise_affine=False), 8)), SHAPE),
    "rms-norm": (lambda: Patches(nn.Sequential(Mlp(nn.RMSNorm(8, eps=1e-6), 8), nn.RMSNorm(8))), SHAPE),
    "rms-norm-by-hand": (lambda: Patches(Mlp(HandRmsNorm(8), 8)), SHAPE),
    "unit-power": (lambda: after_conv(UnitPower()), SHAPE),
    "group-norm-4": (lambda: after_conv(nn.GroupNorm(4, 12), 12), SHAPE),
    "group-norm-1": (lambda: after_conv(nn.GroupNorm(1, 8)), SHAPE),
    "group-norm-all": (lambda: after_conv(nn.GroupNorm(8, 8)), SHAPE),
    "instance-norm": (lambda: after_conv(nn.InstanceNorm2d(8)), SHAPE),
    "instance-norm-affine": (lambda: after_conv(nn.InstanceNorm2d(8, affine=True)), SHAPE),
    "instance-norm-statistics": (
        lambda: after_conv(nn.InstanceNorm2d(8, affine=True, track_running_stats=True)),
        SHAPE,
    ),
    "instance-norm-features": (lambda: Patches(Mlp(nn.InstanceNorm1d(16, affine=True), 8)), SHAPE),
    "batch-norm-plain": (lambda: after_conv(nn.BatchNorm2d(8, affine=False)), SHAPE),
    "batch-norm-of-batch": (lambda: after_conv(nn.BatchNorm2d(8, track_running_stats=False)), SHAPE),
    "local-response-norm": (lambda: after_conv(nn.LocalResponseNorm(3)), SHAPE),
}
