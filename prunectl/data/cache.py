"""Caches decoded images in the user's cache folder, so that a tree of files is decoded once."""

import contextlib
import hashlib
import json
import math
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from prunectl.data.decode import Decoder
from prunectl.data.source import Progress, cache_folder
from prunectl.data.workers import decoded_batches
from prunectl.errors import DataError
from prunectl.torchtools.temporaries import remove_leftovers, temporary

_VERSION = 2  # of the decoder: increase it if the pixels that it makes of a file change
_CHUNK, _CHUNK_BYTES = 128, 2**25
"""Images, and bytes of pixels, that a worker returns at a time."""
_UNNAMED = re.compile(r"\.[a-z0-9_]{8}")
"""Names of earlier versions for a cache that is being written."""
_FORGOTTEN_S = 24 * 3600.0


def decoded(root: Path, paths: Sequence[str], decoder: Decoder, progress: Progress | None) -> Tensor:
    """The pixels (N, C, H, W) of the image files `paths` below `root`, read from the cache if no file changed.

    They are mapped from the cache file, so the system may drop pages and read them again.

    Raises:
        DataError: an image cannot be read, or the cache folder cannot be written.
    """
    place = hashlib.sha256(f"{root.resolve()}\0{decoder}".encode()).hexdigest()[:16]
    target = cache_folder() / "images" / f"{root.resolve().name}-{place}.safetensors"
    fingerprint = _fingerprint(root, paths, decoder)
    pixels = _read(target, fingerprint)
    if pixels is None:
        _write(target, fingerprint, (len(paths), *decoder.shape), _chunks(paths, decoder, progress))
        pixels = _read(target, fingerprint)
    if pixels is None:
        raise DataError(f"{target}: expected the cache just written, found another file; run the command again")
    return pixels


def _fingerprint(root: Path, paths: Sequence[str], decoder: Decoder) -> str:
    """A hash that changes with the decoder, and with the name below the root, size or time of any file.

    Names are relative to the root, so that its absolute and relative paths share a cache.
    """
    above = f"{root}{os.sep}"
    digest = hashlib.sha256(f"{_VERSION} {decoder}".encode())
    for path in paths:
        try:
            status = os.stat(path)  # noqa: PTH116  (a million times: Path costs twice as much)
        except OSError as error:
            raise DataError(f"{path}: expected an image, found: {error.strerror}; replace it") from error
        digest.update(os.fsencode(f"\0{path.removeprefix(above)}\0{status.st_size} {status.st_mtime_ns}"))
    return digest.hexdigest()


def _chunks(paths: Sequence[str], decoder: Decoder, progress: Progress | None) -> Iterator[NDArray[np.uint8]]:
    """Decode some images at a time, and report progress."""
    step = max(1, min(_CHUNK, _CHUNK_BYTES // math.prod(decoder.shape)))
    chunks = [range(first, min(first + step, len(paths))) for first in range(0, len(paths), step)]
    for chunk, pixels in zip(chunks, decoded_batches(paths, decoder, chunks), strict=True):
        yield pixels  # (n, C, H, W)
        if progress is not None:
            progress(chunk.stop, len(paths))


def _read(target: Path, fingerprint: str) -> Tensor | None:
    """The cached pixels; None if they are missing, damaged or of other files."""
    try:
        with safe_open(target, "pt") as file:
            if (file.metadata() or {}).get("fingerprint") != fingerprint:
                return None
            pixels: Tensor = file.get_tensor("pixels")
            return pixels
    except (OSError, SafetensorError):
        return None


def _write(target: Path, fingerprint: str, shape: tuple[int, ...], chunks: Iterator[NDArray[np.uint8]]) -> None:
    """Write a safetensors file chunk by chunk, since twice the pixels may not fit in memory."""
    size = int(torch.Size(shape).numel())
    tensor = {"dtype": "U8", "shape": shape, "data_offsets": (0, size)}
    header = json.dumps({"__metadata__": {"fingerprint": fingerprint}, "pixels": tensor}).encode()
    header += b" " * (-len(header) % 8)
    beside = temporary(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target)
        with beside.open("xb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            for chunk in chunks:
                file.write(chunk.tobytes())
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    except OSError as error:
        raise DataError(
            f"{target}: expected room to cache {size:,} bytes of decoded images, found: {error.strerror}; "
            "set XDG_CACHE_HOME to a folder with more room"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def _remove_leftovers(target: Path) -> None:
    """Remove the leftovers of killed decodes, which are as large as their images."""
    remove_leftovers(target.parent, target.name)
    for place in target.parent.iterdir():
        if _UNNAMED.fullmatch(place.name):
            with contextlib.suppress(OSError):
                if time.time() - place.lstat().st_mtime > _FORGOTTEN_S:
                    place.unlink()
