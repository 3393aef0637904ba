"""Where train and prune begin: a checkpoint or a fresh network, with its images."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunectl.cli import options
from prunectl.errors import OptionError
from prunectl.plugins.registry import check_trusted

if TYPE_CHECKING:
    import torch

    from prunectl.checkpoints.checkpoint import Checkpoint
    from prunectl.data.images import ImageData


def begins_at(checkpoint: str | None, model: str | None, model_options: list[str] | None, data: str | None) -> Path:
    """The checkpoint to read, or the name that the files of a fresh network begin with.

    Raises:
        OptionError: a checkpoint and a network were given, or options of no network.
    """
    if model is None:
        if model_options:
            raise OptionError("-M gives an option of a fresh network; name the network with --model")
        return options.checkpoint_path(checkpoint)
    if checkpoint not in (None, "-"):
        raise OptionError(f"give a CHECKPOINT or --model, not both: got {checkpoint} and {model}")
    return options.fresh_name(model, data or "digits")


def start(
    source: Path | None,
    *,
    model: str | None,
    model_options: dict[str, str],
    data: str | None,
    data_dir: Path | None,
    data_options: dict[str, Any],
    device: "torch.device",
    seed: int,
) -> "tuple[Checkpoint, ImageData]":
    """Read the checkpoint at `source`, or build network `model`, and load the images that go with it."""
    from prunectl.checkpoints.checkpoint import read
    from prunectl.models.fresh import fresh

    if source is not None:
        begun = read(source, device)
        return begun, images_for(begun, data, data_dir, **data_options)
    spec = data or "digits"
    images = options.open_data(spec, data_dir, **data_options)
    begun = fresh(str(model), images, source=spec, options=model_options, seed=seed)
    return begun.to(device), images


def images_for(
    checkpoint: "Checkpoint", data: str | None, data_dir: Path | None, *, image_size: int | None = None, **changes: Any
) -> "ImageData":
    """The images of a checkpoint, or of --data, in the size that the network takes where the dataset has no own."""
    from prunectl.data.load import RESIZABLE

    if data is None:
        check_trusted("data", checkpoint.data, "the checkpoint")
    spec = data or checkpoint.data
    height, width = checkpoint.spec.input[1:]
    if image_size is None and height == width and spec.partition(":")[0] in RESIZABLE:
        image_size = height
    images = options.open_data(spec, data_dir, image_size=image_size, **changes)
    images.check_fits(checkpoint.spec.input, checkpoint.spec.classes, checkpoint.spec.name)
    return images
