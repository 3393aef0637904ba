"""The adversarial examples that an attack saved beside a checkpoint."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from prunectl.checkpoints.results import is_of
from prunectl.reporting.findings import Adversarial
from prunectl.reporting.network.picture import photo

_MOST = 16


def read_examples(path: Path, sha256: str | None) -> tuple[Adversarial, ...]:
    """The examples in `NAME.examples.safetensors`; none if it cannot be read or belongs to another checkpoint."""
    if not is_of(path, sha256):
        return ()
    try:
        found = load_file(path)
        clean, turned = _pixels(found["clean"]), _pixels(found["adversarial"])
        classes = [found[key].tolist() for key in ("label", "adversarial_prediction")]
    except (SafetensorError, OSError, KeyError):
        return ()
    rows = zip(*classes, clean, turned, strict=False)
    return tuple(Adversarial(label, answer, photo(a), photo(b)) for label, answer, a, b in rows)[:_MOST]


def _pixels(images: Tensor) -> Tensor:
    """Images (N, C, H, W), in [0, 1] or already uint8, as uint8."""
    return images if images.dtype == torch.uint8 else (255 * images.clamp(0, 1)).round().to(torch.uint8)
