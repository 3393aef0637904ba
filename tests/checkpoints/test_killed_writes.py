"""A process that dies, or a disk that fills up, at any moment of a write leaves whole files."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from prunectl.checkpoints.files import pending_sidecar
from tests.helpers.refusals import names

DRIVER = """
import json, os, resource, signal, sys
from pathlib import Path
from prunectl.checkpoints import files
from prunectl.errors import FileError

root, death, before, job = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])
os.fsync = lambda descriptor: None  # what the kernel holds outlives a process: the disk need not be waited for


def arrange(k):
    "Let the process die before its k-th call that may reach the system, or no file grow above k bytes."
    if death == "kill":
        left = k

        def count(frame, event, argument):
            nonlocal left
            owner = getattr(argument, "__module__", None) or type(getattr(argument, "__self__", None)).__module__
            left -= event == "c_call" and owner in ("posix", "_io", "fcntl")
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
