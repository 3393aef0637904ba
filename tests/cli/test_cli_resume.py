"""A training that is interrupted goes on to the very bytes that it would have ended in."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from prunectl.checkpoints.files import locked
from prunectl.cli import train_run, train_saved
from prunectl.models import fresh
from prunectl.torchtools.temporaries import temporary
from tests.helpers.dataset_files import write_family
from tests.helpers.running import PROGRAM, listing, run_cli

PATIENCE = 120.0
"""Seconds after which a program that says nothing has failed."""


def checkpoints(folder) -> dict[str, str]:
    """The checkpoints and mask files in a folder, with the hashes of their bytes."""
    return {name: digest for name, digest in listing(folder).items() if name.endswith(".safetensors")}


def logged(path) -> list[dict]:
    """The records of a log without what differs from run to run."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in record.items() if k not in ("seconds", "memory_bytes")} for record in records]


@pytest.fixture
def hangups() -> Iterator[None]:
    """Programs that the test starts take SIGHUP even where the tests run under nohup, which ignores it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


START = "train --model mlp5 -M hidden=32 --epochs 0 -o mlp.safetensors"
LINE = "train mlp.safetensors --epochs 12 -b 64"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A folder with a training that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    for line in (START, LINE):
        assert run_cli(folder, *line.split()).code == 0
    return folder


@pytest.mark.usefixtures("hangups")
@pytest.mark.parametrize(
    "numbers",
    [
        pytest.param([signal.SIGINT], id="ctrl-c", marks=pytest.mark.long),
        pytest.param([signal.SIGHUP, signal.SIGHUP], id="hangup", marks=pytest.mark.long),
    ],
)
def test_ctrl_c_then_resume_ends_in_the_bytes_of_an_uninterrupted_training(numbers, whole, tmp_path):
    assert run_cli(tmp_path, *START.split()).code == 0
    running = subprocess.Popen([*PROGRAM, *LINE.split()], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    log, begun = tmp_path / "mlp.train.log.jsonl", time.monotonic()
    so_far = log.with_name(log.name + ".part")
    while not so_far.exists() or so_far.read_bytes().count(b"\n") < 3:
        assert running.poll() is None and time.monotonic() - begun < PATIENCE
        time.sleep(0.005)
    for number in numbers:  # a shell tells of a closed terminal twice
        running.send_signal(number)
        time.sleep(0.0002)
    out, err = running.communicate(timeout=PATIENCE)
    assert (running.returncode, out) == (130, b"")
    told = err.decode().splitlines()[-1]
    assert told.startswith("prunectl: interrupted at step ")
    assert told.endswith("; continue with: prunectl train --resume mlp.train.resume.safetensors")
    assert set(listing(tmp_path)) == {"mlp.safetensors", so_far.name, "mlp.train.resume.safetensors"}

    ran = run_cli(tmp_path, "train", "--resume", "mlp.train.resume.safetensors")
    assert (ran.code, ran.out) == (0, "mlp.train.safetensors\n"), ran.err
    assert set(listing(tmp_path)) == {"mlp.safetensors", log.name, "mlp.train.safetensors"}
    assert checkpoints(tmp_path) == checkpoints(whole)
    assert logged(log) == logged(whole / log.name)


@pytest.mark.parametrize(
    "recipe",
    [
        "--model lenet300 --opt sgd --sched cosine --augment flip,crop",
        "--model lenet300 --opt rmsprop --sched onecycle --clip 1 --noise 0.01",
        "--model mlp5 -M hidden=8 --opt adamw --ema 0.9 --label-smoothing 0.1 --reg lp -O p=0.5",
        "--model lenet300 --tuning --random-labels",
        "net.prune.safetensors --sched cosine",
    ],
)
def test_a_time_limit_keeps_what_was_learnt_and_can_be_resumed(recipe, net, cli, raw, tmp_path):
    line = ["train", *recipe.split(), "--epochs", 2, "--subset", 300]
    ran = raw(*line, "--max-minutes", 0, "-o", "half.safetensors")
    assert (ran.code, ran.out) == (0, "half.safetensors\n")
    assert ran.err.startswith("stopped by --max-minutes at step 1; continue with: prunectl train --resume half.resume")
    assert json.loads(cli("inspect", "half.safetensors", "--json"))["history"][-1]["options"]["steps"] == 1
    assert "no rerun: it was stopped after 1 of 6 steps (--max-minutes)" in cli("log", "half.safetensors")
    assert cli("train", "--resume", "half.resume.safetensors", "-o", "resumed.safetensors") == "resumed.safetensors\n"
    assert not (tmp_path / "half.resume.safetensors").exists()
    cli(*line, "-o", "whole.safetensors")
    made = checkpoints(tmp_path)
    assert made["resumed.safetensors"] == made["whole.safetensors"] != made["half.safetensors"]
    assert made.get("resumed.mask.safetensors") == made.get("whole.mask.safetensors")
    assert ("whole.mask.safetensors" in made) == ("net.prune" in recipe)


def test_a_resumed_training_can_be_stopped_again(cli, tmp_path):
    line = ["train", "--model", "lenet300", "--epochs", 2, "--subset", 300]
    cli(*line, "--max-minutes", 0, "-o", "a.safetensors")
    cli("train", "--resume", "a.resume.safetensors", "--max-minutes", 0, "-o", "b.safetensors")
    assert set(checkpoints(tmp_path)) == {"a.safetensors", "b.safetensors", "b.resume.safetensors"}
    cli("train", "--resume", "b.resume.safetensors", "--force")
    cli(*line, "-o", "whole.safetensors")
    made = checkpoints(tmp_path)
    assert set(made) == {"a.safetensors", "b.safetensors", "whole.safetensors"}
    assert made["b.safetensors"] == made["whole.safetensors"]


def test_a_new_training_does_not_replace_an_interrupted_one(cli, refused, tmp_path):
    line = ["train", "--model", "lenet300", "--subset", 300]
    cli(*line, "--max-minutes", 0)
    (tmp_path / "lenet300-digits.train.safetensors").unlink()
    assert refused(*line) == (
        "prunectl: lenet300-digits.train.resume.safetensors holds an interrupted training; "
        "continue with --resume lenet300-digits.train.resume.safetensors, or replace it with --force\n"
    )
    cli(*line, "--epochs", 0, "--force")
    assert set(checkpoints(tmp_path)) == {"lenet300-digits.train.safetensors"}


def test_a_resumed_training_does_not_replace_another_interrupted_one(cli, refused, tmp_path):
    line = ["train", "--model", "lenet300", "--subset", 300, "--max-minutes", 0]
    cli(*line, "-o", "a.safetensors")
    cli(*line, "-o", "b.safetensors")
    for name in ("b.safetensors", "b.log.jsonl"):
        (tmp_path / name).unlink()
    told = refused("train", "--resume", "a.resume.safetensors", "-o", "b.safetensors")
    assert "b.resume.safetensors holds an interrupted training" in told
    cli("train", "--resume", "a.resume.safetensors", "-o", "b.safetensors", "--force")
    assert set(checkpoints(tmp_path)) == {"a.safetensors", "b.safetensors"}


def test_an_output_takes_one_training_at_a_time(cli, refused, tmp_path):
    line = ["train", "--model", "lenet300", "--subset", 300, "--epochs", 1, "-o", "a.safetensors"]
    with locked(tmp_path / "a.log.jsonl.part", "taken"):
        assert refused(*line, "--force") == (
            "prunectl: another training is writing a.safetensors; wait for it, or choose another output with -o\n"
        )
    cli(*line)
    assert listing(tmp_path).keys() == {"a.safetensors", "a.log.jsonl"}


def test_a_target_that_another_training_made_meanwhile_is_not_replaced(raw, tmp_path, monkeypatch):
    made = fresh.fresh

    def slow(*given, **how):
        (tmp_path / "a.safetensors").touch()
        return made(*given, **how)

    monkeypatch.setattr(fresh, "fresh", slow)
    ran = raw("train", "--model", "lenet300", "--subset", 300, "--epochs", 1, "-o", "a.safetensors")
    assert (ran.code, ran.out) == (1, "") and ran.err.startswith("prunectl: a.safetensors exists")
    assert listing(tmp_path).keys() == {"a.safetensors"}


def test_the_log_of_a_checkpoint_that_is_gone_is_not_replaced(cli, refused, tmp_path):
    line = ["train", "--model", "lenet300", "--subset", 300, "--epochs", 1, "-o", "a.safetensors"]
    cli(*line)
    (tmp_path / "a.safetensors").unlink()
    assert "a.log.jsonl exists; choose another output with -o" in refused(*line)


def test_a_training_is_resumed_on_the_data_and_the_device_it_began_with(cli, tmp_path, monkeypatch):
    monkeypatch.delenv("PRUNECTL_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_family(tmp_path / "sets" / "FashionMNIST" / "raw")
    line = ["train", "--model", "mlp5", "-M", "hidden=8", "--data", "fashionmnist", "--device", "cpu", "--epochs", 2]
    cli(*line, "--data-dir", "sets", "--max-minutes", 0, "-o", "a.safetensors")
    monkeypatch.setattr("prunectl.torchtools.devices.device_named", lambda name: torch.device({"cpu": "cpu"}[name]))
    cli("train", "--resume", "a.resume.safetensors")
    assert set(checkpoints(tmp_path)) == {"a.safetensors"}


def test_what_cannot_be_resumed_is_one_line(net, cli, refused, tmp_path):
    for name in ("net.safetensors", "net.prune.mask.safetensors"):
        assert "; use a NAME.resume.safetensors" in refused("train", "--resume", name)
    (tmp_path / "text.txt").write_text("no tensors in here, only words")
    assert "is not a safetensors file" in refused("train", "--resume", "text.txt")
    assert "no such file" in refused("train", "--resume", "missing.resume.safetensors")
    assert "leave out CHECKPOINT" in refused("train", "net.safetensors", "--resume", "net.safetensors")
    assert "leave out --epochs" in refused("train", "--resume", "net.resume.safetensors", "--epochs", 50)
    cli("train", "net.safetensors", "--subset", 300, "--max-minutes", 0)
    told = refused("eval", "net.train.resume.safetensors")
    assert "is an interrupted training; continue with `prunectl train --resume net.train.resume.safetensors`" in told
    shutil.copy(tmp_path / "net.safetensors", tmp_path / "net.train.safetensors")  # not what the training left there
    assert "net.train.safetensors exists" in refused("train", "--resume", "net.train.resume.safetensors")


def test_what_a_time_limit_left_is_replaced_by_its_resumed_training(net, cli, tmp_path):
    cli("train", "net.safetensors", "--subset", 300, "--epochs", 2, "--max-minutes", 0)
    assert len(logged(tmp_path / "net.train.log.jsonl")) == 1
    assert cli("train", "--resume", "net.train.resume.safetensors") == "net.train.safetensors\n"
    assert [record["step"] for record in logged(tmp_path / "net.train.log.jsonl")] == [1, 2, 3, 4, 5, 6]
    assert not (tmp_path / "net.train.log.jsonl.part").exists()


def test_a_training_of_images_in_the_size_of_its_network_is_resumed(cli, tmp_path):
    """The size came from the checkpoint, not from the command line."""
    cli("train", "--model", "mlp5", "-M", "hidden=8", "--image-size", 16, "--epochs", 0, "-o", "a.safetensors")
    line = ["train", "a.safetensors", "--subset", 300, "--epochs", 2]
    cli(*line, "--max-minutes", 0, "-o", "b.safetensors")
    log = tmp_path / "b.log.jsonl.part"
    log.write_text(log.read_text() + json.dumps({"step": 5}) + "\n")  # a step that a kill undid
    assert cli("train", "--resume", "b.resume.safetensors") == "b.safetensors\n"
    assert [record["step"] for record in logged(tmp_path / "b.log.jsonl")] == [1, 2, 3, 4, 5, 6]
    cli(*line, "-o", "whole.safetensors")
    made = checkpoints(tmp_path)
    assert made["b.safetensors"] == made["whole.safetensors"]


def test_a_resumed_training_writes_a_safetensors_file(cli, refused):
    cli("train", "--model", "lenet300", "--subset", 300, "--max-minutes", 0, "-o", "a.safetensors")
    assert "must end in .safetensors" in refused("train", "--resume", "a.resume.safetensors", "-o", "out.pt")


def test_what_came_to_lie_at_the_output_is_kept_and_so_is_the_training(net, raw, cli, monkeypatch, tmp_path):
    line = ["train", "net.safetensors", "--subset", 300, "--epochs", 2]
    cli(*line, "-o", "whole.safetensors")
    steps = train_run._steps

    def interfering(*arguments):
        (tmp_path / "a.safetensors").write_bytes(b"of someone else")
        yield from steps(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(train_run, "_steps", interfering)
        ran = raw(*line, "-o", "a.safetensors")
    assert (ran.code, ran.out, (tmp_path / "a.safetensors").read_bytes()) == (1, "", b"of someone else")
    assert ran.err.splitlines()[-1] == (
        "prunectl: a.safetensors exists; choose another output with -o, or replace it with --force; the training is "
        "saved: prunectl train --resume a.resume.safetensors -o OTHER"
    )
    assert cli("train", "--resume", "a.resume.safetensors", "-o", "b.safetensors") == "b.safetensors\n"
    assert (tmp_path / "b.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert logged(tmp_path / "b.log.jsonl") == logged(tmp_path / "whole.log.jsonl")
    assert not (tmp_path / "a.resume.safetensors").exists()


@pytest.mark.parametrize("saves", [1, 2])
def test_a_training_that_was_killed_after_its_checkpoint_is_complete(raw, cli, tmp_path, monkeypatch, saves):
    """The kill came before its resume file was removed and its log had its name."""
    monkeypatch.setattr(train_run, "_SAVE_EVERY", 0.0)

    def killed(saved, **_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_saved.Saved, "end", killed)
        raw("train", "--model", "lenet300", "--subset", 300, "--epochs", saves, "-o", "a.safetensors")
    left = {"a.safetensors", "a.resume.safetensors", "a.log.jsonl.part"}
    assert listing(tmp_path).keys() == left
    half = temporary(tmp_path / "a.safetensors")
    half.with_name(half.name.replace(f".{os.getpid()}-", ".4194305-")).touch()  # which no process has
    (tmp_path / "a.mask.safetensors").write_bytes(b"of a pruned network that was replaced")
    before = listing(tmp_path)["a.safetensors"]
    assert cli("train", "--resume", "a.resume.safetensors") == "a.safetensors\n"
    assert listing(tmp_path).keys() == {"a.safetensors", "a.log.jsonl"}
    assert listing(tmp_path)["a.safetensors"] == before


def test_another_training_at_the_output_is_not_taken_for_a_complete_one(cli, refused, tmp_path):
    line = ["train", "--model", "lenet300", "--subset", 300, "--epochs", 2]
    cli(*line, "--max-minutes", 0, "-o", "a.safetensors")
    cli(*line, "--seed", 1, "-o", "b.safetensors")
    shutil.copy(tmp_path / "b.safetensors", tmp_path / "a.safetensors")
    assert "a.safetensors exists" in refused("train", "--resume", "a.resume.safetensors")


def test_a_training_without_steps_takes_away_the_log_of_one_that_was_killed(tmp_path, cli):
    (tmp_path / "mlp.log.jsonl.part").write_text('{"epoch": 1}\n')
    cli(*START.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlp.safetensors"]


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_training_that_was_killed_before_its_log_had_its_name_is_finished_when_given_again(
    raw, cli, tmp_path, epochs
):
    line = ["train", "--model", "lenet300", "--subset", 300, "--epochs", epochs, "-o", "a.safetensors"]
    cli(*line)
    whole, log, so_far = listing(tmp_path), tmp_path / "a.log.jsonl", tmp_path / "a.log.jsonl.part"
    log.rename(so_far) if epochs else so_far.touch()
    assert (
        raw(*line).err == "prunectl: a.safetensors exists; choose another output with -o, or replace it with --force\n"
    )
    assert listing(tmp_path) == whole


@pytest.mark.parametrize("text", ['{"step": 1}\n', "{\n", "[]\n"])
def test_the_log_of_another_training_is_left_where_it_is(refused, cli, tmp_path, text):
    line = ["train", "--model", "lenet300", "--subset", 300, "--epochs", 1, "-o", "a.safetensors"]
    cli(*line)
    (tmp_path / "a.log.jsonl").unlink()
    (tmp_path / "a.log.jsonl.part").write_text(text)
    refused(*line)
    assert (tmp_path / "a.log.jsonl.part").read_text() == text
