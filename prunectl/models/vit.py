"""A vision transformer for small images."""

import math

from torch import nn
from torchvision.models import VisionTransformer

from prunectl.errors import DataError
from prunectl.models.layers import check_input

PATCH = 4


def vit_tiny_cifar(input_shape: tuple[int, int, int], classes: int, *, depth: int = 12) -> nn.Module:
    """ViT-Ti (Touvron et al. 2021, arXiv:2012.12877, table 1) with patches of 4x4 (5,362,762 parameters at 3x32x32).

    Width 192, three heads, `depth` blocks, a class token; the layers are torchvision's.

    Raises:
        DataError: the images are not square, or their side is not a multiple of 4.
    """
    check_input("vit-tiny-cifar", input_shape, smallest=PATCH)
    channels, height, width = input_shape
    if height != width or height % PATCH:
        size = f"{channels}x{height}x{width}"
        raise DataError(f"vit-tiny-cifar needs square images with a side divisible by {PATCH}, got {size} (CxHxW)")
    model = VisionTransformer(
        image_size=height,
        patch_size=PATCH,
        num_layers=depth,
        num_heads=3,
        hidden_dim=192,
        mlp_dim=768,
        num_classes=classes,
    )
    model.conv_proj = _draw_(nn.Conv2d(channels, 192, PATCH, stride=PATCH), math.sqrt(1 / (channels * PATCH**2)))
    model.heads.head = _draw_(nn.Linear(192, classes), 0.02)  # torchvision's zero weights would hide it from scores
    network: nn.Module = model
    return network


def _draw_(layer: nn.Conv2d | nn.Linear, std: float) -> nn.Module:
    """Draw weights from a truncated normal distribution; zero biases."""
    if layer.bias is not None and not layer.weight.is_meta:
        nn.init.trunc_normal_(layer.weight, std=std)
        nn.init.zeros_(layer.bias)
    return layer
