"""A soak: sweeps in a loop from one process, and what it and its worker hold of memory, files and threads.

    python -m tests.benchmarks.soak [--minutes 60] [--folder DIR]

Each turn runs the same plan of 9 stages (trainings, prunings, measurements and a report) into a new folder, which goes
away. soak.json has a line of numbers for each turn: memory (resident MB), open files and threads of the process
afterwards, and the memory of the worker after its first stages and at its end. Run
`python -m tests.benchmarks.reliability --kills 0 --disks 0 --add` for the page.
"""

import argparse
import contextlib
import gc
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.helpers.running import run_cli

RECORDS = Path(__file__).with_suffix(".json")
PLAN = """
[grid]
seed = [0, 1, 2]
[pipelines]
pruned = "train --model mlp5 --subset 256 --epochs 1 --seed {seed} | prune -c snip -s 0.9 | eval --no-latency"
"""
SETTLED = 3
"""Turns after which everything has been imported and every cache is filled."""


def held(pid: int | str) -> dict[str, int]:
    """Resident memory in MB, open files and threads of a process."""
    place = Path(f"/proc/{pid}")
    pages = int((place / "statm").read_text().split()[1])
    return {
        "mb": pages * os.sysconf("SC_PAGE_SIZE") >> 20,
        "files": len(list((place / "fd").iterdir())),
        "threads": len(list((place / "task").iterdir())),
    }


@contextlib.contextmanager
def watched(every: float = 1.0) -> Iterator[list[int]]:
    """The memory of the largest child process, as it changes."""
    seen: list[int] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(every):
            children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
            sizes = []
            for child in children:
                with contextlib.suppress(OSError, IndexError):
                    sizes.append(held(child)["mb"])
            if sizes:
                seen.append(max(sizes))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def turns(minutes: float, folder: Path) -> Iterator[dict[str, Any]]:
    """Sweep until the time is over."""
    begun = time.monotonic()
    (folder / "plan.toml").write_text(PLAN)
    while time.monotonic() - begun < 60 * minutes:
        with watched() as worker:
            ran = run_cli(folder, "sweep", "plan.toml", "-o", "swept")
        assert ran.code == 0, ran.err
        shutil.rmtree(folder / "swept")
        gc.collect()
        late = worker[len(worker) // 2 :]
        yield {
            "minutes": round((time.monotonic() - begun) / 60, 1),
            **held("self"),
            "worker_mb": [late[0], late[-1]] if late else [],
        }


def table(record: dict[str, Any]) -> list[str]:
    """The lines of the page."""
    seen = record["turns"]
    first, last = seen[min(SETTLED, len(seen)) - 1], seen[-1]
    lines = [
        "## Soak",
        "",
        f"A sweep of 9 stages in a loop, from one process: {len(seen)} turns in {last['minutes']} minutes.",
        "",
    ]
    lines += ["| after turn | memory, MB | open files | threads |", "|---|--:|--:|--:|"]
    for number, turn in ((min(SETTLED, len(seen)), first), (len(seen), last)):
        lines.append(f"| {number} | {turn['mb']} | {turn['files']} | {turn['threads']} |")
    grown = [late - early for early, late in (turn["worker_mb"] for turn in seen if turn["worker_mb"])]
    if grown:
        lines += ["", f"The worker grows by {max(grown)} MB at most in the second half of its stages."]
    return [*lines, ""]


def main() -> None:
    """Sweep in a loop and record every turn."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args()
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=chosen.folder, prefix="soak-") as folder:
        for turn in turns(chosen.minutes, Path(folder)):
            found.append(turn)
            print(json.dumps(turn), flush=True)
            RECORDS.write_text(json.dumps({"turns": found}) + "\n")


if __name__ == "__main__":
    main()
