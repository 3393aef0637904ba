"""Wraps a network for use: normalises pixels before it, turns logits into probabilities after it."""

import torch
from torch import Tensor, nn

from prunectl.data.images import Preprocessing
from prunectl.structure.surgery.proof import like_images
from prunectl.torchtools.copies import in_type_of


class Deployed(nn.Module):
    """Takes float32 images and returns float32, whatever type `network` computes in.

    With `preprocessing` the images are pixels in [0, 1], else they are already normalised. `softmax` returns
    probabilities instead of logits.

    Raises:
        NoNormalisation: how pixels become the network's input is unknown.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, preprocessing: Preprocessing | None = None, *, softmax: bool = False
    ) -> None:
        super().__init__()
        if preprocessing is not None:
            preprocessing.check_known()
        self.network, self.softmax, self.normalises = network, softmax, preprocessing is not None
        for name in ("mean", "std") if preprocessing is not None else ():
            values = torch.tensor(getattr(preprocessing, name), device=like_images(network).device)
            self.register_buffer(name, values.view(-1, 1, 1), persistent=False)
        self.training = network.training  # only on this module: an exported program refuses `train()`

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, classes)."""
        if self.normalises:
            images = (images - self.mean) / self.std
        logits: Tensor = self.network(in_type_of(self.network, images)).float()
        return logits.softmax(1) if self.softmax else logits


def deployed(network: nn.Module, preprocessing: Preprocessing | None = None, *, softmax: bool = False) -> nn.Module:
    """The network with normalisation and softmax around it, in float32; the network itself if it needs neither."""
    if preprocessing is None and not softmax and like_images(network).dtype == torch.float32:
        return network
    return Deployed(network, preprocessing, softmax=softmax)
