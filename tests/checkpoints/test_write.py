"""Where a file may go, and that it is whole or not there."""

import os
from pathlib import Path

import pytest

from prunectl.checkpoints.files import append_record, check_target, sha256, write, write_pair
from prunectl.errors import FileError
from tests.helpers.refusals import names, refusal


def test_a_new_target(tmp_path, monkeypatch):
    check_target(tmp_path / "x", force=False)
    monkeypatch.chdir(tmp_path)
    check_target(Path("x"), force=False)
    assert names(tmp_path) == []


def test_an_existing_target(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")
    expected = f"{path} exists; choose another output with -o, or replace it with `force`"
    assert refusal(lambda: check_target(path, force=False)) == expected
    check_target(path, force=True)
    assert path.read_text() == "old"


def make_link(path: Path) -> None:
    path.with_name("real").write_text("old")
    path.symlink_to("real")


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        Path.mkdir,
        os.mkfifo,
        make_link,
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.symlink_to("/dev/null"),
    ],
    ids=["folder", "fifo", "link", "broken link", "link to a device"],
)
def test_a_target_that_is_no_regular_file(tmp_path, make, force):
    path = tmp_path / "x"
    make(path)
    expected = f"cannot write {path}: it is not a regular file; choose another output with -o"
    assert refusal(lambda: check_target(path, force=force)) == expected


@pytest.mark.parametrize("force", [False, True])
def test_a_device_is_no_target(force):
    null = Path(os.devnull)
    assert "not a regular file" in refusal(lambda: check_target(null, force=force))
    assert null.is_char_device()


def test_a_target_without_a_folder(tmp_path):
    path = tmp_path / "no" / "x"
    expected = f"cannot write {path}: no folder {tmp_path / 'no'}; create it first"
    assert refusal(lambda: check_target(path, force=False)) == expected


def test_a_target_below_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "x"
    expected = f"cannot write {path}: Not a directory; choose another output with -o"
    assert refusal(lambda: check_target(path, force=True)) == expected


@pytest.mark.parametrize("right", [os.W_OK, os.X_OK])
def test_a_target_in_a_folder_that_is_not_writable(tmp_path, monkeypatch, right):
    # root may write everywhere: tests that run as root need the answer that others get
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path or not mode & right)
    path = tmp_path / "x"
    expected = f"cannot write {path}: folder {tmp_path} is not writable; choose another output with -o"
    assert refusal(lambda: check_target(path, force=False)) == expected


# --- one file


def test_write_replaces(tmp_path):
    path = tmp_path / "x"
    for data in (b"", b"old", b"new" * 100_000):
        write(path, data)
        assert path.read_bytes() == data
        assert names(tmp_path) == ["x"]


def test_write_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(Path("x"), b"new")
    assert (tmp_path / "x").read_bytes() == b"new"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
@pytest.mark.parametrize("earlier", [False, True])
def test_the_umask_gives_the_permissions(tmp_path, umask, mode, earlier):
    path, sidecar = tmp_path / "x", tmp_path / "x.mask"
    if earlier:
        path.touch(0o400)
    before = os.umask(umask)
    try:
        write_pair(path, b"file", sidecar, b"mask", "aa")
    finally:
        os.umask(before)
    assert [oct(file.stat().st_mode & 0o777) for file in (path, sidecar)] == [oct(mode)] * 2


def test_data_are_synced_before_they_take_their_name_and_the_name_after(tmp_path, monkeypatch):
    done = []
    sync, rename = os.fsync, os.replace

    def recorded_sync(descriptor):
        place = Path(f"/dev/fd/{descriptor}").resolve()
        done.append(("sync", "folder" if place == tmp_path.resolve() else place.read_bytes()))
        sync(descriptor)

    def recorded_rename(source, target):
        done.append(("rename", Path(target).name))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", recorded_sync)
    monkeypatch.setattr(os, "replace", recorded_rename)
    write(tmp_path / "x", b"new")
    assert done == [("sync", b"new"), ("rename", "x"), ("sync", "folder")]


def test_a_missing_folder_is_one_line(tmp_path):
    path = tmp_path / "no" / "x"
    expected = f"cannot write {path}: No such file or directory; nothing was changed"
    assert refusal(lambda: write(path, b"new")) == expected


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=repr)
def test_what_fails_leaves_the_earlier_file_alone(tmp_path, monkeypatch, call, failure):
    def fail(*_):
        raise failure

    path = tmp_path / "x"
    path.write_text("old")
    monkeypatch.setattr(os, call, fail)
    with pytest.raises((FileError, KeyboardInterrupt)) as error:
        write(path, b"new")
    if isinstance(failure, OSError):
        assert str(error.value) == f"cannot write {path}: No space left on device; nothing was changed"
    assert path.read_text() == "old"
    assert names(tmp_path) == ["x"]


def test_append_record(tmp_path):
    path = tmp_path / "log"
    assert append_record(path, {"a": 1}) == '{"a": 1}'
    append_record(path, {"loss": float("nan"), "all": (float("inf"), {"x": 0.5})})
    assert path.read_text() == '{"a": 1}\n{"loss": null, "all": [null, {"x": 0.5}]}\n'
    assert refusal(lambda: append_record(tmp_path, {})) == f"cannot write {tmp_path}: Is a directory"


def test_a_record_after_a_line_that_was_cut_off_stands_alone(tmp_path):
    path = tmp_path / "log"
    path.write_text('{"a": 1}\n{"b":')
    append_record(path, {"c": 3})
    assert path.read_text() == '{"a": 1}\n{"b":\n{"c": 3}\n'


def test_sha256(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
