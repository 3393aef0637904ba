"""Files that are whole or not there, whatever happens while they are written."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from prunectl.errors import FileError
from prunectl.files import append_record, check_target, pending_sidecar, sha256, write, write_pair


def refusal(call: Callable[[], object]) -> str:
    """The one line that a refused call gives."""
    with pytest.raises(FileError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- the target


def test_a_new_target(tmp_path, monkeypatch):
    check_target(tmp_path / "x", force=False)
    monkeypatch.chdir(tmp_path)
    check_target(Path("x"), force=False)
    assert names(tmp_path) == []


def test_an_existing_target(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")
    expected = f"{path} exists; choose another output with -o, or replace it with --force"
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
    expected = f"cannot write {path}: No such file or directory; nothing was changed there"
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
        assert str(error.value) == f"cannot write {path}: No space left on device; nothing was changed there"
    assert path.read_text() == "old"
    assert names(tmp_path) == ["x"]


# --- a file and its sidecar


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


# --- every way to die

DRIVER = """
import json, os, resource, signal, sys
from pathlib import Path
from prunectl import files
from prunectl.errors import FileError

root, death, before, job = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])
os.fsync = lambda descriptor: None  # what the kernel holds outlives a process: the disk need not be waited for


def arrange(k):
    "Let the process die before its k-th call, of Python or C, or no file grow above k bytes."
    if death == "kill":
        left = k

        def count(frame, event, argument):
            nonlocal left
            left -= event in ("call", "c_call")
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(count)
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (k, k))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL if death == "cut" else signal.SIG_IGN)


def child(k, folder):
    code = 2
    try:
        data, path, sidecar = job["file"].encode(), folder / "x", folder / "x.mask"
        arrange(k)
        if "mask" not in job:
            files.write(path, data)
        elif job["mask"] is None:
            files.write_pair(path, data, sidecar, None, None)
        else:
            files.write_pair(path, data, sidecar, job["mask"].encode(), job["mask"].split()[-1])
        sys.setprofile(None)
        code = 0
    except FileError:
        code = 1
    finally:
        os._exit(code)


ends = []
while 0 not in ends and len(ends) < 2000:
    folder = root / str(len(ends))
    folder.mkdir()
    for name, text in before.items():
        (folder / name).write_text(text)
    pid = os.fork()
    if pid == 0:
        child(len(ends), folder)
    ends.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(json.dumps(ends))
"""
KILLED, CUT, REFUSED, DONE = -9, -25, 1, 0


def die_everywhere(root: Path, death: str, before: dict[str, str], **job: str | None) -> list[tuple[Path, int]]:
    """Begin in a folder with the files `before`, write, and die at step 0, 1, 2 ... until the write survives.

    Each folder comes with how its process ended.
    """
    arguments = [str(root), death, json.dumps(before), json.dumps(job)]
    result = subprocess.run([sys.executable, "-c", DRIVER, *arguments], capture_output=True, text=True, check=True)
    ends = json.loads(result.stdout)
    assert ends[-1] == DONE
    return [(root / str(k), end) for k, end in enumerate(ends)]


def pair_read(folder: Path) -> tuple[str, str | None] | None:
    """What a reader gets: the file, and the sidecar with its pair id, at its name or where it waits."""
    path, sidecar = folder / "x", folder / "x.mask"
    if not path.exists():
        return None
    file = path.read_text()
    if " " not in file:  # dense
        return file, None
    pair = file.split()[-1]
    places = [place for place in (sidecar, pending_sidecar(sidecar, pair)) if place.exists()]
    return file, next(text for text in (place.read_text() for place in places) if text.endswith(f" {pair}"))


TRANSITIONS = {
    "masked to masked": ({"x": "file aa", "x.mask": "mask aa"}, "file bb", "mask bb"),
    "dense to masked": ({"x": "dense"}, "file bb", "mask bb"),
    "masked to dense": ({"x": "file aa", "x.mask": "mask aa"}, "thin", None),
    "nothing to masked": ({}, "file bb", "mask bb"),
    "the same again": ({"x": "file aa", "x.mask": "mask aa"}, "file aa", "mask aa"),
    "killed before": ({"x": "file bb", "x.mask": "mask aa", "x.mask.bb": "mask bb"}, "file cc", "mask cc"),
}


@pytest.mark.parametrize("earlier", [None, "old"])
def test_a_kill_at_any_call_leaves_one_whole_file(tmp_path, earlier):
    runs = die_everywhere(tmp_path, "kill", {} if earlier is None else {"x": earlier}, file="new")
    assert [end for _, end in runs[:-1]] == [KILLED] * (len(runs) - 1)
    found = [(folder / "x").read_text() if (folder / "x").exists() else None for folder, _ in runs]
    assert found == [earlier] * found.index("new") + ["new"] * found.count("new")
    assert found[0] == earlier
    assert any(names(folder) not in ([], ["x"]) for folder, _ in runs)  # some died while the data lay beside
    assert names(runs[-1][0]) == ["x"]


@pytest.mark.parametrize("transition", TRANSITIONS)
def test_a_kill_at_any_call_leaves_a_pair_that_belongs_together(tmp_path, transition):
    before, file, mask = TRANSITIONS[transition]
    runs = die_everywhere(tmp_path, "kill", before, file=file, mask=mask)
    assert [end for _, end in runs[:-1]] == [KILLED] * (len(runs) - 1)
    found = [pair_read(folder) for folder, _ in runs]
    assert found[-1] == (file, mask)
    first = found.index((file, mask))
    assert found == [found[0]] * first + [(file, mask)] * (len(found) - first)
    waited = any(list(folder.glob("x.mask.*")) for folder, _ in runs[first:])
    assert waited == (mask is not None)  # some died between the two renames
    last = runs[-1][0]
    assert (last / "x").read_text() == file
    assert [(last / "x.mask").read_text()] == [mask] if mask else not (last / "x.mask").exists()


NEW = "new" * 9


def test_a_kill_in_the_middle_of_the_data_leaves_the_earlier_file(tmp_path):
    runs = die_everywhere(tmp_path, "cut", {"x": "old"}, file=NEW)
    assert [end for _, end in runs] == [CUT] * len(NEW) + [DONE]
    assert [(folder / "x").read_text() for folder, _ in runs] == ["old"] * len(NEW) + [NEW]


def test_a_disk_that_fills_up_leaves_the_earlier_file_and_nothing_else(tmp_path):
    runs = die_everywhere(tmp_path, "full", {"x": "old"}, file=NEW)
    assert [end for _, end in runs] == [REFUSED] * len(NEW) + [DONE]
    assert [(folder / "x").read_text() for folder, _ in runs] == ["old"] * len(NEW) + [NEW]
    assert [names(folder) for folder, _ in runs] == [["x"]] * len(runs)


def test_a_disk_that_fills_up_leaves_the_earlier_pair_and_nothing_else(tmp_path):
    before, file, mask = {"x": "file aa", "x.mask": "mask aa"}, "longer file bb", "mask bb"
    runs = die_everywhere(tmp_path, "full", before, file=file, mask=mask)
    assert [end for _, end in runs] == [REFUSED] * len(file) + [DONE]
    assert [pair_read(folder) for folder, _ in runs] == [("file aa", "mask aa")] * len(file) + [(file, mask)]
    assert [names(folder) for folder, _ in runs] == [["x", "x.mask"]] * len(runs)


# --- the rest


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
