"""The ancestors of checkpoints, found by hash in the same folder."""

from pathlib import Path

from prunectl.checkpoints.files import sha256
from prunectl.checkpoints.header import read_header
from prunectl.checkpoints.names import SUFFIXES
from prunectl.errors import FileError
from prunectl.reporting.history import History


class Ancestors:
    """Finds ancestors. Reads the headers of a folder once, and hashes only files whose history matches."""

    def __init__(self) -> None:
        self.folders: dict[Path, list[tuple[Path, History]]] = {}
        self.hashes: dict[Path, str] = {}

    def of(self, path: Path, history: History) -> tuple[list[Path], list[int]]:
        """The ancestors found, oldest first, and the indices of history entries whose parent was not found."""
        found, missing = [], []
        for i, entry in enumerate(history):
            if entry.parent is None:
                continue
            fits = (file for file, before in self._folder(path.parent) if before == history[:i])
            match = next((file for file in fits if self._hash(file) == entry.parent), None)
            if match is None:
                missing.append(i)
            else:
                found.append(match)
        return found, missing

    def _folder(self, folder: Path) -> list[tuple[Path, History]]:
        """The checkpoints of a folder with their histories."""
        if folder not in self.folders:
            files = [file for file in sorted(folder.iterdir()) if file.name.endswith(SUFFIXES) and file.is_file()]
            self.folders[folder] = [(file, history) for file in files if (history := _history(file)) is not None]
        return self.folders[folder]

    def _hash(self, file: Path) -> str:
        if file not in self.hashes:
            self.hashes[file] = sha256(file)
        return self.hashes[file]


def _history(file: Path) -> History | None:
    """The history in a file; None where it is no checkpoint."""
    try:
        return list(read_header(file)[0].history)
    except FileError:
        return None
