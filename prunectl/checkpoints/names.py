"""The names of a checkpoint's files; imported by code that must start fast, so it does not import headers."""

import shlex
from pathlib import Path

from prunectl.checkpoints.opened import readable
from prunectl.errors import CheckpointError

FOLDER_FILE, FOLDER_CONFIG = "model.safetensors", "config.json"
"""The weights of a folder that `export` writes, and the file that holds a copy of their header under `KEY`."""
MASK_SUFFIX = ".mask.safetensors"
SUFFIXES = (".safetensors", ".st")
SIDECARS = (".mask", ".resume", ".examples", ".scores")
"""Files beside a checkpoint that end as one does."""
_PICKLE_PROTOCOLS = (b"\x02", b"\x03", b"\x04", b"\x05")


def checkpoint_file(path: Path) -> Path:
    """The file that holds a checkpoint's tensors: that of an exported folder, any other path as it is."""
    return path / FOLDER_FILE if (path / FOLDER_FILE).is_file() else path


def import_of(path: Path) -> str:
    """The command that makes a checkpoint of another program's weights."""
    return f"prunectl import {shlex.quote(str(path))} --model NAME -o NEW.safetensors"


def check_not_torch(path: Path) -> None:
    """Refuse a file that `torch.save` wrote: a zip archive or a pickle.

    Raises:
        CheckpointError: it is one.
    """
    try:
        with readable(path) as file:
            start = file.read(9)
    except OSError:  # the reader that follows says why
        return
    if start[8:] == b"{":  # a safetensors file, whose first bytes are the length of its header
        return
    if start[:4] == b"PK\x03\x04" or (start[:1] == b"\x80" and start[1:2] in _PICKLE_PROTOCOLS):
        raise CheckpointError(
            f"{path} is not a prunectl checkpoint, but weights of PyTorch; import it: {import_of(path)}"
        )


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
