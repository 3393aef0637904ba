"""Networks as other programs train and write them, and what their own code says of the same images."""

from pathlib import Path

import torch
from torch import Tensor, nn

from prunectl.data.images import ImageData
from prunectl.data.load import load_data

SHAPE, CLASSES = (3, 16, 16), 4
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
USE = ("--input", "3x16x16", "--classes", "4", "--mean", "0.4,0.5,0.6", "--std", "0.2,0.25,0.3")
BUILDER = "tests.helpers.foreign:built"


class Net(nn.Module):
    """A small network with BatchNorm; 8 + 8 nodes."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, 2, padding=1), nn.ReLU())
        self.head = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)).mean((2, 3)))


def built(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """The network as `--model tests.helpers.foreign:built` builds it."""
    return Net(classes)


def images(folder: Path, size: int = 16, count: int = 12) -> ImageData:
    """Random images of four classes below `folder`/images, as `--data imagefolder:images` reads them."""
    from PIL import Image

    generator = torch.Generator().manual_seed(7)
    for part in ("train", "test"):
        for name in "abcd":
            place = folder / "images" / part / name
            place.mkdir(parents=True)
            for i in range(count):
                pixels = torch.randint(0, 256, (size, size, 3), dtype=torch.uint8, generator=generator)
                Image.fromarray(pixels.numpy()).save(place / f"{i}.png")
    return load_data(f"imagefolder:{folder / 'images'}", image_size=size)


def normalised(pixels: Tensor, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD) -> Tensor:
    """Pixels uint8 (B, C, H, W) as torchvision's `ToTensor` and `Normalize` make them."""
    scale = [torch.tensor(values).view(-1, 1, 1) for values in (mean, std)]
    return (pixels.float() / 255 - scale[0]) / scale[1]


def trained(network: nn.Module, data: ImageData, steps: int = 8) -> nn.Module:
    """Train by a loop of its own, so that weights, statistics and logits are not those of a fresh network."""
    torch.manual_seed(1)
    optimizer = torch.optim.SGD(network.train().parameters(), lr=0.05, momentum=0.9)
    pixels = normalised(data.train.pixels)
    for _ in range(steps):
        optimizer.zero_grad()
        out = network(pixels)
        nn.functional.cross_entropy(getattr(out, "logits", out), data.train.labels).backward()
        optimizer.step()
    return network.eval()


@torch.no_grad()
def own_logits(
    network: nn.Module, data: ImageData, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD
) -> Tensor:
    """What the network's own code says of the test images."""
    out = network.eval()(normalised(data.test.pixels, mean, std))
    return getattr(out, "logits", out)


def accuracy(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(1) == labels).float().mean())


class Wrapped(nn.Module):
    """The same below a name of its own."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.inner = Net(classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def wrapped(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """The network as `--model tests.helpers.foreign:wrapped` builds it."""
    return Wrapped(classes)
