"""save: a checkpoint into its files."""

from dataclasses import replace
from pathlib import Path

from prunectl.checkpoints.checkpoint import Checkpoint, network, to_header, write
from prunectl.checkpoints.files import check_target
from prunectl.checkpoints.names import mask_path


def save(
    checkpoint: Checkpoint, path: str | Path, *, model: str | None = None, data: str | None = None, force: bool = False
) -> Path:
    """Write `NAME.safetensors` and, where something is masked, `NAME.mask.safetensors`; returns the path.

    A network of your own class is loaded again with `load(path, model=Net)`. With `model="file.py:build"`, a function
    of (shape (C, H, W), classes) that builds the dense network, every command reads the file; `data` names the dataset
    that commands take by default.

    Raises:
        FileError: it cannot be written, or is there already and `force` is not given.
        CheckpointError: `model` does not build this network.
    """
    target = Path(path)
    for place in (target, mask_path(target)):
        check_target(place, force=force)
    named = checkpoint if model is None else replace(checkpoint, spec=replace(checkpoint.spec, name=model))
    named = named if data is None else replace(named, data=data)
    if model is not None:
        state = {name: tensor.detach().cpu() for name, tensor in checkpoint.model.state_dict().items()}
        network(to_header(named, None), state, model)
    write(named, target)
    return target
