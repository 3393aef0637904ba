"""The start of train and prune: a checkpoint or a fresh network, with its images."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunectl.cli import options, output, texts
from prunectl.errors import OptionError
from prunectl.plugins.places import known
from prunectl.plugins.registry import check_trusted

SYNTHETIC, CLASSES = "synthetic", 1000
"""Datasets that take any shape, and the default number of classes of a network built for a shape alone."""

_CHANGES = {"subset": "--subset", "tuning": "--tuning", "random_labels": "--random-labels"}
"""Options that change the images of one command only."""

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from prunectl.checkpoints.checkpoint import Checkpoint
    from prunectl.data.images import ImageData

    Shape = tuple[int, int, int]


def begins_at(
    checkpoint: str | None, model: str | None, model_options: list[str] | None, data: str | None, *, pretrained: bool
) -> Path:
    """The checkpoint to read, or the name that begins the names of a fresh network's files.

    Raises:
        OptionError: there is both a checkpoint and a network, or options of a network without one.
    """
    if model is None:
        if model_options or pretrained:
            option = "-M" if model_options else "--pretrained"
            raise OptionError(f"{option} is for a new network; name one with --model")
        return options.checkpoint_path(checkpoint, or_model=True)
    if checkpoint not in (None, "-"):
        raise OptionError(f"expected a CHECKPOINT or --model, got both: {checkpoint} and {model}")
    return options.fresh_name(model, data or ("pretrained" if pretrained else "digits"))


def check_input(shape: str | None, classes: int | None, model: str | None, data: str | None) -> None:
    """Refuse --input and --classes if something else determines them.

    Raises:
        OptionError: they were set with a checkpoint, or with images that have their own shape.
    """
    if classes is not None and shape is None:
        raise OptionError("--classes is for --input; --data sets its own number of classes")
    if shape is not None and model is None:
        raise OptionError("--input is for --model; a checkpoint has its own input shape")
    if shape is not None and data not in (None, SYNTHETIC):
        raise OptionError(f"expected --input or --data {data}, got both: these images have their own shape")
    texts.image_shape(shape)


def start(
    source: Path | None,
    *,
    model: str | None,
    model_options: dict[str, str],
    pretrained: bool = False,
    data: str | None,
    shape: "Shape | None" = None,
    classes: int | None = None,
    data_dir: Path | None,
    data_options: dict[str, Any],
    device: "torch.device",
    seed: int,
) -> "tuple[Checkpoint, ImageData]":
    """Read the checkpoint at `source`, or build network `model`, and load its images.

    A network built for a `shape` (C, H, W) alone has none; it takes the names of its first images later.
    """
    from prunectl.checkpoints.checkpoint import read
    from prunectl.data.images import no_images
    from prunectl.models.fresh import fresh

    if source is not None:
        begun = read(source, device)
        images = images_for(begun, data, data_dir, **data_options)
        from_here = {name: place for name, place in begun.places.items() if name != data}
        return with_names(_of_images(replace(begun, places=from_here), images, data), images), images
    if pretrained:
        begun, images = _pretrained(str(model), model_options, data, shape, classes, data_dir, data_options, seed)
        return begun.to(device), images
    if shape is not None and data is None:
        images = no_images(shape, classes or CLASSES)
        begun = fresh(str(model), images, source="", options=model_options, seed=seed)
        return replace(begun, names=()).to(device), images
    spec = data or "digits"
    images = fresh_images(str(model), spec, data_dir, shape=shape, classes=classes, **data_options)
    begun = fresh(str(model), images, source=spec, options=model_options, seed=seed)
    return begun.to(device), images


def fresh_images(
    model: str,
    spec: str,
    data_dir: Path | None,
    *,
    shape: "Shape | None" = None,
    classes: int | None = None,
    **changes: Any,
) -> "ImageData":
    """The images for a fresh network; synthetic ones have `shape`, or the network's usual shape."""
    from prunectl.data.sets.synthetic import CLASSES as FEW
    from prunectl.data.source import NetworkInput
    from prunectl.models.published import published_input

    made = spec == SYNTHETIC
    shape = (shape or published_input(model)) if made else None
    network = None if shape is None else NetworkInput(shape, classes or FEW)
    return options.open_data(spec, data_dir, network=network, **changes)


def _pretrained(
    model: str,
    model_options: dict[str, str],
    data: str | None,
    shape: "Shape | None",
    classes: int | None,
    data_dir: Path | None,
    changes: dict[str, Any],
    seed: int,
) -> "tuple[Checkpoint, ImageData]":
    """A network with published weights, and its images: none without `data`, in the size of the weights if possible."""
    from prunectl.data.images import no_images
    from prunectl.data.load import RESIZABLE
    from prunectl.data.source import NetworkInput
    from prunectl.exchange.pretrained import fetched
    from prunectl.models.given import images_of

    found = fetched(model, model_options)
    usage, rule = found.usage, found.usage.resize
    if data is None:
        begun = found.checkpoint(input=shape, classes=classes, names=(), data="", seed=seed)
        return begun, no_images(begun.spec.input, begun.spec.classes)
    size = shape or usage.input
    if changes.get("image_size") is None and size and size[1] == size[2] and data.partition(":")[0] in RESIZABLE:
        changes = {**changes, "image_size": size[1]}
    crop = () if rule is None else (rule.crop, rule.interpolation)
    network = None if size is None else NetworkInput(size, classes or usage.classes or CLASSES, *crop)
    images = options.open_data(data, data_dir, network=network, **changes).in_order_of(usage.names or ())
    count = len(images.classes)
    begun = found.checkpoint(input=images.shape, classes=count, names=images.classes, data=data, seed=seed)
    return begun, images_of(begun, images)


def _of_images(checkpoint: "Checkpoint", images: "ImageData", data: str | None) -> "Checkpoint":
    """A network that has not seen images takes the name, classes and normalisation of its first ones."""
    reached = (
        entry.data is not None or entry.command not in ("train", "prune", "repair", "shrink")
        for entry in checkpoint.history
    )
    if checkpoint.data or data is None or any(reached):
        return checkpoint
    return replace(checkpoint, data=data, preprocessing=images.preprocessing, names=images.classes)


def images_for(
    checkpoint: "Checkpoint",
    data: str | None,
    data_dir: Path | None,
    *,
    image_size: int | None = None,
    split: float | None = None,
    **changes: Any,
) -> "ImageData":
    """The images of --data or of a checkpoint, in the network's size if the dataset has none of its own.

    A folder without test images is split as for the network's training. Classes are numbered like the network's names.

    Raises:
        OptionError: another split was requested, which would test on training images.
    """
    from prunectl.data.load import RESIZABLE
    from prunectl.data.source import NetworkInput
    from prunectl.models.given import images_of

    spec = data or checkpoint.data
    if not spec:
        raise OptionError("the checkpoint names no dataset; add --data, such as --data imagefolder:photos")
    height, width = checkpoint.spec.input[1:]
    if image_size is None and height == width and spec.partition(":")[0] in RESIZABLE:
        image_size = height
    split = held_out_split([entry.data or {} for entry in checkpoint.history], spec, split)
    rule = () if checkpoint.resize is None else (checkpoint.resize.crop, checkpoint.resize.interpolation)
    network = NetworkInput(checkpoint.spec.input, checkpoint.spec.classes, *rule)
    with known(checkpoint.places if data is None else {}):
        if data is None:
            check_trusted("data", spec, "the checkpoint")
        images = options.open_data(spec, data_dir, image_size=image_size, split=split, network=network, **changes)
    images.check_fits(checkpoint.spec.input, checkpoint.spec.classes, checkpoint.spec.name)
    return images_of(checkpoint, images)


def warn_of_other_images(checkpoint: "Checkpoint", images: "ImageData") -> None:
    """Warn if the previous command changed the same dataset by an option that this command does not have set."""
    now = images.described
    entry = next((entry for entry in reversed(checkpoint.history) if entry.data), None)
    before = {} if entry is None or entry.data is None else entry.data
    if entry is None or before.get("name") != now["name"]:
        return
    for key, flag in _CHANGES.items():
        if before.get(key) and not now.get(key):
            option = flag if before[key] is True else f"{flag} {before[key]}"
            count = output.many(len(images.train), "training image")
            output.warn(f"{entry.command} used {option}, this command uses {count}; add {option} for the same images")


def with_names(checkpoint: "Checkpoint", images: "ImageData") -> "Checkpoint":
    """The network, with the class names of its images if it has none; without names, numbers are shown."""
    numbers = tuple(map(str, range(len(images.classes))))
    return checkpoint if checkpoint.names or images.classes == numbers else replace(checkpoint, names=images.classes)


def held_out_split(seen: "Sequence[Mapping[str, Any]]", spec: str, asked: float | None) -> float | None:
    """The share of each class to hold out: the one with which the network was made, else --split.

    `seen` is what its history's commands say about their images, oldest first.

    Raises:
        OptionError: another share was requested, which would test on training images.
    """
    trained = _trained_split(seen, spec)
    if asked is not None and trained is not None and asked != trained:
        raise OptionError(
            f"--split {asked:g}: this network was made with --split {trained:g} of the same images, so it would be "
            "tested on training images; leave out --split"
        )
    return asked if trained is None else trained


def _trained_split(seen: "Sequence[Mapping[str, Any]]", spec: str) -> float | None:
    """The share of these images that a history's commands held out; None if none did."""
    place = spec.partition(":")[2]
    folder = Path(place).expanduser().resolve().name if place else None
    for images in reversed(seen):
        if (images.get("source") == spec or images.get("name") == folder) and isinstance(images.get("split"), float):
            return float(images["split"])
    return None
