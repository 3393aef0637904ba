"""A disk that is full."""

from pathlib import Path

import pytest

from prunectl.checkpoints import files, journal


class Disk:
    """What is full: files whose name ends so, here or everywhere, as long as `writes` of them have not failed."""

    def __init__(self) -> None:
        self.suffixes: tuple[str, ...] = ()
        self.everywhere = False
        self.writes = 10**9

    def check(self, path: Path, root: Path) -> None:
        here = self.everywhere or path.absolute().is_relative_to(root)
        if here and self.suffixes and path.name.endswith(self.suffixes) and self.writes:
            self.writes -= 1
            raise OSError(28, "No space left on device")


@pytest.fixture
def disk(tmp_path, monkeypatch, tmp_path_factory) -> Disk:
    """The disk under the test's folder, which is not that of $TMPDIR."""
    found, beside, append = Disk(), files._write_beside, journal.append

    def write_beside(path, data):
        found.check(path, tmp_path)
        return beside(path, data)

    def appending(descriptor, data):
        found.check(Path(f"/proc/self/fd/{descriptor}").readlink(), tmp_path)
        append(descriptor, data)

    monkeypatch.setattr(files, "_write_beside", write_beside)
    monkeypatch.setattr(files, "append", appending)
    monkeypatch.setattr(journal, "append", appending)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("tmp")))
    return found
