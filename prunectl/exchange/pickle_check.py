"""Checks what a file of `torch.save` would run and allocate, from its opcodes, before any of it is loaded."""

import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from prunectl.errors import CheckpointError

_PLAIN = frozenset(
    {
        *("collections.OrderedDict", "collections.Counter", "_codecs.encode", "builtins.set", "builtins.complex"),
        *("__builtin__.set", "__builtin__.complex"),
        *("torch.Size", "torch.device", "torch.nn.parameter.Parameter", "torch.serialization._get_layout"),
        *("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3"),
        *("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"),
    }
)
_DTYPES = frozenset(
    f"torch.{name}"
    for name in (
        *("float16", "float32", "float64", "bfloat16", "complex64", "complex128", "bool"),
        *("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    )
)
_LEGACY_PICKLES = 5
"""The pickles that torch wrote before 1.6: magic number, protocol, system, content, keys of storages."""


def check_pickle(path: Path) -> None:
    """Refuse a `torch.save` file with anything but tensors in plain containers, or that declares more than it holds.

    torch's own reader runs no code either, but a tiny file could make it allocate any amount of memory.

    Raises:
        CheckpointError: it does; the message has the Python lines that convert a trusted file.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(4)
        if not start:
            raise CheckpointError(f"{path} is empty: the program that wrote it failed; use an intact copy")
        file.seek(0)
        try:
            for name, by_torch in _in_zip(path) if start == b"PK\x03\x04" else _in_stream(file):
                if not _is_plain(name):
                    raise CheckpointError(_conversion(path, name, by_torch=by_torch))
        except CheckpointError:
            raise
        except (ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
            what = str(error).partition("\n")[0]
            raise CheckpointError(
                f"{path} is neither safetensors nor a file of torch.save ({what}); use an intact copy"
            ) from error


def _is_plain(name: str) -> bool:
    storage = name.startswith(("torch.", "torch.cuda.", "torch.storage.")) and name.endswith("Storage")
    return name in _PLAIN or name in _DTYPES or (storage and name.rpartition(".")[2].isalpha())


def _in_zip(path: Path) -> Iterator[tuple[str, bool]]:
    """The names that the pickle in a zip file would import, each with True."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        pickles = [entry for entry in entries if entry.filename.endswith("data.pkl")]
        if any(entry.filename.rpartition("/")[2] == "constants.pkl" for entry in entries):
            raise CheckpointError(
                f"{path} is a TorchScript program, expected weights; save them in Python: "
                f"torch.save(torch.jit.load({path.name!r}).state_dict(), 'weights.pt')"
            )
        declared, size = sum(entry.file_size for entry in entries), path.stat().st_size
        if declared > size:
            raise CheckpointError(f"{path} has {size:,} bytes but declares {declared:,}; use an intact copy")
        if len(pickles) != 1:
            raise CheckpointError(f"{path} is a zip file without weights of torch.save; use a state dict")
        with archive.open(pickles[0]) as file:
            yield from ((name, True) for name in _imports(file))


def _in_stream(file: IO[bytes]) -> Iterator[tuple[str, bool]]:
    """The names that the pickles of an earlier torch would import, each with False if torch did not write the file.

    torch's files begin with its magic number, which imports nothing.
    """
    for i in range(_LEGACY_PICKLES):
        yield from ((name, i > 0) for name in _imports(file))


def _imports(file: IO[bytes]) -> Iterator[str]:
    """The names that one pickle would import, as `module.name`."""
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".")
        elif opcode.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
            yield f"an object ({opcode.name})"


def _conversion(path: Path, name: str, *, by_torch: bool) -> str:
    """The message with the Python lines that save only the weights of a trusted file."""
    file, target = repr(path.name), repr(path.stem + ".weights.pt")
    modules = "torch" if by_torch else "torch, pickle, pathlib"
    read = f"torch.load({file}, weights_only=False)" if by_torch else f"pickle.loads(pathlib.Path({file}).read_bytes())"
    plain = "o.state_dict() if hasattr(o, 'state_dict') else o.get('state_dict', o)"
    return (
        f"{path} holds {name}, which only Python's full unpickler reads, and that runs any code in the file. If you "
        f"trust it, convert it in Python: import {modules}; o = {read}; torch.save({plain}, {target})"
    )
