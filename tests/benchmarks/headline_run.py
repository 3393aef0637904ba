"""One run of a row of HEADLINE.md: a pipeline of commands, with a seed, that a later start goes on with."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from prunectl.checkpoints.checkpoint import read
from prunectl.cli import in_process
from prunectl.measuring.evaluate import costs
from tests.benchmarks.headline_rows import Row

REPOSITORY = Path(__file__).parents[2]


class NoTimeLeft(Exception):
    """The minutes are over; what was done is kept in the folder."""


def commands(line: str, stem: str, seed: int) -> list[list[str]]:
    """The commands of a pipeline, each with the file that it writes, and the one before it to read."""
    found: list[list[str]] = []
    for number, part in enumerate(line.split(" | ")):
        words, out = part.split(), f"{stem}.{number}.safetensors"
        before = [f"{stem}.{number - 1}.safetensors"] if number else []
        seeded = [] if words[0] == "shrink" else ["--seed", str(seed)]
        found.append([words[0], *before, *words[1:], *seeded, "-o", out])
    return found


def run(row: Row, stem: str, seed: int, until: float) -> dict[str, Any]:
    """Run what is missing of a row in the current folder.

    Seconds add up over several starts; those of a process that was killed are lost.

    Raises:
        NoTimeLeft: the clock (`time.monotonic`) is past `until`.
    """
    cost = Path(f"{stem}.cost.json")
    todo = commands(row.line, stem, seed)
    out = Path(todo[-1][-1])
    for words in todo:
        if not Path(words[-1]).exists() or _paused(words).exists():
            with _timed(cost):
                _command(words, until)
    robust = _robust(row, out, cost, until)
    return {**_measured(out), **robust, **json.loads(cost.read_text()), **_settings(todo), **_where()}


def _paused(words: list[str]) -> Path:
    """The file of a training that goes on."""
    return Path(words[-1]).with_suffix(".resume.safetensors")


def _command(words: list[str], until: float) -> None:
    """Run a command, a training for the minutes that are left."""
    minutes = (until - time.monotonic()) / 60
    if minutes <= 0:
        raise NoTimeLeft
    if words[0] == "train":
        begun = ["train", "--resume", str(_paused(words))] if _paused(words).exists() else words
        _checked([*begun, *([] if minutes == float("inf") else ["--max-minutes", f"{minutes:.3f}"])])
        if _paused(words).exists():
            raise NoTimeLeft
    else:
        _checked(words)


def _checked(words: list[str]) -> str:
    """What a command prints; it must end well.

    Raises:
        KeyboardInterrupt: it was interrupted.
        RuntimeError: it failed.
    """
    ran = in_process.run(words)
    if ran.code == 130:
        raise KeyboardInterrupt
    if ran.code:
        raise RuntimeError(f"prunectl {' '.join(words)}: {ran.last}")
    return ran.out


@contextmanager
def _timed(cost: Path) -> Iterator[None]:
    """Add the seconds of a block to a file, also where it fails."""
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        yield
    finally:
        before = json.loads(cost.read_text()) if cost.exists() else {"wall_seconds": 0.0, "cpu_seconds": 0.0}
        after = {
            "wall_seconds": round(before["wall_seconds"] + time.perf_counter() - wall, 1),
            "cpu_seconds": round(before["cpu_seconds"] + time.process_time() - cpu, 1),
        }
        cost.write_text(json.dumps(after))


def _measured(out: Path) -> dict[str, Any]:
    """Accuracy after the last epoch and what was spent, from the log; sizes, from the network."""
    log = out.with_suffix(".log.jsonl").read_text().splitlines()
    last, counted = json.loads(log[-1]), costs(read(out))
    sizes = {key: counted[key] for key in ("parameters", "weight_sparsity", "node_sparsity", "flops")}
    spent = {"training_flops": last["training_flops"], "epochs": round(last["epoch"])}
    return {"accuracy": last["eval_accuracy"], **sizes, **spent}


def _robust(row: Row, out: Path, cost: Path, until: float) -> dict[str, Any]:
    """The robust accuracy at every eps, of a row that has an attack."""
    if not row.attack:
        return {}
    kept = out.with_suffix(".robust.json")
    if not kept.exists():
        if time.monotonic() > until:
            raise NoTimeLeft
        with _timed(cost):
            kept.write_text(_checked(["attack", str(out), *row.attack.split(), "--json"]))
    return {"robust": json.loads(kept.read_text())}


def _settings(todo: list[list[str]]) -> dict[str, Any]:
    """Images and their size, as the commands have them; None: all, or as they are."""
    given = [in_process.read(words) for words in todo]
    return {key: next((g[key] for g in given if g.get(key)), None) for key in ("subset", "image_size")}


def _where() -> dict[str, Any]:
    """The code and the machine."""
    head = subprocess.run(
        ["git", "rev-parse", "--short=10", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.strip()
    return {
        "commit": head,
        "torch": torch.__version__,
        "machine": f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores",
        "threads": torch.get_num_threads(),
    }


def _processor() -> str:
    """The name of the processor."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
