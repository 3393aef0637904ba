"""A network that takes pixels in [0, 1] and normalises them itself."""

import torch
from torch import Tensor, nn


class FromPixels(nn.Module):
    """`network` on (pixels - mean) / std; pixels (B, C, H, W) in [0, 1]."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        like = next(network.parameters())
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values, device=like.device).view(-1, 1, 1), persistent=False)
        self.train(network.training)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixels (B, C, H, W) to logits (B, classes)."""
        logits: Tensor = self.network((pixels - self.mean) / self.std)
        return logits
