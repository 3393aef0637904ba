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
    checkpoint: "Checkpoint",
    data: str | None,
    data_dir: Path | None,
    *,
    image_size: int | None = None,
    split: float | None = None,
    **changes: Any,
) -> "ImageData":
    """The images of a checkpoint, or of --data, in the size that the network takes where the dataset has no own.

    A folder without test images is split as it was to train the network.

    Raises:
        OptionError: another split is asked for, which would test on training images.
    """
    from prunectl.data.load import RESIZABLE
    from prunectl.data.source import NetworkInput

    if data is None:
        check_trusted("data", checkpoint.data, "the checkpoint")
    spec = data or checkpoint.data
    height, width = checkpoint.spec.input[1:]
    if image_size is None and height == width and spec.partition(":")[0] in RESIZABLE:
        image_size = height
    trained = _trained_split(checkpoint, spec)
    if None not in (split, trained) and split != trained:
        raise OptionError(
            f"--split {split:g}: this network was made with --split {trained:g} of the same images, and would be "
            "tested on some that it saw; leave out --split"
        )
    rule = () if checkpoint.resize is None else (checkpoint.resize.crop, checkpoint.resize.interpolation)
    network = NetworkInput(checkpoint.spec.input, checkpoint.spec.classes, *rule)
    split = trained if split is None else split
    images = options.open_data(spec, data_dir, image_size=image_size, split=split, network=network, **changes)
    images.check_fits(checkpoint.spec.input, checkpoint.spec.classes, checkpoint.spec.name)
    return images


def _trained_split(checkpoint: "Checkpoint", spec: str) -> float | None:
    """The share of these images that the commands of a checkpoint's history held out; None where none did."""
    place = spec.partition(":")[2]
    folder = Path(place).expanduser().resolve().name if place else None
    for entry in reversed(checkpoint.history):
        seen = entry.data or {}
        if (seen.get("source") == spec or seen.get("name") == folder) and isinstance(seen.get("split"), float):
            return float(seen["split"])
    return None
