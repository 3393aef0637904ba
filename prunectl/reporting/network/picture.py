"""Makes small PNGs that are visible on light and dark pages."""

import io

import torch
from PIL import Image
from torch import Tensor

_BLUE = (0, 114, 178)


def heatmap(share: Tensor) -> bytes:
    """A matrix of values in [0, 1] as shades of blue: 0 is transparent, 1 is opaque."""
    alpha = (255 * share.clamp(0, 1)).round().to(torch.uint8)
    colour = torch.tensor(_BLUE, dtype=torch.uint8).expand(*share.shape, 3)
    return _encoded(torch.cat([colour, alpha[..., None]], 2), "RGBA")


def photo(pixels: Tensor) -> bytes:
    """An image (C, H, W) uint8."""
    rows = pixels.permute(1, 2, 0)
    return _encoded(rows[..., 0], "L") if len(pixels) == 1 else _encoded(rows[..., :3], "RGB")


def _encoded(pixels: Tensor, mode: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.contiguous().cpu().numpy(), mode).save(file, "PNG", optimize=True)
    return file.getvalue()
