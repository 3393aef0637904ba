"""Kills, Ctrl-C and full disks at random moments: what they damage, where they leave the user, what they leave behind.

    python -m tests.benchmarks.reliability [--kills 30] [--disks 30] [--seed 0] [--only COMMAND] [--add] [--folder DIR]

Each case begins in a new copy of a folder with checkpoints, images and results. A process that has loaded prunectl
forks, and the child runs one command, with trainings saved every 0.05 s. A kill (SIGKILL) comes at a random time of the
command, or as soon as the n-th change of its folders is seen. A full disk is a limit on the size of files
(RLIMIT_FSIZE) or a small tmpfs, where the system lets one be mounted. Then the user does what is at hand: goes on with
the training or attack that was interrupted, else gives the command again. A line of reliability.jsonl holds one case:

    damaged    files of before that are not what they were, or not whole where the command may replace them
    dead_end   why what the user does next did not lead to the result; null where it did
    leftovers  files that lie beside the results then, in the cache or in $TMPDIR, and are no results

With --add the lines of earlier runs stay, under other seeds. RELIABILITY.md is the table of all lines.
"""

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from prunectl.version import __version__
from tests.benchmarks.reliability_case import COMMANDS, Case, begin, finish, shelf

RECORDS = Path(__file__).with_suffix(".jsonl")
PAGE = RECORDS.with_name("RELIABILITY.md")
LOADED = (
    *("foolbox", "matplotlib.pyplot", "torchvision", "torch.export", "torch._dynamo", "prunectl.training.trainer"),
    *("prunectl.robustness.attack", "prunectl.pruning.prune", "prunectl.pruning.shrink", "prunectl.exchange.export"),
    *("prunectl.exchange.imported", "prunectl.pruning.repair.repair", "prunectl.reporting.page.page"),
)
"""What commands import when they need it, loaded once before all of them."""


def kill(case: Case, seconds: float, drawn: random.Random) -> dict[str, Any]:
    """Kill the command at a random moment of those seconds, or at a random change in its folders."""
    pid, begun = case.spawn(COMMANDS[case.command]), time.monotonic()
    after = drawn.uniform(0, seconds) if drawn.random() < 0.5 else None
    changes, seen = drawn.randint(1, 4), case.listing()
    while after is None or time.monotonic() - begun < after:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return {"code": 0, "at": "end"}
        if after is None:
            now = case.listing()
            changes -= now != seen
            seen = now
            if not changes:
                break
        time.sleep(0.0005)
    os.kill(pid, signal.SIGKILL)
    return {"code": case.wait(pid), "at": "change" if after is None else f"{after:.2f} s"}


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """Mount a tmpfs of so many bytes; says whether the system allows that."""
    folder.mkdir(parents=True, exist_ok=True)
    options = ["-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    done = subprocess.run(["mount", *options], capture_output=True, check=False)
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "-l", str(folder)], check=False)


def fill(case: Case, seconds: float, largest: int, drawn: random.Random) -> dict[str, Any]:
    """Run the command on a full disk, every third time with Ctrl-C."""
    case.limit = drawn.randint(0, largest)
    pid, interrupted = case.spawn(COMMANDS[case.command]), drawn.random() < 1 / 3
    if interrupted:
        time.sleep(drawn.uniform(0.1, 1) * seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
    return {"code": case.wait(pid), "limit": case.limit, "ctrl_c": interrupted}


def measured(folder: Path, made: Path, command: str) -> tuple[float, set[str], int]:
    """Seconds, files and the largest new file of an undisturbed run."""
    case = begin(folder, made, command, "undisturbed")
    before, begun = case.listing(), time.monotonic()
    code, told = case.run(COMMANDS[command])
    assert code == 0, f"{command}: {told}"
    seconds, after = time.monotonic() - begun, case.listing()
    sizes = [(case.root / name).stat().st_size for name in after - before if (case.root / name).exists()]
    return seconds, after, max(sizes, default=1)


def cases(chosen: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """Run all cases, the commands in turn."""
    made = folder / "shelf" / "work"
    (folder / "shelf").mkdir()
    shelf(made)
    drawn = random.Random(chosen.seed)
    names = [name for name in COMMANDS if chosen.only in (None, name)]
    known = {name: measured(folder / f"whole-{i}", made, name) for i, name in enumerate(names)}
    for i in range(chosen.kills + chosen.disks):
        name, root = names[i % len(names)], folder / f"case-{i}"
        seconds, results, largest = known[name]
        killed = i < chosen.kills
        tmpfs = not killed and drawn.random() < 0.5
        with contextlib.ExitStack() as stack:
            how = "kill" if killed else "file size"
            pages = sum(-(-p.stat().st_size // 4096) + 1 for p in [*made.rglob("*"), *made.glob("net.prune.*")])
            if tmpfs and stack.enter_context(small_disk(root / "work", 4096 * pages + drawn.randint(0, 2 * largest))):
                how = "tmpfs"
            case = begin(root, made, name, how)
            files = (path for path in case.folder.rglob("*") if path.is_file())
            case.before = {str(path.relative_to(case.folder)): path.read_bytes() for path in files}
            if killed:
                more = kill(case, seconds, drawn)
            else:
                more = fill(case, seconds, 1 << 40 if how == "tmpfs" else largest, drawn)
            yield finish(case, more.pop("code"), results, more)
        shutil.rmtree(root, ignore_errors=True)


def page(records: list[dict[str, Any]], about: str) -> str:
    """The table of all records."""
    lines = [
        "# Reliability",
        "",
        "Made by `python -m tests.benchmarks.reliability`; its first lines say what a case is.",
        "",
    ]
    lines += [about, ""]
    for title, kinds in (("Kills at random moments", ("kill",)), ("Full disks", ("file size", "tmpfs"))):
        chosen = [record for record in records if record["how"] in kinds]
        if not chosen:
            continue
        lines += [f"## {title}", "", "| command | cases | stopped | damaged | dead ends | leftovers | tracebacks |"]
        lines += ["|---|--:|--:|--:|--:|--:|--:|"]
        for name in [*dict.fromkeys(record["command"] for record in chosen), "all"]:
            lines.append(_row(name, [record for record in chosen if name in ("all", record["command"])]))
        lines.append("")
    bad = [
        record for record in records if any(record[key] for key in ("damaged", "dead_end", "leftovers", "traceback"))
    ]
    lines += ["## Cases that were not clean", "", *(f"- `{json.dumps(record)}`" for record in bad)] if bad else []
    return "\n".join(lines).rstrip() + "\n"


def _row(name: str, records: list[dict[str, Any]]) -> str:
    counts: list[Callable[[dict[str, Any]], bool]] = [
        lambda r: True,
        lambda r: r["code"] != 0,
        lambda r: bool(r["damaged"]),
        lambda r: r["dead_end"] is not None,
        lambda r: bool(r["leftovers"]),
        lambda r: r["traceback"],
    ]
    return "| " + " | ".join([name, *(str(sum(map(count, records))) for count in counts)]) + " |"


def main() -> None:
    """Run the cases, write the records and the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--disks", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=COMMANDS)
    parser.add_argument("--add", action="store_true")
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("PRUNECTL_")]:
        del os.environ[name]
    torch.set_num_threads(1)
    for name in LOADED:
        importlib.import_module(name)
    records = [json.loads(line) for line in RECORDS.read_text().splitlines()] if chosen.add else []
    with tempfile.TemporaryDirectory(dir=chosen.folder, prefix="reliability-") as folder:
        for record in cases(chosen, Path(folder)):
            records.append({"seed": chosen.seed, **record})
            print(json.dumps(record), flush=True)
    RECORDS.write_text("".join(json.dumps(record) + "\n" for record in records))
    digest, seeds = hashlib.sha256(RECORDS.read_bytes()).hexdigest()[:12], {record["seed"] for record in records}
    about = (
        f"{len(records)} cases, seeds {', '.join(map(str, sorted(seeds)))}; prunectl {__version__}, torch "
        f"{torch.__version__}, Python {platform.python_version()}, {platform.system()}; records {digest}."
    )
    PAGE.write_text(page(records, about))


if __name__ == "__main__":
    main()
