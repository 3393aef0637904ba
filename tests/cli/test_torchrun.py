"""Commands in several processes: one path, one line, and the files of one process."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from prunectl.checkpoints.checkpoint import read
from prunectl.cli import torchrun
from tests.helpers.processes import ended, run_together, started

TRAIN = "train --model lenet300 --subset 250 --batch-size 64 --opt sgd --lr 0.05 --epochs 2 --device cpu -o"


def difference(one: Path, other: Path) -> float:
    """The largest difference of two networks' parameters."""
    pairs = zip(read(one).model.parameters(), read(other).model.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


def records(path: Path) -> list[dict[str, Any]]:
    """The records of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def wait_for(path: Path) -> None:
    """Until a file has something in it."""
    for _ in range(900):
        if path.exists() and path.stat().st_size:
            return
        time.sleep(0.1)
    raise AssertionError(f"{path} does not come")


@pytest.fixture
def ranked(monkeypatch):
    """Set the environment that torchrun sets, of two processes."""

    def set_(rank: int) -> None:
        for name, value in {"WORLD_SIZE": 2, "RANK": rank, "LOCAL_RANK": rank}.items():
            monkeypatch.setenv(name, str(value))

    return set_


@pytest.mark.parametrize("line", ["sweep plan.toml --out runs", "rerun net.safetensors"])
def test_commands_with_processes_of_their_own_are_refused(refused, ranked, net, line: str) -> None:
    (net.parent / "plan.toml").write_text("")
    ranked(0)
    assert "start it without torchrun" in refused(*line.split())


def test_the_first_process_runs_other_commands_alone(raw, ranked, net) -> None:
    ranked(0)
    ran = raw("shrink", "net.prune.safetensors", "-o", "small.safetensors")
    assert (ran.code, ran.out) == (0, "small.safetensors\n"), ran.err
    ranked(1)
    ran = raw("shrink", "net.prune.safetensors", "-o", "small.safetensors")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_a_process_that_fails_alone_says_so_and_the_first_one_at_once(raw, ranked, monkeypatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(torchrun.time, "sleep", waited.append)
    ranked(0)
    first = raw("criteria", "--nonsense")
    assert (first.code, waited) == (2, [])
    ranked(1)
    other = raw("criteria", "--nonsense")
    assert (other.code, waited) == (2, [20.0])
    assert other.err == f"process 1 of 2: {first.err}"


@pytest.mark.long
def test_processes_train_as_one(cli, tmp_path) -> None:
    assert cli(*TRAIN.split(), "one.safetensors") == "one.safetensors\n"
    first, second = run_together(tmp_path, 2, f"{TRAIN} two.safetensors")
    assert (first.code, first.out) == (0, "two.safetensors\n"), first.err
    assert (second.code, second.out, second.err) == (0, "", "")
    assert difference(tmp_path / "one.safetensors", tmp_path / "two.safetensors") < 1e-5
    entry = read(tmp_path / "two.safetensors").history[-1]
    assert entry.options["processes"] == 2
    logs = [records(tmp_path / f"{name}.log.jsonl") for name in ("one", "two")]
    for key in ("step", "images", "accuracy", "eval_accuracy", "training_flops"):
        one, two = ([record.get(key) for record in log] for log in logs)
        assert one == two


@pytest.mark.long
def test_processes_evaluate_as_one(cli, net) -> None:
    cli("eval", net.name, "--no-latency")
    first, second = run_together(net.parent, 2, f"eval {net.name} --no-latency")
    assert (first.code, first.out) == (0, f"{net.name}\n"), first.err
    assert (second.code, second.out, second.err) == (0, "", "")
    alone, shared = records(net.with_name("net.results.jsonl"))
    assert {key for key in alone if alone[key] != shared[key]} <= {"loss", "time", "peak_memory_bytes"}
    assert shared["loss"] == pytest.approx(alone["loss"], rel=1e-6)


@pytest.mark.long
def test_processes_attack_as_one(cli, net) -> None:
    line = "attack net.safetensors -a fgsm --eps 0.05 -n 60 -b 20 --save-examples 3 --device cpu"
    cli(*line.split())
    pictures = net.with_name("net.examples.safetensors").read_bytes()
    first, second = run_together(net.parent, 2, f"{line} --force")
    assert (first.code, first.out) == (0, "net.safetensors\n"), first.err
    assert (second.code, second.out, second.err) == (0, "", "")
    alone, shared = records(net.with_name("net.results.jsonl"))
    assert {key for key in alone if alone[key] != shared[key]} <= {"time", "seconds", "attack_seconds"}
    assert net.with_name("net.examples.safetensors").read_bytes() == pictures
    assert not net.with_name("net.attack.part.jsonl").exists()


@pytest.mark.long
def test_ctrl_c_saves_once_and_another_number_of_processes_goes_on(cli, tmp_path) -> None:
    """Two processes, interrupted; then three, by their time limit; then one to the end."""
    long = TRAIN.replace("--epochs 2", "--epochs 40")
    cli(*long.split(), "one.safetensors")
    running = started(tmp_path, 2, f"{long} two.safetensors")
    wait_for(tmp_path / "two.log.jsonl.part")
    for process in running:
        os.kill(int(process.pid or 0), signal.SIGINT)
    first, second = ended(tmp_path, running)
    assert (first.code, first.out, first.err.count("prunectl: interrupted at step ")) == (130, "", 1)
    assert (second.code, second.out, second.err) == (130, "", "")
    assert not (tmp_path / "two.safetensors").exists()

    resume = "train --resume two.resume.safetensors --max-minutes"
    first, *others = run_together(tmp_path, 3, f"{resume} 0")
    assert (first.code, first.out) == (0, "two.safetensors\n"), first.err
    assert [(other.code, other.out, other.err) for other in others] == [(0, "", "")] * 2

    assert cli(*f"{resume} 10".split()) == "two.safetensors\n"
    assert difference(tmp_path / "one.safetensors", tmp_path / "two.safetensors") < 1e-4
    assert not (tmp_path / "two.resume.safetensors").exists()


@pytest.mark.parametrize("line", ["train net.safetensors --epochs 500 --device cpu -o net.safetensors --force"])
def test_when_a_process_is_killed_the_first_one_ends_with_one_line(net, line: str) -> None:
    before = net.read_bytes()
    running = started(net.parent, 2, line)
    wait_for(net.parent / "net.log.jsonl.part")
    os.kill(int(running[1].pid or 0), signal.SIGKILL)
    first, second = ended(net.parent, running)
    assert (first.code, first.out, second.code) == (1, "", -signal.SIGKILL)
    assert first.err.splitlines()[-1].startswith("prunectl: another process of this run has ended")
    assert "Traceback" not in first.err
    assert net.read_bytes() == before
