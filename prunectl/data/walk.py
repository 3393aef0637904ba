"""Finds the image files below a folder, other files there, and links that lead back up."""

import heapq
import os
import warnings
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from PIL import Image, features

_AVIF = (".avif", ".avifs") if "avif" in features.modules and features.check("avif") else ()
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".tga", ".ico", ".qoi", *_AVIF),
)
"""Suffixes that count as images without a look at the content; decoding refuses files that are none."""
_BY_CONTENT = (
    *("JPEG", "PNG", "BMP", "DIB", "WEBP", "TIFF", "GIF", "PPM", "JPEG2000", "ICO", "QOI", "AVIF"),
    *("ICNS", "PCX", "PSD", "SGI", "SUN", "DDS"),
)
"""Formats that Pillow decodes by itself and recognises by a magic number, under any file name."""
_FAILURES = (OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, Image.DecompressionBombError)
_Identity = tuple[int, int]


@dataclass(frozen=True)
class Found:
    """Paths below a folder, each list sorted: images, other files, and links that are not followed.

    `loops` lead to a folder above themselves, `again` to one that is already read under another name.
    """

    images: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    loops: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)


def find_images(folder: Path, above: frozenset[_Identity]) -> Found:
    """Search below `folder`, also through links; `above` are the folders that no link may lead back to.

    Each folder is read once, those without a link first: n folders that link to each other twice have 2^n names. Hidden
    files are left out, and so are FIFOs, sockets, devices and the kernel's file systems, which could block a read. A
    broken link is listed, because reading it reports the error.
    """
    found = Found()
    here = identity(folder)
    seen: set[_Identity] = set()
    strange = _of_the_kernel()
    waiting = [(False, str(folder), here, above | {here})]
    while waiting:
        linked, place, itself, passed = heapq.heappop(waiting)
        if itself in seen:
            found.again.append(place)
            continue
        seen.add(itself)
        try:
            with os.scandir(place) as entries:
                items = list(entries)
        except OSError:
            found.skipped.append(place)
            continue
        for item in items:
            if _is_folder(item):
                here = identity(item)
                if here in passed:
                    found.loops.append(item.path)
                elif here[0] in strange:
                    found.skipped.append(item.path)
                else:
                    heapq.heappush(waiting, (linked or item.is_symlink(), item.path, here, passed | {here}))
            elif item.name[0] != ".":
                (found.images if _is_image(item) else found.skipped).append(item.path)
    return Found(sorted(found.images), sorted(found.skipped), sorted(found.loops), sorted(found.again))


def _of_the_kernel() -> set[int]:
    """The devices of the kernel's file systems, where reading some files blocks forever."""
    found = {os.stat(place).st_dev for place in ("/proc", "/sys") if os.path.isdir(place)}  # noqa: PTH112, PTH116
    return found - {os.stat("/").st_dev}  # noqa: PTH116


def identity(place: Path | os.DirEntry[str]) -> _Identity:
    """Device and inode of the target of a path."""
    status = os.stat(place)  # noqa: PTH116  (a DirEntry's own inode is that of the link)
    return status.st_dev, status.st_ino


def folders_above(folder: Path) -> frozenset[_Identity]:
    """The folder and all above it, by its path as written and with links resolved."""
    return frozenset(
        identity(place) for path in (folder.absolute(), folder.resolve()) for place in (path, *path.parents)
    )


def _is_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir()
    except OSError:  # a link to itself
        return False


def _is_image(item: os.DirEntry[str]) -> bool:
    known = item.name.lower().endswith(SUFFIXES)
    if not os.path.exists(item.path):  # noqa: PTH110  (a million times)
        return known
    return item.is_file() and (known or (item.stat().st_size > 0 and _opens(item.path)))


def _opens(path: str) -> bool:
    """Whether a file begins like an image."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_formats()):
                return True
    except _FAILURES:
        return False


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _BY_CONTENT if name in Image.OPEN)
