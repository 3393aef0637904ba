"""corrupt: measures the accuracy of a network under common corruptions of its test images."""

import io
import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.data.images import ImageData, Images, mixed
from prunectl.data.loader import as_pixels
from prunectl.errors import DataError
from prunectl.measuring.accuracy import accuracy
from prunectl.plugins.registry import unknown
from prunectl.robustness.network import check_finite
from prunectl.torchtools.contexts import precision
from prunectl.torchtools.rng import forked, seed_for

SEVERITIES = {
    "gaussian-noise": (0.04, 0.06, 0.08, 0.09, 0.10),
    "blur": (0.4, 0.6, 0.7, 0.8, 1.0),
    "brightness": (1.1, 1.2, 1.3, 1.4, 1.6),
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
    "jpeg": (80.0, 65.0, 58.0, 50.0, 40.0),
}
"""Severity 1 to 5 of Hendrycks & Dietterich 2019 (arXiv:1903.12261) for images of 32 x 32 pixels: the noise's standard
deviation in [0, 1], the blur's in pixels, the remaining share of contrast, the JPEG quality; and a brightness factor
(theirs adds to the value of HSV)."""
Report = Callable[[int, int], None]
"""Called after each setting with (settings done, settings)."""


def corrupt(
    checkpoint: Checkpoint,
    data: ImageData,
    *,
    corruptions: Sequence[str] = tuple(SEVERITIES),
    n: int | None = None,
    batch_size: int = 256,
    amp: bool = False,
    seed: int = 0,
    report: Report | None = None,
) -> dict[str, Any]:
    """Measure accuracy on test images at every severity of every corruption; one record. `amp` is as in `accuracy`.

    Raises:
        UnknownName: no such corruption.
        DataError: the images do not fit the network, or there are none.
        CheckpointError: the network's outputs are NaN.
    """
    for name in corruptions:
        if name not in SEVERITIES:
            raise unknown("corruption", name, [*SEVERITIES, "all"])
    spec = checkpoint.spec
    data.check_fits(spec.input, spec.classes, spec.name)
    checkpoint.check_held_out(data)
    count = len(data.test) if n is None else min(n, len(data.test))
    if not count:
        raise DataError(f"{data.name} has no test images to corrupt; use other `data` or a larger `n`")
    images = as_pixels(data.test.take(torch.arange(count) * len(data.test) // count))
    started = time.perf_counter()
    settings = [(name, severity) for name in corruptions for severity in range(1, 6)]
    found: list[dict[str, Any]] = []
    shares: list[float] = []

    def measured(change: Callable[[Tensor, int], Tensor] | None) -> float:
        right = 0
        for i, (pixels, labels) in enumerate(images.batches(batch_size)):
            here = Images(pixels if change is None else change(pixels, i), labels)
            result = accuracy(
                checkpoint.model, here, checkpoint.preprocessing, classes=spec.classes, batch_size=batch_size, amp=amp
            )
            check_finite(math.isfinite(result.loss), spec.name)
            right += int(result.confusion.diag().sum())
        return right / count

    with forked(checkpoint.device):
        clean = measured(None)
        for done, (name, severity) in enumerate(settings, 1):
            strength = SEVERITIES[name][severity - 1]

            def change(pixels: Tensor, i: int, name: str = name, strength: float = strength) -> Tensor:
                torch.manual_seed(mixed(seed_for(f"corruption {name}", seed), i))
                return corrupted(pixels, name, strength)

            shares.append(measured(change))
            found.append({"corruption": name, "severity": severity, "accuracy": shares[-1]})
            if report is not None:
                report(done, len(settings))
    warnings = checkpoint.doubts_of(data)
    return {
        "attack": "corruptions",
        "data": data.described,
        "images": count,
        "test_images": len(data.test),
        "seed": seed,
        "clean_accuracy": clean,
        "results": [],
        "corruptions": found,
        "mean_accuracy": statistics.mean(shares),
        **({"warnings": warnings} if warnings else {}),
        "seconds": time.perf_counter() - started,
        "device": str(checkpoint.device),
        "precision": precision(checkpoint.model, amp=amp),
    }


def corrupted(pixels: Tensor, name: str, strength: float) -> Tensor:
    """Corrupt uint8 images (B, C, H, W) with torchvision; `strength` is a value of `SEVERITIES`."""
    from torchvision.transforms.v2 import functional  # noqa: PLC0415

    if name == "jpeg":
        return torch.stack([_jpeg(image, int(strength)) for image in pixels.cpu()]).to(pixels.device)
    if name == "gaussian-noise":
        noisy = functional.gaussian_noise(pixels.float() / 255, mean=0.0, sigma=strength, clip=True)
        return (255 * noisy).round().to(torch.uint8)  # type: ignore[no-any-return]
    if name == "blur":
        reach = 2 * int(4 * strength + 0.5) + 1  # four standard deviations to each side
        return functional.gaussian_blur(pixels, [reach, reach], [strength, strength])  # type: ignore[no-any-return]
    change = functional.adjust_brightness if name == "brightness" else functional.adjust_contrast
    if pixels.shape[1] in (1, 3):
        return change(pixels, strength)  # type: ignore[no-any-return]
    return torch.cat([change(pixels[:, i : i + 1], strength) for i in range(pixels.shape[1])], 1)


def _jpeg(image: Tensor, quality: int) -> Tensor:
    """Pass an image (C, H, W) through Pillow's JPEG (torchvision's is deprecated); channels one by one unless RGB."""
    from PIL import Image  # noqa: PLC0415

    if image.shape[0] not in (1, 3):
        return torch.cat([_jpeg(channel[None], quality) for channel in image])
    stored = io.BytesIO()
    pixels = image.movedim(0, -1).numpy()  # (H, W, C)
    Image.fromarray(pixels[..., 0] if image.shape[0] == 1 else pixels).save(stored, "JPEG", quality=quality)
    with Image.open(stored) as read:
        flat = torch.frombuffer(bytearray(read.tobytes()), dtype=torch.uint8)
    return flat.view(*image.shape[1:], image.shape[0]).movedim(-1, 0)
