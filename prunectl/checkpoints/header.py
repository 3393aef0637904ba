"""The header of a checkpoint, read without its tensors and without torch."""

import contextlib
import json
import math
import os
import struct
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from prunectl.checkpoints.files import pending_sidecar
from prunectl.checkpoints.folder_lock import folder_locked
from prunectl.checkpoints.header_check import check_fields
from prunectl.checkpoints.history import HistoryEntry
from prunectl.checkpoints.names import (
    FOLDER_CONFIG,
    FOLDER_FILE,
    check_not_torch,
    checkpoint_file,
    import_of,
    mask_path,
)
from prunectl.checkpoints.opened import readable
from prunectl.checkpoints.options.checks import is_count
from prunectl.checkpoints.steady import steadily
from prunectl.checkpoints.texts import parsed
from prunectl.errors import CheckpointError, FileError
from prunectl.torchtools.temporaries import remove_leftovers

MOST_HEADER, MOST_STEPS, MOST_TEXT = 100_000_000, 1000, 2**24
"""Limits: bytes of a safetensors file's JSON, set by the format; entries of a history; characters of a header."""
_BITS = {"BOOL": 8, "U8": 8, "I8": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32}
_BITS |= {"F8_E4M3": 8, "F8_E5M2": 8, "I64": 64, "U64": 64, "F64": 64, "C64": 64}
"""Bytes of an entry of each type; the sizes of other types are not checked."""
SCHEMA = 3
"""1 had neither `names` nor `resize`, 2 no `normalisation_known`; a header gets the lowest number that can hold it."""
_READ = (1, 2, 3)
KEY = "prunectl"


@dataclass(frozen=True)
class ModelSpec:
    """How to build the dense network: name (as `registry.resolve` reads it), options, input (C, H, W), classes."""

    name: str
    input: tuple[int, int, int]
    classes: int
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DenseCounts:
    """Counts of the original dense network, to which sparsities refer. `nodes` is None if unknown."""

    parameters: int
    weights: int
    nodes: int | None
    flops: int


@dataclass(frozen=True)
class Resize:
    """How image files become network input: resize the shorter side to `size` / `crop` pixels, crop the centre.

    `size` is the side of the square, `crop` in (0, 1] its share of the resized image, `interpolation` one of
    `header_check.INTERPOLATIONS`.
    """

    size: int
    crop: float = 1.0
    interpolation: str = "bilinear"

    @property
    def shorter_side(self) -> int:
        """Pixels of the shorter side after resizing: 224 / (224 / 232) is 232, or a bit less in floating point."""
        return math.floor(self.size / self.crop + 1e-6)


@dataclass(frozen=True)
class Header:
    """The JSON under the metadata key `prunectl` of a checkpoint.

    `weights` counts the kept prunable weights; `pair` is the id that the mask file shares, None = no masks. `names` are
    the class names, empty if there are none; `resize` is None if no rule is known.
    """

    model: ModelSpec
    data: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    dense: DenseCounts
    weights: int
    edits: tuple[dict[str, Any], ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    pair: str | None = None
    names: tuple[str, ...] = ()
    resize: Resize | None = None
    normalisation_known: bool = True
    """False if images were normalised before prunectl got them; `mean` is then 0 and `std` 1."""

    @property
    def nodes_present(self) -> int | None:
        """The number of nodes in memory, from the last command that removed some; None if no command recorded it."""
        return next((int(entry.result["nodes"]) for entry in reversed(self.history) if "nodes" in entry.result), None)

    def to_json(self) -> str:
        """One line of JSON with sorted keys, the same for equal headers."""
        values = {**asdict(replace(self, history=())), "history": [entry.to_json() for entry in self.history]}
        new = {key: values.pop(key) for key in ("names", "resize")}
        use = {key: value for key, value in new.items() if value}
        if values.pop("normalisation_known"):
            schema = 2 if use else 1
        else:
            schema, use["normalisation_known"] = 3, False
        return json.dumps({"schema": schema, **values, **use}, sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_json(text: str, path: Path) -> "Header":
        """Read what `to_json` wrote.

        Raises:
            CheckpointError: unknown schema, or fields that are missing, unknown, or of the wrong type.
        """
        try:
            if len(text) > MOST_TEXT:
                raise ValueError(f"expected at most {MOST_TEXT:,} characters, found {len(text):,}")
            values: dict[str, Any] = parsed(text)
            schema = values.pop("schema")
            if schema not in _READ:
                raise CheckpointError(
                    f"{path} has header schema {schema}, this prunectl reads up to {SCHEMA}; update prunectl"
                )
            model, dense, history = values.pop("model"), values.pop("dense"), values.pop("history", [])
            spec = ModelSpec(**{**model, "input": tuple(model["input"])})
            resize = values.pop("resize", None)
            rest: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
            head = Header(model=spec, dense=DenseCounts(**dense), history=_history(history), **rest)
            head = head if resize is None else replace(head, resize=Resize(**resize))
            check_fields(head)
            return head
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path} has a damaged prunectl header ({error}); use an intact copy") from error


@dataclass(frozen=True)
class TensorFile:
    """The table of contents of a safetensors file: per tensor dtype, shape and byte range in the file."""

    path: Path
    tensors: dict[str, tuple[str, tuple[int, ...], int, int]]
    metadata: dict[str, str]
    size: int

    def bytes_of(self, name: str) -> bytes:
        """The raw bytes of one tensor."""
        _, _, begin, end = self.tensors[name]
        with self.path.open("rb") as file:
            file.seek(begin)
            return file.read(end - begin)


def read_toc(path: Path) -> TensorFile:
    """Read and check the table of contents of a safetensors file.

    Raises:
        FileError: no such file, or it cannot be read.
        CheckpointError: empty, truncated, or not safetensors.
    """
    try:
        if path.is_dir():
            raise FileError(f"{path} is a folder; use a checkpoint file (*.safetensors)")
        with readable(path) as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(8)
            if not start:
                raise CheckpointError(f"{path} is empty: the program that wrote it failed; use an intact copy")
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
            if length > min(size - 8, MOST_HEADER):
                check_not_torch(path)
                if path.suffix == ".onnx":
                    raise CheckpointError(f"{path} is an ONNX file; only eval and predict take these")
                raise CheckpointError(f"{path} is not a safetensors file, or its header is truncated")
            text = file.read(length)
    except OSError as error:
        hint = "; check the path" if isinstance(error, FileNotFoundError) else ""
        raise FileError(f"cannot read {path}: {(error.strerror or str(error)).lower()}{hint}") from error
    try:
        entries = parsed(text)
        metadata = entries.pop("__metadata__", {})
        if not all(isinstance(text, str) for text in metadata.values()):
            raise TypeError("metadata must be texts")
        tensors = {name: _entry(entry, 8 + length) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is not a safetensors file: its header cannot be read") from error
    expected = max((end for *_, end in tensors.values()), default=8 + length)
    if expected != size:
        raise CheckpointError(
            f"{path} is damaged: its header describes {expected} bytes, the file has {size}; copy it again"
        )
    return TensorFile(path, tensors, metadata, size)


def read_header(path: Path) -> tuple[Header, TensorFile]:
    """Read the header of a checkpoint, a file or an exported folder, without its tensors.

    Raises:
        FileError, CheckpointError: as `read_toc`, or the file has no prunectl header.
    """
    path = checkpoint_file(path)
    return steadily(path, lambda: _read_header(path))


def _read_header(path: Path) -> tuple[Header, TensorFile]:
    """Read a header once."""
    toc = read_toc(path)
    text = toc.metadata.get(KEY) or _header_beside(path)
    if text is None:
        raise CheckpointError(f"{path} has no '{KEY}' header: another program wrote it; import it: {import_of(path)}")
    if text.startswith('{"training":'):
        raise CheckpointError(f"{path} is an interrupted training; continue with `prunectl train --resume {path}`")
    if '"model"' not in text and '"shapes"' in text:
        raise CheckpointError(f"{path} is a mask file; use the NAME.safetensors beside it")
    return Header.from_json(text, path), toc


def _header_beside(path: Path) -> str | None:
    """The header in a folder's `config.json`: other programs that rewrite the weights drop the one in their file."""
    if path.name != FOLDER_FILE:
        return None
    try:
        return json.dumps(parsed((path.parent / FOLDER_CONFIG).read_text(encoding="utf-8"))[KEY])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def read_mask_header(path: Path, pair: str) -> tuple[TensorFile, dict[str, tuple[int, ...]]]:
    """Find the mask file of checkpoint `path` by its pair id, also under its pending name after a kill.

    Returns its table of contents, and the shape of every mask by name.

    Raises:
        CheckpointError: it is missing, damaged, or belongs to other weights.
    """
    final = mask_path(path)
    found = [candidate for candidate in (final, pending_sidecar(final, pair)) if candidate.exists()]
    if not found:
        raise CheckpointError(f"{path} is masked, but its mask file {final} is missing; copy both files together")
    for candidate in found:
        toc = read_toc(candidate)
        try:
            head = parsed(toc.metadata[KEY])
            if head["pair"] == pair:
                return toc, {name: tuple(size) for name, size in head["shapes"].items()}
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{candidate} is not a readable mask file ({error}); use an intact copy") from error
    raise CheckpointError(f"{final} belongs to other weights than {path}; copy both files from the same place")


def settle(path: Path) -> None:
    """Finish a write of checkpoint `path` that a kill interrupted: rename its mask file, remove leftovers."""
    remove_leftovers(path.absolute().parent, path.name)
    with contextlib.suppress(FileError, OSError):
        pair, final = read_header(path)[0].pair, mask_path(path)
        waits = None if pair is None else pending_sidecar(final, pair)
        if waits is not None and waits.is_file():
            with folder_locked(path.absolute().parent) as alone:
                if alone:  # no other process is doing it
                    waits.replace(final)


def _entry(entry: dict[str, Any], start: int) -> tuple[str, tuple[int, ...], int, int]:
    dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    if not isinstance(dtype, str) or not all(is_count(n) for n in (*shape, begin, end)) or begin > end:
        raise TypeError(f"no tensor: {entry}")
    if dtype in _BITS and math.prod(shape) * _BITS[dtype] != 8 * (end - begin):
        raise TypeError(f"no tensor: {entry}")
    return dtype, shape, start + begin, start + end


def _history(entries: Any) -> tuple[HistoryEntry, ...]:
    if not isinstance(entries, list):
        raise ValueError("history: expected a list")
    if len(entries) > MOST_STEPS:
        raise ValueError(f"history: expected at most {MOST_STEPS:,} entries, found {len(entries):,}")
    found = []
    for i, entry in enumerate(entries, 1):
        try:
            found.append(HistoryEntry.from_json(entry))
        except ValueError as error:
            raise ValueError(f"history, entry {i}: {error}") from error
    return tuple(found)
