"""Reads weights that other programs wrote: safetensors, torch's zip and pickle files, and folders of shards.

Nothing of such a file is run, and no tensor is larger than what the file holds for it.
"""

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile, is_zipfile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from prunectl.checkpoints.files import sha256
from prunectl.checkpoints.header import KEY, TensorFile, read_toc
from prunectl.checkpoints.names import SUFFIXES
from prunectl.errors import CheckpointError, FileError
from prunectl.exchange.pickle_check import check_pickle

INDEX = ".index.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Names of weight files in a folder; with `.index.json` appended, the list of their shards."""
_MOST_INDEX = 64 << 20

_DEPTH = 8
"""Maximal nesting of tables."""


@dataclass(frozen=True)
class WeightFile:
    """A file's `content`: tensors by name, possibly in nested tables; `name` is the file's, without folder."""

    name: str
    sha256: str
    content: Mapping[str, Any]


def read_weights(path: Path) -> WeightFile:
    """Read a file of weights, an index of shards, or a folder that holds one of them.

    Raises:
        FileError: it is missing, cannot be read, or links out of its folder.
        CheckpointError: it is damaged, of an unknown format, a prunectl checkpoint, or needs code to be read.
    """
    if path.is_dir():
        found = _weights_in(path)
        check_inside(found, path)
        return _read_shards(found) if found.name.endswith(INDEX) else _read_one(found)
    if path.name.endswith(INDEX):
        return _read_shards(path)
    return _read_one(path)


def _weights_in(folder: Path) -> Path:
    names = [name + end for name in WEIGHTS for end in ("", INDEX)]
    found = next((folder / name for name in names if (folder / name).exists()), None)
    if found is None:
        raise FileError(f"{folder} holds no weights; expected one of {', '.join(names)}")
    return found


def _read_one(path: Path) -> WeightFile:
    check_regular(path)
    try:
        content = _read_safetensors(path) if path.name.endswith(SUFFIXES) else _read_torch(path)
        return WeightFile(path.name, sha256(path), content)
    except OSError as error:
        raise FileError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    toc = read_toc(path)
    if KEY in toc.metadata:
        raise CheckpointError(f"{path} is already a prunectl checkpoint; use it with prunectl eval, prune and so on")
    return _load_safetensors(toc)


def _load_safetensors(toc: TensorFile) -> Mapping[str, Tensor]:
    try:
        return load_file(toc.path)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
        raise CheckpointError(f"cannot read {toc.path}: {first_line(error)}; use an intact copy") from error


def _read_torch(path: Path) -> Mapping[str, Any]:
    check_pickle(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about storages of earlier versions of torch
            content = torch.load(  # noqa: TID251  (runs no code of a file)
                path, map_location="cpu", weights_only=True, mmap=_is_plain_zip(path)
            )
    except OSError:
        raise
    except Exception as error:
        raise CheckpointError(f"cannot read {path} as weights: {first_line(error)}; use an intact copy") from error
    if isinstance(content, Tensor) or not isinstance(content, Mapping):
        kind = type(content).__name__
        raise CheckpointError(f"{path} holds a {kind}, expected a state dict: torch.save(net.state_dict(), path)")
    _check_sizes(content, path)
    return content


def _is_plain_zip(path: Path) -> bool:
    """Whether a file stores its tensors in the layout of memory, so that it can be mapped instead of copied."""
    if not is_zipfile(path):
        return False
    with ZipFile(path) as archive:
        return all(entry.compress_type == ZIP_STORED for entry in archive.infolist())


def tensors_in(content: Mapping[Any, Any], depth: int = 0) -> Iterator[Tensor]:
    """All tensors in a file's content, nested ones included."""
    for value in content.values():
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, Mapping) and depth < _DEPTH:
            yield from tensors_in(value, depth + 1)


def _check_sizes(content: Mapping[Any, Any], path: Path, depth: int = 0) -> None:
    """Refuse a tensor with more elements than the file holds for it, which a stride of 0 allows."""
    for name, value in content.items():
        if isinstance(value, Tensor) and value.layout == torch.strided:
            held = value.untyped_storage().nbytes() // value.element_size()
            if value.numel() > held:
                raise CheckpointError(
                    f"{path} declares {value.numel():,} elements of {name}, but holds {held:,}; use an intact copy"
                )
        elif isinstance(value, Mapping) and depth < _DEPTH:
            _check_sizes(value, path, depth + 1)


def _read_shards(index: Path) -> WeightFile:
    """Read every tensor of an index from its shard, which must be in the index's own folder."""
    content: dict[str, Tensor] = {}
    digests = []
    by_shard = _by_shard(index)
    for name in by_shard:
        check_inside(index.parent / name, index.parent)
    for name, keys in by_shard.items():
        shard = _read_one(index.parent / name)
        lacking = next((key for key in keys if key not in shard.content), None)
        if lacking is not None:
            raise CheckpointError(f"{index} expects {lacking} in {name}, which does not hold it; copy all shards again")
        content |= {key: shard.content[key] for key in keys}
        digests.append(shard.sha256)
    return WeightFile(index.name, hashlib.sha256("".join(digests).encode()).hexdigest(), content)


def _by_shard(index: Path) -> dict[str, list[str]]:
    """The keys of every shard, by the shard's name."""
    check_regular(index)
    try:
        if index.stat().st_size > _MOST_INDEX:
            raise ValueError("it is too large")
        keys = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        found: dict[str, list[str]] = {}
        for key, name in keys.items():
            found.setdefault(name, []).append(key)
    except OSError as error:
        raise FileError(f"cannot read {index}: {(error.strerror or str(error)).lower()}; check the path") from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{index} is not an index of shards ({first_line(error)}); use an intact copy") from error
    for name in found:
        if not isinstance(name, str) or name in ("", ".", "..") or "\0" in name or Path(name).name != name:
            raise FileError(f"{index} names the shard {name!r}, expected a file in its own folder; nothing was read")
    return dict(sorted(found.items()))


def check_regular(path: Path) -> None:
    """Refuse anything but a regular file; a pipe, for example, would block the reader.

    Raises:
        FileError: it is absent, or not a regular file.
    """
    if not path.exists():
        raise FileError(f"cannot read {path}: no such file; check the path")
    if not path.is_file():
        raise FileError(f"{path} is not a regular file; use a file of weights (.safetensors, .pt, .pth, .bin)")


def check_inside(file: Path, folder: Path) -> None:
    """Refuse a link that leads out of a folder; the cache of the Hugging Face hub links to `blobs` of the same model.

    Raises:
        FileError: it does.
    """
    allowed = [folder.resolve()]
    if folder.resolve().parent.name == "snapshots":
        allowed.append(folder.resolve().parent.parent / "blobs")
    if not any(file.resolve().is_relative_to(place) for place in allowed):
        raise FileError(f"{file} is a link that leads out of its folder; copy the file itself there")


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type."""
    return str(error).strip().partition("\n")[0].strip().rstrip(".") or type(error).__name__
