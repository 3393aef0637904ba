"""Downloads datasets completely or not at all."""

import contextlib
import sys
import tarfile
import zipfile
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

from prunectl.data.source import missing
from prunectl.errors import DataError
from prunectl.torchtools.temporaries import temporary_folder

_FAILURES = (OSError, RuntimeError, EOFError, HTTPException, zipfile.BadZipFile, tarfile.TarError)


def fetch(name: str, root: Path, bring: Callable[[Path], object]) -> None:
    """Let `bring` download into a temporary folder inside `root`; move the files to `root` once it is complete.

    Raises:
        DataError: the download failed; `root` is unchanged.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with temporary_folder(root, "download") as folder:
            # torchvision prints while it downloads, and stdout belongs to the path of the result
            with contextlib.redirect_stdout(sys.stderr):
                bring(folder)
            for item in folder.iterdir():
                _move(item, root / item.name)
    except _FAILURES as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"could not download {name} to {root}: {reason}; check the network, or copy the dataset there"
        ) from error


def opened(
    name: str, root: Path, looked_for: str, open_at: Callable[[Path, bool], tuple[Any, Any]], download: bool
) -> tuple[Any, Any]:
    """Open (training set, test set) below `root` with `open_at(folder, download)`, for a dataset of torchvision.

    Raises:
        DataError: it is missing or incomplete, and may not or cannot be downloaded.
    """
    try:
        return open_at(root, False)
    except (RuntimeError, OSError) as error:  # torchvision raises the same for missing and damaged files
        if not download and (root / looked_for).exists():
            raise DataError(
                f"{root / looked_for}: expected the files of {name}, found others or damaged ones; "
                "download them again with `download`"
            ) from error
        if not download:
            raise missing(name, root, looked_for) from error
    fetch(name, root, lambda folder: open_at(folder, True))
    return open_at(root, False)


def _move(source: Path, target: Path) -> None:
    """Move new files and folders by one rename each, and merge a folder into an existing one."""
    if source.is_dir() and target.is_dir():
        for item in source.iterdir():
            _move(item, target / item.name)
    else:
        source.replace(target)
