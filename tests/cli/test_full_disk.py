"""A disk that is full, or gone, takes away nothing that was computed."""

import contextlib
import io
import json
import os
import shlex
import shutil
import signal
import sys
from pathlib import Path

import pytest
from safetensors.torch import save_file
from torch import nn

from prunectl.checkpoints import files, journal
from prunectl.checkpoints.files import sha256
from prunectl.cli import kept, train_run, train_space
from prunectl.cli.app import main
from prunectl.cli.train_saved import Saved
from prunectl.errors import FileError, NotWritten
from prunectl.robustness.attack import Attacker
from prunectl.training import resume
from tests.helpers.refusals import names
from tests.helpers.running import run_cli, run_shell

TRAIN = "train --model mlp5 -M hidden=8 --subset 512 -b 64 --epochs 3"
STEPS = 24


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


# --- training


def test_saves_that_fail_are_warnings(whole, raw, disk, tmp_path, monkeypatch):
    monkeypatch.setattr(train_run, "_SAVE_EVERY", 0.0)
    disk.suffixes = (".resume.safetensors",)
    ran = raw(*TRAIN.split(), "-o", "a.safetensors")
    assert (ran.code, ran.out) == (0, "a.safetensors\n"), ran.err
    warning = (
        "warning: cannot write a.resume.safetensors: No space left on device; nothing was changed there; the train"
    )
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
    assert "; an earlier save is left: prunectl train --resume a.resume.safetensors" in told
    monkeypatch.setattr(resume, "write", written)
    disk.suffixes = ()
    ran = raw("train", *advice(told))
    assert (ran.code, ran.out) == (0, "a.safetensors\n")
    assert steps(tmp_path / "a.log.jsonl") == list(range(1, STEPS + 1))


def test_a_log_that_cannot_be_written_for_a_while_is_whole_at_the_end(whole, raw, disk, tmp_path):
    disk.suffixes, disk.writes = (".log.jsonl.part",), STEPS // 2
    ran = raw(*TRAIN.split(), "-o", "a.safetensors")
    assert ran.code == 0
    assert ran.err.count("warning: cannot write a.log.jsonl.part: No space left on device; the training goes on") == 1
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
    told, _, place = ran.err.strip().splitlines()[-1].rpartition("; the result is kept: ")
    assert told == "prunectl: cannot write a.safetensors: No space left on device; nothing was changed there"
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
    place = ran.err.strip().rpartition("; the result is kept: ")[2]
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
    assert "warning: cannot write a.tensorboard: No space left on device; TensorBoard ends here\n" in ran.err
    assert sha256(tmp_path / "a.safetensors") == sha256(whole / "a.safetensors")


# --- the space that is needed


@pytest.mark.parametrize("how", ["adam", "sgd --momentum 0", "adamw --ema 0.9"])
def test_the_size_of_a_save_is_known_before_the_first_step(how, raw, tmp_path, monkeypatch):
    foretold = []
    monkeypatch.setattr(train_space, "say", lambda trainer, *_: foretold.append(trainer.state_bytes()))
    line = ["train", "--model", "lenet300", "--subset", 256, "--epochs", 2, "--opt", *how.split()]
    assert raw(*line, "--max-minutes", 0, "-o", "a.safetensors").code == 0
    found = (tmp_path / "a.resume.safetensors").stat().st_size
    assert foretold[0] == pytest.approx(found, rel=0.02)


@pytest.mark.parametrize(("free", "warned"), [(5_000_000, True), (50_000_000, False)])
def test_too_little_space_is_said_before_the_first_step(raw, monkeypatch, free, warned):
    monkeypatch.setattr(train_space, "_free", lambda folder: free)
    line = ["train", "--model", "lenet300", "--subset", 256, "--epochs", 1, "-o", "a.safetensors"]
    ran = raw(*line)
    assert ran.code == 0
    assert ran.err.startswith("warning: a save for --resume takes 3.21MB, the checkpoint 1.07MB: up to 6.42") == warned
    assert ("has 5MB free; make room" in ran.err) == warned


def test_a_large_save_is_said_where_there_is_room_too(raw, monkeypatch):
    monkeypatch.setattr(train_space, "_LARGE", 1_000_000)
    ran = raw("train", "--model", "lenet300", "--subset", 256, "--epochs", 1, "-o", "a.safetensors")
    assert ran.err.startswith("train: a save for --resume takes 3.2")


# --- other commands


IMPORT = "import w.st --input 1x4x4 --classes 10 --mean 0.5 --std 0.5 --model logistic-regression"
MAKE = {
    "prune": "prune net.safetensors -c magnitude -s 0.5",
    "shrink": "shrink net.prune.safetensors",
    "repair": "repair net.prune.safetensors --method bn -n 10",
    "import": IMPORT,
}


@pytest.mark.parametrize("command", MAKE)
def test_what_a_command_made_is_kept_elsewhere(command, net, raw, disk, tmp_path):
    weights = nn.Linear(16, 10)
    save_file({"1.weight": weights.weight.detach(), "1.bias": weights.bias.detach()}, tmp_path / "w.st")
    before = names(tmp_path)
    disk.suffixes = ("out.safetensors",)
    ran = raw(*MAKE[command].split(), "-o", "out.safetensors")
    assert (ran.code, ran.out) == (4, ""), ran.err
    assert names(tmp_path) == before
    place = ran.err.strip().rpartition("; the result is kept: ")[2]
    disk.suffixes = ()
    assert raw(*MAKE[command].split(), "-o", "out.safetensors").code == 0
    assert sha256(Path(place)) == sha256(tmp_path / "out.safetensors")


def test_eval_prints_what_it_cannot_note(tiny, raw, disk):
    disk.suffixes = (".results.jsonl",)
    ran = raw("eval", "--no-latency", "--json", tiny.name)
    assert ran.code == 1
    assert json.loads(ran.out)["images"] > 0 and "eval: accuracy" in ran.err
    assert ran.err.endswith("tiny.results.jsonl: No space left on device; the numbers above are noted nowhere\n")


ATTACK = "attack tiny.safetensors -a fgsm -n 40 -b 10 --eps 0.3 --json"


def test_an_attack_that_cannot_be_noted_is_printed_and_kept(tiny, raw, cli, disk, tmp_path, monkeypatch):
    disk.suffixes = (".results.jsonl",)
    ran = raw(*ATTACK.split())
    assert ran.code == 1 and json.loads(ran.out)["images"] == 40
    assert (tmp_path / "tiny.attack.part.jsonl").exists()
    disk.suffixes = ()

    def none(*_):
        raise AssertionError("everything is done already")

    monkeypatch.setattr("prunectl.robustness.attack.Batch", none)
    again = json.loads(cli(*ATTACK.split(), "--resume"))
    assert again["results"] == json.loads(ran.out)["results"]
    assert names(tmp_path) == ["tiny.mask.safetensors", "tiny.results.jsonl", "tiny.safetensors"]


def test_an_attack_goes_on_where_its_batches_cannot_be_kept(tiny, raw, disk, tmp_path):
    disk.suffixes = (".attack.part.jsonl",)
    ran = raw(*ATTACK.split())
    assert ran.code == 0 and json.loads(ran.out)["images"] == 40
    assert ran.err.count("warning: cannot write tiny.attack.part.jsonl: No space left on device; the attack goes") == 1
    assert not (tmp_path / "tiny.attack.part.jsonl").exists()


def test_batches_that_could_not_be_kept_at_first_are_kept_later(tiny, raw, cli, disk, monkeypatch):
    disk.suffixes, disk.writes = (".attack.part.jsonl",), 2
    batches = Attacker.batches

    def stopping(self, done=()):
        for i, total in enumerate(batches(self, done), 1):
            if i == 3:
                os.kill(os.getpid(), signal.SIGINT)
            yield total

    with monkeypatch.context() as patch:
        patch.setattr(Attacker, "batches", stopping)
        ran = raw(*ATTACK.split())
    assert ran.code == 130 and "interrupted after 30 of 40 images" in ran.err and "--resume" in ran.err
    resumed = json.loads(cli(*ATTACK.split(), "--resume"))
    assert resumed["results"] == json.loads(cli(*ATTACK.split()))["results"]


def test_a_full_disk_under_a_process(tmp_path, net):
    script = "ulimit -f 300; prunectl train net.safetensors --subset 256 --epochs 1 -o a.safetensors"
    ran = run_shell(tmp_path, script)
    assert (ran.code, ran.out) == (4, "")
    first, *_, last = ran.err.splitlines()
    assert first.startswith("warning: a save for --resume takes 3.2") and "(ulimit -f)" in first
    assert last.startswith("prunectl: cannot write a.safetensors: File too large; nothing was changed there; /")
    assert names(tmp_path) == ["a.log.jsonl.part", *sorted(path.name for path in tmp_path.glob("net*"))]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize(("line", "code"), [(TRAIN, 0), ("eval missing.safetensors", 1)])
def test_what_is_told_may_go_to_a_full_disk(tmp_path, line, code, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("prunectl.cli.progress.EVERY", 0.0)
    full = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w", buffering=1)
    with contextlib.redirect_stderr(full), pytest.raises(SystemExit) as exited:
        main(line.split())
    with contextlib.suppress(OSError):
        full.close()
    assert exited.value.code in (code, code or None)
    assert capfd.readouterr().out == ("" if code else "mlp5-digits.train.safetensors\n")


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
