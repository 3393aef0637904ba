"""What dead processes have left goes at the next write there; what living ones are writing stays."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from prunectl.checkpoints import checkpoint
from prunectl.checkpoints.files import check_target, pending_sidecar, write, write_pair
from prunectl.checkpoints.header import read_header
from prunectl.cli.options import target
from prunectl.torchtools import temporaries
from prunectl.torchtools.temporaries import remove_leftovers, temporary, temporary_folder
from tests.helpers.checkpoint_parts import random_masks
from tests.helpers.random_checkpoints import dense_checkpoint
from tests.helpers.refusals import names, refusal


@pytest.fixture(scope="module")
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def left(folder: Path, name: str, pid: int, host: str | None = None) -> Path:
    """A temporary file of `name` that process `pid` wrote, here or on another machine."""
    ours = temporary(folder / name).name.rpartition("-")[2]
    path = folder / f".{name}.{pid}-{(host or ours[:8]) + ours[8:]}"
    path.write_bytes(b"half")
    return path


def test_leftovers_of_dead_processes_go_at_the_next_write(tmp_path, dead):
    left(tmp_path, "x", dead)
    left(tmp_path, "another", dead)
    (tmp_path / f".folder.{dead}-{left(tmp_path, 'folder', dead).name[-16:]}x").mkdir()
    write(tmp_path / "x", b"new")
    assert names(tmp_path) == [names(tmp_path)[0], "x"]  # the folder's name is not one of ours
    assert names(tmp_path)[0].endswith("x")


def test_leftovers_go_too_where_the_file_is_in_place_and_refused(tmp_path, dead):
    (tmp_path / "x").write_bytes(b"whole")
    os.link(tmp_path / "x", tmp_path / f"{left(tmp_path, 'x', dead).name[:-8]}00000000")
    assert "x exists" in refusal(lambda: check_target(tmp_path / "x", force=False))
    assert names(tmp_path) == ["x"]
    assert (tmp_path / "x").read_bytes() == b"whole"


@pytest.mark.parametrize("earlier", [False, True])
def test_a_mask_file_that_waits_takes_its_name_where_its_checkpoint_is_refused(tmp_path, dead, earlier):
    path, masks = tmp_path / "x.safetensors", tmp_path / "x.mask.safetensors"
    dense = dense_checkpoint("mlp5", (1, 8, 8), hidden="8")
    checkpoint.write(replace(dense, masks=random_masks(dense.model)), path)
    pair = read_header(path)[0].pair
    whole = masks.read_bytes()
    masks.replace(pending_sidecar(masks, pair))
    if earlier:
        masks.write_bytes(b"masks of an earlier checkpoint")
    left(tmp_path, "x.safetensors", dead)
    assert "x.safetensors exists" in refusal(lambda: target(path, path, "prune", force=False))
    assert names(tmp_path) == ["x.mask.safetensors", "x.safetensors"]
    assert masks.read_bytes() == whole


def test_a_folder_is_a_leftover_too(tmp_path, dead):
    place = left(tmp_path, "hub", dead)
    place.unlink()
    place.mkdir()
    (place / "model.safetensors").write_bytes(b"half")
    write(tmp_path / "x", b"new")
    assert names(tmp_path) == ["x"]


def test_names_of_earlier_versions_go_with_their_own_file(tmp_path, dead):
    for name in ("x", "another"):
        (tmp_path / f".{name}.{dead}-0123abcd").write_bytes(b"half")
    write(tmp_path / "x", b"new")
    assert names(tmp_path) == [f".another.{dead}-0123abcd", "x"]


def test_what_a_living_process_writes_stays(tmp_path):
    ours, parents = left(tmp_path, "x", os.getpid()), left(tmp_path, "x", os.getppid())
    someone = left(tmp_path, "x", 1)
    write(tmp_path / "x", b"new")
    assert names(tmp_path) == sorted([ours.name, parents.name, someone.name, "x"])


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux says when a process began")
def test_a_process_with_the_same_number_that_began_later_is_another_one(tmp_path):
    path = left(tmp_path, "x", os.getpid())
    began = temporaries._began(os.getpid())
    assert time.time() - 3600 * 24 < began <= time.time() + 1
    os.utime(path, (began - 10, began - 10))
    write(tmp_path / "x", b"new")
    assert names(tmp_path) == ["x"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux says that a process is a zombie")
def test_a_killed_process_that_nobody_has_fetched_is_dead(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    process.stdout.read()
    while temporaries._began(process.pid) != float("inf"):
        time.sleep(0.01)
    left(tmp_path, "x", process.pid)
    write(tmp_path / "x", b"new")
    process.wait()
    process.stdout.close()
    assert names(tmp_path) == ["x"]


def test_files_of_another_machine_stay_for_a_day(tmp_path, dead):
    fresh, old = left(tmp_path, "x", dead, "0000ffff"), left(tmp_path, "x", dead, "0000ffff")
    os.utime(old, (time.time() - 90_000,) * 2)
    write(tmp_path / "x", b"new")
    assert names(tmp_path) == [fresh.name, "x"]


def test_files_of_others_stay(tmp_path, dead):
    kept = [".x", f".x.{dead}", f".x.{dead}-xyz", f"x.{dead}-0123abcd", f".x.{dead}-0123abc", ".x.swp"]
    for name in kept:
        (tmp_path / name).touch()
    write(tmp_path / "x", b"new")
    assert names(tmp_path) == sorted([*kept, "x"])


def test_a_link_with_such_a_name_goes_and_not_what_it_leads_to(tmp_path, dead):
    (tmp_path / "out").mkdir()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    place = left(tmp_path / "out", "x", dead)
    place.unlink()
    place.symlink_to(tmp_path / "precious")
    write(tmp_path / "out" / "x", b"new")
    assert names(tmp_path / "out") == ["x"]
    assert names(tmp_path / "precious") == ["file"]


def test_a_missing_folder_has_no_leftovers(tmp_path):
    remove_leftovers(tmp_path / "no", "x")
    assert names(tmp_path) == []


def test_a_temporary_folder_goes_and_those_of_dead_processes_before_it(tmp_path, dead):
    place = left(tmp_path, "rerun", dead)
    place.unlink()
    place.mkdir()
    with temporary_folder(tmp_path, "rerun") as folder:
        (folder / "x").touch()
        assert names(tmp_path) == [folder.name]
    assert names(tmp_path) == []


def test_sidecars_that_wait_since_a_kill_go_with_the_next_pair(tmp_path):
    path, sidecar = tmp_path / "x", tmp_path / "x.mask"
    others = ["x.mask.0123456789abcdef0", "x.mask.txt", "y.mask.0123456789abcdef"]
    for name in ("x.mask.0123456789abcdef", *others):
        (tmp_path / name).touch()
    write_pair(path, b"file", sidecar, b"mask", "f" * 16)
    assert names(tmp_path) == sorted(["x", "x.mask", *others])
