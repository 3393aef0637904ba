"""save: a checkpoint into its files."""

from dataclasses import replace
from pathlib import Path

import torch

from prunectl.checkpoints.checkpoint import Checkpoint, write
from prunectl.checkpoints.files import check_target
from prunectl.checkpoints.names import mask_path
from prunectl.checkpoints.rebuild import check_rebuilds


def save(
    checkpoint: Checkpoint, path: str | Path, *, model: str | None = None, data: str | None = None, force: bool = False
) -> Path:
    """Write `NAME.safetensors` and, where something is masked, `NAME.mask.safetensors`; returns the path.

    A network of your own class is loaded again with `load(path, model=Net)`. With `model="file.py:build"`, a function
    of (shape (C, H, W), classes) that builds the dense network, every command reads the file; `data` names the dataset
    that commands take by default.

    Raises:
        FileError: it cannot be written, or is there already and `force` is not given.
        OptionError: `model` does not build this network, or one that computes something else.
    """
    target = Path(path)
    for place in (target, mask_path(target)):
        check_target(place, force=force)
    named = checkpoint if model is None else replace(checkpoint, spec=replace(checkpoint.spec, name=model))
    named = named if data is None else replace(named, data=data)
    if model is not None:
        check_rebuilds(replace(named, builder=None).to(torch.device("cpu")))
    write(named, target)
    return target
