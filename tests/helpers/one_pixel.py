"""A classifier of images of one pixel, whose margins are known, and four such images."""

import torch
from torch import nn

from prunectl.data.images import ImageData, Images, Preprocessing

SHAPE = (1, 1, 1)


def threshold(at: float = 0.5) -> nn.Module:
    """One pixel p in [0, 1]: class 1 where p > `at`. Normalised input is (p - 0.5) / 0.25."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[0.0], [1.0]]))
        model[1].bias.copy_(torch.tensor([0.0, -(at - 0.5) / 0.25]))
    return model


def pixels() -> ImageData:
    """Distances from the threshold 0.5 of about .4, .2, .1, and one image that is wrong without an attack."""
    values = torch.tensor([26, 77, 102, 230]).view(-1, 1, 1, 1).to(torch.uint8)
    images = Images(values, torch.tensor([0, 0, 0, 0]))
    return ImageData("pixels", images, images, ("0", "1"), Preprocessing((0.5,), (0.25,)))
