"""Reads ONNX files that `prunectl export` wrote: the network in ONNX Runtime, and the metadata."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prunectl.checkpoints.header import Resize
from prunectl.checkpoints.header_check import is_resize
from prunectl.checkpoints.options.checks import is_number
from prunectl.data.images import Preprocessing
from prunectl.errors import CheckpointError, FileError, first_line
from prunectl.measuring.onnx import Session, check_installed


@dataclass(frozen=True, eq=False)
class OnnxFile:
    """An exported file; `names` are the class names, or (); `data` is the dataset that `eval` uses, or "".

    `seen` is what its history's commands say about their images, oldest first; `content` is the file's bytes.
    """

    session: Session
    content: bytes
    shape: tuple[int, int, int]
    classes: int
    resize: Resize | None
    names: tuple[str, ...]
    preprocessing: Preprocessing
    takes_pixels: bool
    returns_probabilities: bool
    data: str
    seen: tuple[Mapping[str, Any], ...]

    def logits(self, pixels: Tensor) -> Tensor:
        """Float32 logits (B, classes), or log-probabilities, of pixels (B, C, H, W) in [0, 1], on the cpu."""
        found = self.session(pixels if self.takes_pixels else self.preprocessing(255 * pixels)).float()
        return found.clamp_min(torch.finfo(found.dtype).tiny).log() if self.returns_probabilities else found


def read_onnx(path: Path, *, threads: int | None = None) -> OnnxFile:
    """Open the file in ONNX Runtime, on the cpu; `threads` as in `Session`.

    Raises:
        OptionError: ONNX Runtime is not installed.
        FileError: no such file.
        CheckpointError: it is not an ONNX file, or does not say how images become its input.
    """
    check_installed()
    try:
        content = path.read_bytes()
        session = Session(content, threads=threads)
    except OSError as error:
        raise FileError(f"cannot read {path}: {(error.strerror or str(error)).lower()}; check the path") from error
    except Exception as error:  # ONNX Runtime raises errors of many types
        raise CheckpointError(f"{path} is not an ONNX file: {first_line(error)}; use an intact copy") from error
    described: Mapping[str, str] = session.session.get_modelmeta().custom_metadata_map
    try:
        return _described(session, content, described)
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{path} does not say how images become its input ({error}); write it with `prunectl export`"
        ) from error


def _described(session: Session, content: bytes, described: Mapping[str, str]) -> OnnxFile:
    _, channels, height, width = session.session.get_inputs()[0].shape
    classes = int(session.session.get_outputs()[0].shape[1])
    resize: dict[str, Any] | None = json.loads(described["resize"]) if "resize" in described else None
    normalise = Preprocessing(tuple(json.loads(described["mean"])), tuple(json.loads(described["std"])))
    resized = None if resize is None else Resize(**resize)
    names = tuple(json.loads(described["names"])) if "names" in described else ()
    fits = {
        "mean": _are_numbers(normalise.mean, channels),
        "std": _are_numbers(normalise.std, channels) and min(normalise.std) > 0,
        "names": len(names) in (0, classes) and all(isinstance(name, str) for name in names),
        "resize": resized is None or is_resize(resized),
    }
    wrong = [key for key, fit in fits.items() if not fit]
    if wrong:
        raise ValueError(f"wrong type of value under {', '.join(wrong)}")
    return OnnxFile(
        session=session,
        content=content,
        shape=(int(channels), int(height), int(width)),
        classes=classes,
        resize=resized,
        names=names,
        preprocessing=normalise,
        takes_pixels=described["input"] == "pixels",
        returns_probabilities=described["output"] == "probabilities",
        data=described.get("data", ""),
        seen=_seen(json.loads(described.get("history", "[]"))),
    )


def _seen(history: Any) -> tuple[Mapping[str, Any], ...]:
    """What a history's commands say about their images; entries of another form are skipped."""
    entries = history if isinstance(history, list) else []
    options = [entry.get("options") for entry in entries if isinstance(entry, dict)]
    found = [each.get("data") for each in options if isinstance(each, dict)]
    return tuple(each for each in found if isinstance(each, dict))


def _are_numbers(values: tuple[Any, ...], count: int) -> bool:
    return len(values) == count and all(is_number(value) for value in values)
