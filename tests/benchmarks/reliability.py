"""Kills, Ctrl-C and full disks at random moments: what they damage, where they leave the user, what they leave behind.

    python -m tests.benchmarks.reliability [--kills 30] [--disks 30] [--seed 0] [--only COMMAND] [--add] [--folder DIR]

Each case begins in a new copy of a folder with checkpoints, images and results. A process that has loaded prunectl
forks, and the child runs one command, with trainings saved every 0.05 s. A kill (SIGKILL) comes at a random moment of
the processor time that the command took undisturbed, or as soon as the n-th change of its folders is seen; one in 15
comes during the start of Python and the imports. `torchrun train` is two processes that train together; one of them is
killed, or all. A full disk is a limit on the size of files (RLIMIT_FSIZE) or a small tmpfs, where the system lets one
be mounted. Then the user does what is at hand: goes on with the training or attack that was interrupted, else gives the
command again. A line of reliability.jsonl holds one case:

    damaged    files of before that are not what they were, or not whole where the command may replace them
    dead_end   why what the user does next did not lead to the tensors of an undisturbed run; null where it did
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from prunectl.version import __version__
from tests.benchmarks import mutants, soak
from tests.benchmarks.reliability_case import COMMANDS, Case, begin, finish, shelf
from tests.helpers.fuzzing import CAMPAIGNS

RECORDS = Path(__file__).with_suffix(".jsonl")
PAGE = RECORDS.with_name("RELIABILITY.md")
LOADED = (
    *("foolbox", "matplotlib.pyplot", "torchvision", "torch.export", "torch._dynamo", "prunectl.training.trainer"),
    *("prunectl.robustness.attack", "prunectl.pruning.prune", "prunectl.pruning.shrink", "prunectl.exchange.export"),
    *("prunectl.exchange.imported", "prunectl.pruning.repair.repair", "prunectl.reporting.page.page"),
)
"""What commands import when they need it, loaded once before all of them."""
COLD = 1 / 15
"""The share of kills that come during the start of Python and the imports."""


@dataclass
class Whole:
    """An undisturbed run of a command: what it took, and what it left."""

    seconds: float
    processor: float
    changes: int
    results: set[str]
    largest: int
    tensors: Path


def spent(pid: int) -> float:
    """Seconds of processor time of a process and of those that it started."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK") + sum(spent(int(child)) for child in children)
    return 0.0


def kill(case: Case, whole: Whole, cold: float | None, drawn: random.Random) -> dict[str, Any]:
    """Kill the command at a random moment of its processor time, or at a random change in its folders."""
    moment = drawn.uniform(0, 0.95 * whole.processor) if cold is None else drawn.uniform(0, cold)
    change = drawn.randint(1, whole.changes) if cold is None and drawn.random() < 0.5 else None
    pid, changes, seen, after = case.spawn(COMMANDS[case.command], cold is not None), 0, case.listing(), 0.0
    at = f"change {change}" if change else f"{moment:.2f} s{' from the start of Python' if cold else ''}"
    while changes < change if change else after < moment:
        ended, status, used = os.wait4(pid, os.WNOHANG)
        if ended:  # sooner than it did undisturbed
            if cold is None and not status:
                whole.processor = min(whole.processor, used.ru_utime + used.ru_stime)
                whole.changes = min(whole.changes, changes) if change and changes else whole.changes
            return {"code": os.waitstatus_to_exitcode(status), "at": at}
        if change:
            now = case.listing()
            changes, seen = changes + (now != seen), now
        else:
            after = spent(pid)
        time.sleep(0.0005)
    victims = [-pid]
    if case.command.startswith("torchrun") and drawn.random() < 2 / 3:  # one of its processes
        ranks = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        victims = [int(drawn.choice(ranks))] if ranks else victims
        at += f", one of {len(ranks)} processes" if ranks else ""
    for victim in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    return {"code": case.wait(pid), "at": at}


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


def measured(folder: Path, made: Path, command: str) -> Whole:
    """An undisturbed run, after one that says which modules to load before it."""
    first = begin(folder / "first", made, command, "undisturbed")
    code, told = first.run(COMMANDS[command])
    assert code == 0, f"{command}: {told}"
    for name in json.loads((first.root / "modules").read_text()):
        if name != "__mp_main__":
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    case = begin(folder / "whole", made, command, "undisturbed")
    before, begun = case.listing(), time.monotonic()
    pid, changes, seen = case.spawn(COMMANDS[command]), 0, before
    while not (ended := os.wait4(pid, os.WNOHANG))[0]:
        now = case.listing()
        changes, seen = changes + (now != seen), now
        time.sleep(0.0005)
    assert ended[1] == 0, f"{command}: {(case.root / 'err').read_text()}"
    seconds, after = time.monotonic() - begun, case.listing()
    sizes = [(case.root / name).stat().st_size for name in after - before if (case.root / name).exists()]
    processor = ended[2].ru_utime + ended[2].ru_stime
    return Whole(seconds, processor, max(changes, 1), after, max(sizes, default=1), case.folder / "out.safetensors")


def cold_start(folder: Path, made: Path) -> float:
    """Seconds of processor time of a command with all its imports."""
    case = begin(folder, made, "eval", "undisturbed")
    _, status, used = os.wait4(case.spawn(COMMANDS["eval"], cold=True), 0)
    assert status == 0, (case.root / "err").read_text()
    return used.ru_utime + used.ru_stime


def cases(chosen: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """Run all cases, the commands in turn."""
    made = folder / "shelf" / "work"
    (folder / "shelf").mkdir()
    shelf(made)
    drawn = random.Random(chosen.seed)
    names = [name for name in COMMANDS if chosen.only in (None, name)]
    known = {name: measured(folder / f"whole-{i}", made, name) for i, name in enumerate(names)}
    start = cold_start(folder / "cold", made)
    for i in range(chosen.kills + chosen.disks):
        killed = i < chosen.kills
        some = names if killed else [name for name in names if not name.startswith("torchrun")]
        name, root = some[(i + chosen.seed) % len(some)], folder / f"case-{i}"
        whole = known[name]
        tmpfs = not killed and drawn.random() < 0.5
        with contextlib.ExitStack() as stack:
            how = "kill" if killed else "file size"
            pages = sum(-(-p.stat().st_size // 4096) + 1 for p in [*made.rglob("*"), *made.glob("net.prune.*")])
            size = 4096 * pages + drawn.randint(0, 2 * whole.largest)
            if tmpfs and stack.enter_context(small_disk(root / "work", size)):
                how = "tmpfs"
            case = begin(root, made, name, how)
            files = (path for path in case.folder.rglob("*") if path.is_file())
            case.before = {str(path.relative_to(case.folder)): path.read_bytes() for path in files}
            if killed:
                cold = drawn.random() < COLD and not name.startswith("torchrun")
                more = kill(case, whole, start if cold else None, drawn)
            else:
                more = fill(case, whole.seconds, 1 << 40 if how == "tmpfs" else whole.largest, drawn)
            yield finish(case, more.pop("code"), whole.results, whole.tensors, more)
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
    if CAMPAIGNS.exists():
        lines += ["", *damaged_files([json.loads(line) for line in CAMPAIGNS.read_text().splitlines()])]
    for others in (mutants, soak):
        if others.RECORDS.exists():
            lines += ["", *others.table(json.loads(others.RECORDS.read_text()))]
    return "\n".join(lines).rstrip() + "\n"


def damaged_files(campaigns: list[dict[str, Any]]) -> list[str]:
    """The sum of all campaigns with damaged files."""
    names = [name for name in campaigns[0] if name not in ("seed", "mended")]
    sums = (str(sum(campaign[name] for campaign in campaigns)) for name in names)
    return [
        "## Damaged files",
        "",
        "Files of every kind, damaged at random, each given to two of the commands that read its kind",
        "(`python -m tests.helpers.fuzzing`). A hang takes more than 10 s of processor time, a jump takes 1 GB more.",
        "",
        f"| {' | '.join(names)} |",
        f"|{'--:|' * len(names)}",
        f"| {' | '.join(sums)} |",
        "",
        *(f"- seed {each['seed']}: mended {each['mended']}" for each in campaigns if "mended" in each),
    ]


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
    if not chosen.add:
        RECORDS.write_text("")
    records = [json.loads(line) for line in RECORDS.read_text().splitlines()]
    with tempfile.TemporaryDirectory(dir=chosen.folder, prefix="reliability-") as folder:
        for record in cases(chosen, Path(folder)):
            records.append({"seed": chosen.seed, **record})
            print(json.dumps(record), flush=True)
            with RECORDS.open("a") as file:  # now, as the campaign itself may be stopped
                file.write(json.dumps(records[-1]) + "\n")
    digest, seeds = hashlib.sha256(RECORDS.read_bytes()).hexdigest()[:12], {record["seed"] for record in records}
    about = (
        f"{len(records)} cases, seeds {', '.join(map(str, sorted(seeds)))}; prunectl {__version__}, torch "
        f"{torch.__version__}, Python {platform.python_version()}, {platform.system()}; records {digest}."
    )
    PAGE.write_text(page(records, about))


if __name__ == "__main__":
    main()
