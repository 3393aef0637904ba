"""An ONNX file that `prunectl export` wrote, as a classifier of image files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prunectl.checkpoints.header import Resize
from prunectl.checkpoints.header_check import is_resize
from prunectl.checkpoints.options.checks import is_number
from prunectl.data.images import Preprocessing
from prunectl.errors import CheckpointError, FileError
from prunectl.exchange.check import first_line
from prunectl.exchange.onnx import Session, check_installed
from prunectl.measuring.classify import Classifier


def read_onnx(path: Path) -> Classifier:
    """Open the file in ONNX Runtime, on the cpu.

    Raises:
        OptionError: ONNX Runtime is not installed.
        FileError: no such file.
        CheckpointError: it is no ONNX file, or does not say how it is used.
    """
    check_installed()
    try:
        session = Session(path.read_bytes())
    except OSError as error:
        raise FileError(f"cannot read {path}: {(error.strerror or str(error)).lower()}; check the path") from error
    except Exception as error:  # ONNX Runtime raises errors of many types
        raise CheckpointError(f"{path} is no ONNX file: {first_line(error)}; take an intact copy") from error
    described: Mapping[str, str] = session.session.get_modelmeta().custom_metadata_map
    try:
        return _classifier(session, described)
    except (LookupError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{path} does not say how images become its input ({error}); write it with `prunectl export`"
        ) from error


def _classifier(session: Session, described: Mapping[str, str]) -> Classifier:
    _, channels, height, width = session.session.get_inputs()[0].shape
    classes = int(session.session.get_outputs()[0].shape[1])
    resize: dict[str, Any] | None = json.loads(described["resize"]) if "resize" in described else None
    normalise = Preprocessing(tuple(json.loads(described["mean"])), tuple(json.loads(described["std"])))
    resized = None if resize is None else Resize(**resize)
    names = tuple(json.loads(described["names"])) if "names" in described else tuple(map(str, range(classes)))
    fits = {
        "mean": _are_numbers(normalise.mean, channels),
        "std": _are_numbers(normalise.std, channels) and min(normalise.std) > 0,
        "names": len(names) == classes and all(isinstance(name, str) for name in names),
        "resize": resized is None or is_resize(resized),
    }
    wrong = [key for key, fit in fits.items() if not fit]
    if wrong:
        raise ValueError(f"another kind of value expected under {', '.join(wrong)}")
    takes_pixels, finished = described["input"] == "pixels", described["output"] == "probabilities"

    def probabilities(images: Sequence[Tensor]) -> Tensor:
        pixels = torch.stack(list(images))
        found = session(pixels if takes_pixels else normalise(255 * pixels)).float()
        return found if finished else found.softmax(1)

    return Classifier(
        shape=(int(channels), int(height), int(width)),
        resize=resized,
        names=names,
        probabilities=probabilities,
    )


def _are_numbers(values: tuple[Any, ...], count: int) -> bool:
    return len(values) == count and all(is_number(value) for value in values)
