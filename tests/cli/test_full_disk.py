"""A disk that is full, or gone, takes away nothing of a training."""

import io
import json
import os
import shlex
import shutil
import signal
import sys
from pathlib import Path

import pytest

from prunectl.checkpoints.files import sha256
from prunectl.cli import kept, train_run
from prunectl.cli.train_saved import Saved
from prunectl.errors import FileError, NotWritten
from prunectl.training import resume
from tests.helpers.refusals import names
from tests.helpers.running import run_cli

TRAIN = "train --model mlp5 -M hidden=8 --subset 512 -b 64 --epochs 3"
STEPS = 24


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The folder of the training that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    ran = run_cli(folder, *TRAIN.split(), "-o", "a.safetensors")
    assert ran.code == 0, ran.err
    return folder


def steps(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def advice(text: str) -> list[str]:
    """The command line that a message ends in."""
    return shlex.split(text.strip().rpartition("prunectl train")[2])


def test_saves_that_fail_are_warnings(whole, raw, disk, tmp_path, monkeypatch):
    monkeypatch.setattr(train_run, "_SAVE_EVERY", 0.0)
    disk.suffixes = (".resume.safetensors",)
    ran = raw(*TRAIN.split(), "-o", "a.safetensors")
    assert (ran.code, ran.out) == (0, "a.safetensors\n"), ran.err
    warning = "warning: cannot write a.resume.safetensors: No space left on device; nothing was changed; the train"
    assert ran.err.startswith(warning)
    assert sha256(tmp_path / "a.safetensors") == sha256(whole / "a.safetensors")
    assert names(tmp_path) == ["a.log.jsonl", "a.safetensors"]


def test_a_save_that_fails_leaves_the_save_before_it(raw, disk, tmp_path, monkeypatch):
    monkeypatch.setattr(train_run, "_SAVE_EVERY", 0.0)
    written = resume.write

    def then_full(paused, path):
        written(paused, path)
        disk.suffixes = (".safetensors",)
        disk.everywhere = True

    monkeypatch.setattr(resume, "write", then_full)
    ran = raw(*TRAIN.split(), "-o", "a.safetensors")
    assert (ran.code, ran.out) == (4, "")
    told = ran.err.splitlines()[-1]
    assert "cannot write a.safetensors: No space left on device" in told and "has no room for it either" in told
    assert "; an earlier save remains: prunectl train --resume a.resume.safetensors" in told
    monkeypatch.setattr(resume, "write", written)
    disk.suffixes = ()
    ran = raw("train", *advice(told))
    assert (ran.code, ran.out) == (0, "a.safetensors\n")
    assert steps(tmp_path / "a.log.jsonl") == list(range(1, STEPS + 1))


def test_a_log_that_cannot_be_written_for_a_while_is_whole_at_the_end(whole, raw, disk, tmp_path):
    disk.suffixes, disk.writes = (".log.jsonl.part",), STEPS // 2
    ran = raw(*TRAIN.split(), "-o", "a.safetensors")
    assert ran.code == 0
    assert ran.err.count("warning: cannot write a.log.jsonl.part: No space left on device; the training continues") == 1
    assert steps(tmp_path / "a.log.jsonl") == steps(whole / "a.log.jsonl") == list(range(1, STEPS + 1))


def test_a_log_that_can_never_be_written_does_not_keep_the_checkpoint_back(whole, raw, disk, tmp_path):
    disk.suffixes = (".log.jsonl.part",)
    ran = raw(*TRAIN.split(), "-o", "a.safetensors")
    assert (ran.code, ran.out) == (0, "a.safetensors\n")
    assert sha256(tmp_path / "a.safetensors") == sha256(whole / "a.safetensors")


def test_a_result_without_room_is_kept_elsewhere(whole, raw, disk, tmp_path):
    disk.suffixes = ("a.safetensors",)
    ran = raw(*TRAIN.split(), "-o", "a.safetensors")
    assert (ran.code, ran.out) == (4, "")
    told, _, place = ran.err.strip().splitlines()[-1].rpartition("; the result is in ")
    assert told == "prunectl: cannot write a.safetensors: No space left on device; nothing was changed"
    assert Path(place).name == "a.safetensors" and sha256(Path(place)) == sha256(whole / "a.safetensors")
    assert names(tmp_path) == ["a.log.jsonl.part"]


def test_someone_at_the_terminal_makes_room_and_presses_enter(whole, raw, disk, tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "_asks", lambda: True)
    disk.suffixes, disk.writes = ("a.safetensors",), 3
    ran = raw(*TRAIN.split(), "-o", "a.safetensors", stdin="\n\n\n\n")
    assert (ran.code, ran.out) == (0, "a.safetensors\n")
    assert ran.err.count("make room and press Enter to try again, or Ctrl-C") == 3
    assert sha256(tmp_path / "a.safetensors") == sha256(whole / "a.safetensors")
    assert names(tmp_path) == ["a.log.jsonl", "a.safetensors"]
    assert list(Path(kept.tempfile.gettempdir()).iterdir()) == []


@pytest.mark.parametrize("gives_up", ["the input ends", "Ctrl-C"])
def test_someone_at_the_terminal_gives_up(raw, disk, monkeypatch, gives_up):
    monkeypatch.setattr(kept, "_asks", lambda: True)
    disk.suffixes = ("a.safetensors",)
    if gives_up == "Ctrl-C":
        monkeypatch.setattr(kept, "_answer", lambda: os.kill(os.getpid(), signal.SIGINT))
    line = ["prune", "--model", "logistic-regression", "--image-size", 4, "-c", "magnitude", "-s", 0.5]
    ran = raw(*line, "-o", "a.safetensors")
    assert ran.code == 4
    assert Path(ran.err.strip().rpartition(" ")[2]).exists()


@pytest.fixture
def interrupted(monkeypatch):
    """Send Ctrl-C after some steps."""
    whole = train_run._steps

    def some(trainer, log):
        for i, record in enumerate(whole(trainer, log), 1):
            if i == 5:
                os.kill(os.getpid(), signal.SIGINT)
            yield record

    with monkeypatch.context() as patch:
        patch.setattr(train_run, "_steps", some)
        yield patch


@pytest.mark.parametrize("saved_before", [False, True])
def test_ctrl_c_on_a_full_disk_keeps_the_training_elsewhere(
    whole, raw, disk, tmp_path, interrupted, monkeypatch, saved_before
):
    if saved_before:
        interrupted.setattr(train_run, "_SAVE_EVERY", 0.0)
        monkeypatch.setattr(disk, "check", _after(disk.check, 2))
    disk.suffixes = (".resume.safetensors",)
    ran = raw(*TRAIN.split(), "-o", "a.safetensors")
    assert (ran.code, ran.out) == (130, "")
    told = ran.err.splitlines()[-1]
    assert told.startswith(
        "prunectl: interrupted at step 5; cannot write a.resume.safetensors: No space left on device"
    )
    assert (tmp_path / "a.resume.safetensors").exists() == saved_before
    interrupted.undo()
    disk.suffixes = ()
    ran = raw("train", *advice(told))
    assert (ran.code, ran.out) == (0, "a.safetensors\n"), ran.err
    assert sha256(tmp_path / "a.safetensors") == sha256(whole / "a.safetensors")
    assert steps(tmp_path / "a.log.jsonl") == list(range(1, STEPS + 1))


def _after(check, count):
    """Let some writes of resume files through."""
    left = [count]

    def late(path, root):
        if path.name.endswith(".resume.safetensors") and left[0]:
            left[0] -= 1
            return
        check(path, root)

    return late


def test_ctrl_c_where_nothing_has_room_says_so(raw, disk, interrupted):
    disk.suffixes, disk.everywhere = (".resume.safetensors",), True
    ran = raw(*TRAIN.split(), "-o", "a.safetensors")
    assert ran.code == 130
    assert ran.err.splitlines()[-1].endswith("has no room for it either")


@pytest.mark.parametrize("when", ["in the middle", "at the end"])
def test_an_output_folder_that_vanished_is_made_again(whole, raw, tmp_path, monkeypatch, when):
    steps_of = train_run._steps

    def vanishing(trainer, log):
        for i, record in enumerate(steps_of(trainer, log), 1):
            if i == (5 if when == "in the middle" else STEPS):
                shutil.rmtree(tmp_path / "out")
            yield record

    monkeypatch.setattr(train_run, "_steps", vanishing)
    (tmp_path / "out").mkdir()
    ran = raw(*TRAIN.split(), "-o", "out/a.safetensors")
    assert (ran.code, ran.out) == (0, "out/a.safetensors\n"), ran.err
    assert names(tmp_path / "out") == ["a.log.jsonl", "a.safetensors"]
    assert sha256(tmp_path / "out" / "a.safetensors") == sha256(whole / "a.safetensors")
    assert steps(tmp_path / "out" / "a.log.jsonl") == list(range(1, STEPS + 1))


def test_an_output_folder_that_vanished_is_made_again_for_ctrl_c(raw, tmp_path, interrupted):
    interrupted_steps = train_run._steps

    def vanishing(trainer, log):
        for record in interrupted_steps(trainer, log):
            shutil.rmtree(tmp_path / "out", ignore_errors=True)
            yield record

    interrupted.setattr(train_run, "_steps", vanishing)
    (tmp_path / "out").mkdir()
    ran = raw(*TRAIN.split(), "-o", "out/a.safetensors")
    assert ran.code == 130
    assert names(tmp_path / "out") == ["a.log.jsonl.part", "a.resume.safetensors"]


def test_a_log_that_was_moved_away_is_written_anew_and_the_moved_one_left(raw, tmp_path, monkeypatch):
    steps_of = train_run._steps

    def moving(trainer, log):
        for i, record in enumerate(steps_of(trainer, log), 1):
            if i == 5:
                (tmp_path / "out").rename(tmp_path / "moved")
            yield record

    monkeypatch.setattr(train_run, "_steps", moving)
    (tmp_path / "out").mkdir()
    assert raw(*TRAIN.split(), "-o", "out/a.safetensors").code == 0
    assert steps(tmp_path / "out" / "a.log.jsonl") == list(range(1, STEPS + 1))
    assert steps(tmp_path / "moved" / "a.log.jsonl.part") == [1, 2, 3, 4]


def test_a_time_limit_on_a_full_disk(raw, disk, tmp_path):
    disk.suffixes = (".resume.safetensors",)
    ran = raw(*TRAIN.split(), "--max-minutes", 0, "-o", "a.safetensors")
    assert (ran.code, ran.out) == (4, "")
    assert (tmp_path / "a.safetensors").exists()
    disk.suffixes = ()
    place = ran.err.strip().rpartition("; the result is in ")[2]
    assert raw("train", "--resume", place, "-o", "a.safetensors").code == 0


def test_a_tensorboard_that_cannot_be_written_ends_alone(whole, raw, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    written = []

    def full(board, *_):
        written.append(board)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("prunectl.cli.tensorboard.Board._write", full)
    ran = raw(*TRAIN.split(), "-o", "a.safetensors", "--tensorboard")
    assert (ran.code, len(written)) == (0, 1)
    assert "warning: cannot write a.tensorboard: No space left on device; logging to TensorBoard ends here\n" in ran.err
    assert sha256(tmp_path / "a.safetensors") == sha256(whole / "a.safetensors")


def test_a_disk_is_asked_about_at_a_terminal_alone(monkeypatch):
    assert not kept._asks()
    for name in ("stdin", "stderr"):
        monkeypatch.setattr(sys, name, Terminal())
    assert kept._asks()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_saved_training_says_the_way_back(tmp_path):
    saved = Saved.__new__(Saved)
    saved.path, saved.output, saved.force = tmp_path / "a.resume.safetensors", tmp_path / "a.safetensors", True
    assert saved.way_back(NotWritten("full", None)) == ""
    elsewhere = NotWritten("full", Path("/tmp/x/a.resume.safetensors"))
    assert saved.way_back(elsewhere).endswith(f"--resume /tmp/x/a.resume.safetensors -o {saved.output} --force")
    assert isinstance(elsewhere, FileError) and elsewhere.exit_code == 4
