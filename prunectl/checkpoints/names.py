"""The names of a checkpoint's files. Code that must start fast imports this, so it does not import headers."""

import shlex
from pathlib import Path

from prunectl.checkpoints.opened import readable
from prunectl.errors import CheckpointError

FOLDER_FILE, FOLDER_CONFIG = "model.safetensors", "config.json"
"""The weights in an exported folder, and the file with a copy of their header under `KEY`."""
MASK_SUFFIX = ".mask.safetensors"
SUFFIXES = (".safetensors", ".st")
SIDECARS = (".mask", ".resume", ".examples", ".scores")
"""Endings of files beside a checkpoint that are no checkpoints."""
_PICKLE_PROTOCOLS = (b"\x02", b"\x03", b"\x04", b"\x05")


def checkpoint_file(path: Path) -> Path:
    """The file with a checkpoint's tensors: the one in an exported folder, else the path itself."""
    return path / FOLDER_FILE if (path / FOLDER_FILE).is_file() else path


def import_of(path: Path) -> str:
    """The command that imports another program's weights."""
    return f"prunectl import {shlex.quote(str(path))} --model NAME -o NEW.safetensors"


def check_not_torch(path: Path) -> None:
    """Refuse a file that `torch.save` wrote: a zip archive or a pickle.

    Raises:
        CheckpointError: torch wrote it.
    """
    try:
        with readable(path) as file:
            start = file.read(9)
    except OSError:  # the next reader reports it
        return
    if start[8:] == b"{":  # a safetensors file, whose first bytes are the length of its header
        return
    if start[:4] == b"PK\x03\x04" or (start[:1] == b"\x80" and start[1:2] in _PICKLE_PROTOCOLS):
        raise CheckpointError(f"{path} holds PyTorch weights, not a prunectl checkpoint; import it: {import_of(path)}")


def mask_path(path: Path) -> Path:
    """The path of a checkpoint's mask file: `x.mask.safetensors`, or `x.mask.st` for `x.st`."""
    suffix = ".mask.st" if path.name.endswith(".st") else MASK_SUFFIX
    return path.with_name(base_name(path) + suffix)


def base_name(path: Path) -> str:
    """The file's name without .safetensors or .st."""
    return next((path.name.removesuffix(suffix) for suffix in SUFFIXES if path.name.endswith(suffix)), path.name)


def beside(path: Path, suffix: str) -> Path:
    """The file NAME + suffix beside checkpoint NAME.safetensors, such as `.results.jsonl`."""
    return path.with_name(base_name(path) + suffix)
