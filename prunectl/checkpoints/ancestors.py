"""Finds the ancestors of checkpoints by hash in the same folder."""

from collections.abc import Sequence
from pathlib import Path

from prunectl.checkpoints.files import sha256
from prunectl.checkpoints.header import read_header
from prunectl.checkpoints.history import HistoryEntry
from prunectl.checkpoints.names import SUFFIXES
from prunectl.errors import FileError

History = Sequence[HistoryEntry]


class Ancestors:
    """Finds ancestors. Reads the headers of a folder once, and hashes only files whose history matches."""

    def __init__(self) -> None:
        self.folders: dict[Path, list[tuple[Path, list[HistoryEntry]]]] = {}
        self.hashes: dict[Path, str] = {}

    def of(self, path: Path, history: History) -> tuple[list[Path], list[int]]:
        """The ancestors found, oldest first, and the indices of history entries whose parent was not found."""
        found, missing = [], []
        for i, entry in enumerate(history):
            if entry.parent is None:
                continue
            match = self.parent(path.parent, history, i)
            if match is None:
                missing.append(i)
            else:
                found.append(match)
        return found, missing

    def parent(self, folder: Path, history: History, i: int) -> Path | None:
        """The checkpoint in a folder that the command of entry `i` read."""
        fits = (file for file, before in self._folder(folder) if before == list(history[:i]))
        return next((file for file in fits if self._hash(file) == history[i].parent), None)

    def _folder(self, folder: Path) -> list[tuple[Path, list[HistoryEntry]]]:
        """The checkpoints of a folder with their histories."""
        if folder not in self.folders:
            files = [file for file in sorted(folder.iterdir()) if file.name.endswith(SUFFIXES) and file.is_file()]
            self.folders[folder] = [(file, history) for file in files if (history := _history(file)) is not None]
        return self.folders[folder]

    def _hash(self, file: Path) -> str:
        if file not in self.hashes:
            self.hashes[file] = sha256(file)
        return self.hashes[file]


def _history(file: Path) -> list[HistoryEntry] | None:
    """The history in a file; None if it is not a checkpoint."""
    try:
        return list(read_header(file)[0].history)
    except FileError:
        return None
