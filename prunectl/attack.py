"""attack: how a network holds against adversarial images."""

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from prunectl.checkpoint import Checkpoint
from prunectl.errors import DataError, OptionError
from prunectl.images import ImageData
from prunectl.modes import evaluating
from prunectl.registry import keyword_options, resolve
from prunectl.seeds import seed_for

DEFAULT_EPS = (1 / 255, 2 / 255, 4 / 255, 8 / 255)
Report = Callable[[int, int, list[float]], None]
"""Called after each batch with (images done, images, robust accuracy so far for each eps)."""


def attack(
    checkpoint: Checkpoint,
    data: ImageData,
    *,
    attack: str = "pgd",
    eps: Sequence[float] = DEFAULT_EPS,
    options: Mapping[str, str] | None = None,
    n: int | None = None,
    batch_size: int = 256,
    seed: int = 0,
    report: Report | None = None,
) -> dict[str, Any]:
    """Attack the test images, in batches, at every eps: one record.

    Images are in [0, 1] and eps (in that unit) bounds the attack's own norm; the normalisation is part of the network.
    Robust accuracy is measured on the clipped adversarials over ALL images: one that is wrong without an attack counts
    as wrong, and `success` is the share of the rightly classified images that the attack turns.

    Raises:
        UnknownName, OptionError: no such attack or option, an eps outside (0, 1] of a max-norm attack.
        DataError: the images do not fit the network, or there are none.
    """
    spec = checkpoint.spec
    data.check_fits(spec.input, spec.classes, spec.name)
    checkpoint.check_held_out(data)
    method = _build(attack, dict(options or {}))
    levels = _levels(attack, method, eps)
    images = data.test
    if n is not None:
        n = min(n, len(images))
        images = images.take(torch.arange(n) * len(images) // max(n, 1))  # spread evenly: a folder is sorted by class
    if not len(images):
        raise DataError(f"{data.name} has no test images to attack; give another --data, or a larger -n")
    started = time.perf_counter()
    clean = torch.zeros((), dtype=torch.int64, device=checkpoint.device)
    standing = torch.zeros(len(levels), dtype=torch.int64, device=checkpoint.device)
    done = 0
    model = checkpoint.model
    with evaluating(model), _without_gradients(model), torch.random.fork_rng(devices=_cuda_devices(checkpoint.device)):
        torch.manual_seed(seed_for("attack", seed))
        wrapped = _foolbox_model(checkpoint)
        for pixels, labels in images.batches(batch_size):
            inputs = pixels.to(checkpoint.device).float() / 255
            targets = labels.to(checkpoint.device)
            right = _predict(wrapped, inputs) == targets
            clean += right.sum()
            _, _, success = method(wrapped, inputs, targets, epsilons=levels)
            standing += (~success & right).sum(1)  # success: (eps, B)
            done += len(labels)
            if report is not None:
                report(done, len(images), (standing / done).tolist())
    return {
        "attack": attack,
        "options": dict(options or {}),
        "data": data.described,
        "images": done,
        "test_images": len(data.test),
        "seed": seed,
        "clean_accuracy": int(clean) / done,
        "results": [
            {"eps": e, "robust_accuracy": int(s) / done, "success": 1 - int(s) / int(clean) if int(clean) else None}
            for e, s in zip(levels, standing, strict=True)
        ],
        "seconds": time.perf_counter() - started,
        "device": str(checkpoint.device),
    }


def _build(name: str, options: dict[str, str]) -> Any:
    """Make a foolbox attack; its options are the arguments of its class."""
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # foolbox imports GitPython, which complains without git
    make = resolve("attack", name)
    try:
        return make(**keyword_options(make, options, f"attack {name}"))
    except ImportError as error:
        raise OptionError(f"attack {name} needs {error.name}; install it: pip install {error.name}") from error


def _levels(name: str, method: Any, eps: Sequence[float]) -> list[float]:
    """The eps in increasing order; those of a max-norm attack end at 1, as images do."""
    from foolbox.distances import linf  # noqa: PLC0415

    most = 1 if getattr(method, "distance", None) is linf else math.inf
    if not eps or not all(0 < e <= most and math.isfinite(e) for e in eps):
        given = ", ".join(f"{e:g}" for e in eps) or "none"
        raise OptionError(f"eps of {name} lie above 0{f' and up to {most}' if most == 1 else ''}, got {given}")
    return sorted(set(eps))


def _foolbox_model(checkpoint: Checkpoint) -> Any:
    """The network as foolbox takes it: images in [0, 1], normalised inside."""
    import foolbox  # noqa: PLC0415

    prepare = {"mean": list(checkpoint.preprocessing.mean), "std": list(checkpoint.preprocessing.std), "axis": -3}
    make: Any = foolbox.PyTorchModel  # type: ignore[attr-defined]
    return make(checkpoint.model, bounds=(0, 1), device=checkpoint.device, preprocessing=prepare)


@contextmanager
def _without_gradients(model: nn.Module) -> Iterator[None]:
    """Freeze the parameters inside the block: foolbox would leave gradients on them."""
    frozen = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in frozen:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def _predict(model: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return model(inputs).argmax(1)


def _cuda_devices(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []
