"""export: write a checkpoint for use without prunectl, and check it before the file gets its name."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from prunectl.checkpoints import files
from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.options.export import check_fits, kind_of
from prunectl.data.images import ImageData
from prunectl.errors import OptionError
from prunectl.exchange.folder import check_folder, write_folder
from prunectl.exchange.loader_py import check_loader, write_loader
from prunectl.exchange.programs import Report, Use, program, quiet
from prunectl.measuring.onnx import check_installed
from prunectl.models.given import given, read_network


@dataclass(frozen=True)
class Exported:
    """The result of an export: what was written, and how it compares with the network.

    `difference` is the largest one on random images, relative to the largest output, and `allowed` its limit. int8 has
    neither: `accuracy` holds the "float32" and "int8" accuracies on the test images, and `speed` is the speed-up over
    float32 for one image in ONNX Runtime on one CPU thread (below 1: slower).
    `fused` counts the folded BatchNorms, and `proof` holds the relative differences by type.
    """

    path: Path
    kind: str
    bytes: int
    difference: float | None = None
    fused: int = 0
    proof: Mapping[str, float] = field(default_factory=dict)
    accuracy: Mapping[str, float] = field(default_factory=dict)
    speed: float | None = None
    allowed: float | None = None


def export(
    checkpoint: Checkpoint | str | Path,
    path: str | Path,
    *,
    pixels: bool = False,
    softmax: bool = False,
    fuse: bool = False,
    fp16: bool = False,
    int8: ImageData | str | None = None,
    force: bool = False,
    report: Report = quiet,
) -> Exported:
    """Write a network for use without prunectl: NAME.onnx, NAME.pt2, NAME.py beside NAME.safetensors, or a folder.

    It computes the same as the loaded checkpoint on normalised images (B, C, H, W). The first two can also take
    `pixels` in [0, 1], return `softmax` probabilities and `fuse` BatchNorms into the layers before them. An ONNX file
    can compute in `fp16`, or in `int8`, calibrated on the training images of a dataset (its name or ImageData).
    `report` is called with the current step.

    Raises:
        OptionError: unknown kind of file, an option that the kind does not have, or a missing package.
        FileError: the file exists and `force` is not set, or it cannot be written.
        NoNormalisation: `pixels`, `int8` or a folder, but the normalisation of the network's images is unknown.
        StructureError: the network cannot be traced, or the format cannot hold it.
        ProofError: the exported network does not compute the same; nothing is written.
    """
    kind, target = kind_of(path), Path(path)
    check_fits(kind, pixels=pixels, softmax=softmax, fuse=fuse, fp16=fp16, int8=int8 is not None)
    if kind == "onnx":
        check_installed()
    source = None if isinstance(checkpoint, Checkpoint) else Path(checkpoint)
    check_target(target, kind, source, force=force)
    network = read_network(checkpoint).to(torch.device("cpu"))
    network = replace(network, model=copy.deepcopy(network.model).eval())
    if kind == "folder":
        return Exported(target, kind, *write_folder(network, target, source))
    if kind == "py":
        return Exported(target, kind, *write_loader(network, target, source))
    images = None if int8 is None else _to_calibrate(network, int8)
    made = program(network, kind, Use(pixels, softmax, fuse, fp16, images), report)
    files.write(target, made.data, force=force)
    compared = {key: getattr(made, key) for key in ("difference", "fused", "proof", "accuracy", "speed", "allowed")}
    return Exported(target, kind, len(made.data), **compared)


def _to_calibrate(network: Checkpoint, data: object) -> ImageData:
    """The dataset's images, in the form that the network takes.

    Raises:
        OptionError: it is neither a name nor an ImageData.
    """
    if not isinstance(data, str | ImageData):
        raise OptionError(
            f"`int8` takes a dataset's name, such as imagefolder:photos, or an ImageData, got {type(data).__name__}"
        )
    images = given(network, data).data
    images.check_fits(network.spec.input, network.spec.classes, network.spec.name)
    return images


def check_target(target: Path, kind: str, source: Path | None, *, force: bool) -> None:
    """Refuse a target that must not be written, before any work is done.

    Raises:
        FileError: it exists and `force` is False, or it cannot be written.
    """
    if kind == "folder":
        check_folder(target, force=force)
    elif kind == "py":
        check_loader(target, source, force=force)
    else:
        files.check_target(target, force=force)
