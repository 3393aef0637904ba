"""Networks that move data: shuffles, windows, patches, reshapes, repeats."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.helpers.toys.parts import CLASSES, SHAPE, Patches, Toy, Toys, conv


class ChannelShuffle(nn.Module):
    """ShuffleNetV1: grouped convolutions around a shuffle."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.conv1 = conv(width, width, 1, groups=groups)
        self.conv2 = conv(width, width, 1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        b, c, h, w = x.size()
        x = x.view(b, self.groups, c // self.groups, h, w)
        x = torch.transpose(x, 1, 2).contiguous()
        return self.conv2(x.reshape(b, -1, h, w))


class ShuffleUp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, 4 * width, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.shuffle(self.conv(x)))


class Unshuffle(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.unshuffle = nn.PixelUnshuffle(2)
        self.conv = conv(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.unshuffle(x))


class SpaceToDepth(nn.Module):
    """TResNet: a PixelUnshuffle by hand, the channel last among the merged axes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = conv(4 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.size()
        x = x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4).contiguous()
        return self.conv(x.view(b, c * 4, h // 2, w // 2))


class FlattenSpatial(nn.Module):
    """VGG, LeNet: the linear layer reads every pixel of every channel."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(conv(3, 6), nn.MaxPool2d(2), conv(6, 8), nn.AdaptiveAvgPool2d((2, 2)))
        self.classifier = nn.Sequential(
            nn.Linear(32, 10), nn.ReLU(True), nn.Dropout(0.0), nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, CLASSES)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = x.view(x.size(0), -1)
        return self.classifier(x)


class FlattenChannelsLast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = conv(3, 6, stride=4)
        self.fc = nn.Linear(24, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).permute(0, 2, 3, 1).reshape(x.shape[0], -1))


class WindowBlock(nn.Module):
    """Swin: channels last, cyclic shift, window partition, a mix over the window's tokens, and back."""

    def __init__(self, width: int, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Linear(window * window, window * window)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:  # (B, H, W, C)
        shortcut = x
        b, h, w, c = x.shape
        n = self.window
        x = torch.roll(self.norm(x), shifts=(-self.shift, -self.shift), dims=(1, 2))
        x = x.view(b, h // n, n, w // n, n, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, n * n, c)
        x = self.proj(self.mix(x.transpose(1, 2)).transpose(1, 2))
        x = x.view(b, h // n, w // n, n, n, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)
        return shortcut + torch.roll(x, shifts=(self.shift, self.shift), dims=(1, 2))


class PatchMerging(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # (B, H, W, C)
        x = torch.cat([x[..., 0::2, 0::2, :], x[..., 1::2, 0::2, :], x[..., 0::2, 1::2, :], x[..., 1::2, 1::2, :]], -1)
        return self.reduction(self.norm(x))


class ChannelsLast(nn.Module):
    """Run `body` on (B, H, W, C)."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ExpandRepeat(nn.Module):
    """A vector an image, expanded over the pixels and concatenated; another repeated along the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.context = nn.Linear(width, 4)
        self.conv = conv(2 * width + 4, width)

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        context = self.context(x.mean((2, 3)))
        context = context[:, :, None, None].expand(b, -1, h, w)
        return self.conv(torch.cat([x.repeat(1, 2, 1, 1), context], 1))


class RepeatInterleave(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = conv(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(torch.repeat_interleave(x, 2, dim=1))


class Einsum(nn.Module):
    """A linear layer, a bilinear pooling over pixels, and a product with a parameter, all by einsum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, width) * 0.3)
        self.mix = nn.Parameter(torch.randn(2, width, 6) * 0.3)
        self.fc = nn.Linear(12, width)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.einsum("bchw,cd->bdhw", x, self.weight)
        mixed = torch.einsum("bchw,ncd->bndhw", F.relu(x), self.mix).mean((3, 4))
        return x + self.fc(mixed.flatten(1))[:, :, None, None]


class EinsumDots(nn.Module):
    """Attention between pixels by einsums that leave the leading axes unnamed."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Conv2d(width, n, 1) for n in (6, 6, width))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (layer(x).flatten(2) for layer in (self.query, self.key, self.value))
        weights = torch.einsum("...di,...dj->...ij", query, key).softmax(-1)
        return torch.einsum("...ij,...dj->...di", weights, value).unflatten(2, x.shape[2:])


class PixelMix(nn.Module):
    """MLP-Mixer: a linear layer over the tokens, then one over the channels."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = nn.Sequential(nn.Linear(tokens, 6), nn.GELU(), nn.Linear(6, tokens))
        self.channels = nn.Sequential(nn.Linear(width, 12), nn.GELU(), nn.Linear(12, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))


class SliceChannels(nn.Module):
    """PConv: a convolution on the first quarter of the channels, the rest untouched; then a fixed reordering."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.part = width // 4
        self.conv = nn.Conv2d(self.part, self.part, 3, padding=1)
        self.register_buffer("order", torch.arange(width).flip(0), persistent=False)
        self.out = conv(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.conv(x[:, : self.part]), x[:, self.part :]], 1)
        return self.out(x[:, self.order] + x[:, ::2].repeat(1, 2, 1, 1))


class PickChannels(nn.Module):
    """Channels in a fixed order, and some of them twice."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("order", torch.arange(width).flip(0), persistent=False)
        self.conv, self.out = nn.Conv2d(width, 6, 1), nn.Conv2d(width + 4, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        some = torch.index_select(self.conv(x), 1, torch.tensor([5, 0, 0, 2], device=x.device))
        return self.out(torch.cat([x[:, self.order], some], 1))


TOYS: Toys = {
    "channel-shuffle": (lambda: Toy(ChannelShuffle(12, 3), width=12), SHAPE),
    "pixel-shuffle": (lambda: Toy(ShuffleUp(8)), SHAPE),
    "pixel-unshuffle": (lambda: Toy(Unshuffle(8)), SHAPE),
    "space-to-depth": (lambda: Toy(SpaceToDepth(8)), SHAPE),
    "flatten-spatial": (FlattenSpatial, SHAPE),
    "flatten-channels-last": (FlattenChannelsLast, SHAPE),
    "windows": (
        lambda: Toy(ChannelsLast(nn.Sequential(WindowBlock(8, 4, 0), WindowBlock(8, 4, 2)))),
        SHAPE,
    ),
    "patch-merging": (lambda: Toy(ChannelsLast(PatchMerging(8)), out=16), SHAPE),
    "expand-repeat": (lambda: Toy(ExpandRepeat(8)), SHAPE),
    "repeat-interleave": (lambda: Toy(RepeatInterleave(8)), SHAPE),
    "einsum": (lambda: Toy(Einsum(8)), SHAPE),
    "einsum-dots": (lambda: Toy(EinsumDots(8)), SHAPE),
    "token-mixer": (lambda: Patches(PixelMix(16, 8)), SHAPE),
    "slice-channels": (lambda: Toy(SliceChannels(8)), SHAPE),
    "pick-channels": (lambda: Toy(PickChannels(8)), SHAPE),
}
