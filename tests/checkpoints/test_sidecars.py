"""A file and its sidecar belong together, whatever happens while they are written."""

import os
from pathlib import Path

import pytest

from prunectl.checkpoints.files import pending_sidecar, write_pair
from tests.helpers.refusals import names, refusal


def pair_in(folder: Path, file: str, mask: str | None) -> None:
    """Write `file` and a mask that belongs to it."""
    write_pair(folder / "x", file.encode(), folder / "x.mask", mask and mask.encode(), mask and mask.split()[-1])


def test_a_pair_comes_and_goes(tmp_path):
    for file, mask in [("file aa", "mask aa"), ("file bb", "mask bb"), ("file bb", "mask bb")]:
        pair_in(tmp_path, file, mask)
        assert (tmp_path / "x").read_text() == file
        assert (tmp_path / "x.mask").read_text() == mask
        assert names(tmp_path) == ["x", "x.mask"]
    pair_in(tmp_path, "file", None)
    assert (tmp_path / "x").read_text() == "file"
    assert names(tmp_path) == ["x"]
    pair_in(tmp_path, "file", None)
    assert names(tmp_path) == ["x"]


def test_a_waiting_sidecar_lies_beside_its_place(tmp_path):
    assert pending_sidecar(tmp_path / "x.mask", "aa") == tmp_path / "x.mask.aa"


def failing_at(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the disk be full in the sync of the `number`th file."""
    sync, calls = os.fsync, []

    def count(descriptor):
        if not Path(f"/dev/fd/{descriptor}").resolve().is_dir():
            calls.append(descriptor)
        if len(calls) == number:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", count)


@pytest.mark.parametrize("number", [1, 2])
def test_a_full_disk_leaves_the_earlier_pair(tmp_path, monkeypatch, number):
    pair_in(tmp_path, "file aa", "mask aa")
    failing_at(number, monkeypatch)
    assert "No space left on device" in refusal(lambda: pair_in(tmp_path, "file bb", "mask bb"))
    assert (tmp_path / "x").read_text() == "file aa"
    assert (tmp_path / "x.mask").read_text() == "mask aa"
    assert names(tmp_path) == ["x", "x.mask"]


@pytest.mark.parametrize("number", [1, 2])
def test_a_full_disk_leaves_a_sidecar_that_still_waits_since_a_kill(tmp_path, monkeypatch, number):
    (tmp_path / "x").write_text("file aa")
    (tmp_path / "x.mask.aa").write_text("mask aa")
    failing_at(number, monkeypatch)
    assert "No space left on device" in refusal(lambda: pair_in(tmp_path, "file aa", "mask aa"))
    assert (tmp_path / "x.mask.aa").read_text() == "mask aa"


def test_a_sidecar_that_cannot_take_its_place_is_one_line(tmp_path):
    (tmp_path / "x.mask").mkdir()
    message = refusal(lambda: pair_in(tmp_path, "file aa", "mask aa"))
    assert message == f"cannot write {tmp_path / 'x.mask'}: Is a directory"
    assert (tmp_path / "x").read_text() == "file aa"
    assert (tmp_path / "x.mask.aa").read_text() == "mask aa"
