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
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from prunectl.checkpoints import checkpoint
from prunectl.cli import train_run
from prunectl.cli.app import main as prunectl
from prunectl.errors import PrunectlError
from prunectl.version import __version__

RECORDS = Path(__file__).with_suffix(".jsonl")
PAGE = RECORDS.with_name("RELIABILITY.md")
TRAIN = "train --model mlp5 -M hidden=64 --subset 512 -b 32 --epochs 4 -o out.safetensors"
ATTACK = "attack net.safetensors -a pgd -O steps=3 -n 200 -b 20 --eps 0.3 --save-examples 3"
COMMANDS = {
    "train": TRAIN,
    "train --force": f"{TRAIN} --force",
    "prune": "prune net.safetensors -c snip -s 0.9 -o out.safetensors",
    "prune --force": "prune net.safetensors -c snip -s 0.9 -o out.safetensors --force",
    "shrink": "shrink net.prune.safetensors -o out.safetensors",
    "repair": "repair net.prune.safetensors --method bn -n 64 -o out.safetensors",
    "eval": "eval net.safetensors --no-latency",
    "attack": ATTACK,
    "import": "import w.st --model lenet300 --input 1x28x28 --classes 10 --mean 0.5 --std 0.5 -o out.safetensors",
    "export": "export net.safetensors -o hub",
    "decode": "train --model logistic-regression --data imagefolder:pets --epochs 0 -o out.safetensors",
    "report": "report net.safetensors net.prune.safetensors -o page.html",
}
MADE = "train --model lenet300 --subset 512 --epochs 1 -o net.safetensors", "prune net.safetensors -c magnitude -s 0.9"
PATIENCE = 120.0
_CACHE = re.compile(r"-[0-9a-f]{16}(?=\.safetensors)")
"""What the place of a folder makes of the name of its cache."""
LOADED = (
    *("foolbox", "matplotlib.pyplot", "torchvision", "torch.export", "torch._dynamo", "prunectl.training.trainer"),
    *("prunectl.robustness.attack", "prunectl.pruning.prune", "prunectl.pruning.shrink", "prunectl.exchange.export"),
    *("prunectl.exchange.imported", "prunectl.pruning.repair.repair", "prunectl.reporting.page.page"),
)
"""What commands import when they need it, loaded once before all of them."""


@dataclass
class Case:
    """One command in its own folder, and what came of it."""

    root: Path
    command: str
    how: str
    limit: int | None = None
    before: dict[str, bytes] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where the command runs; its cache and $TMPDIR lie beside."""
        return self.root / "work"

    def spawn(self, line: str) -> int:
        """Begin a command in a process of its own; its pid."""
        pid = os.fork()
        if pid:
            return pid
        code = 70
        try:
            os.setsid()
            os.chdir(self.folder)
            for number, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(self.root / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.environ |= {"XDG_CACHE_HOME": str(self.root / "cache"), "TMPDIR": str(self.root / "tmp")}
            tempfile.tempdir = None
            if self.limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit, resource.RLIM_INFINITY))
            code = _run(line)
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
            os._exit(code)

    def wait(self, pid: int) -> int:
        """The exit code of a process, or minus its signal; it is killed where it hangs."""
        ends = time.monotonic() + PATIENCE
        while time.monotonic() < ends:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return 99

    def run(self, line: str) -> tuple[int, str]:
        """Run a command to its end; exit code and stderr."""
        code = self.wait(self.spawn(line))
        return code, (self.root / "err").read_text(errors="replace")

    def listing(self) -> set[str]:
        """All files of the command's three folders."""
        return {
            str(path.relative_to(self.root))
            for place in ("work", "cache", "tmp")
            for path in (self.root / place).rglob("*")
            if not path.is_dir() or (path.name.startswith(".") and not any(path.iterdir()))
        }


def _run(line: str) -> int:
    train_run._SAVE_EVERY = 0.05
    try:
        prunectl(line.split())
    except SystemExit as exited:
        return int(exited.code or 0)
    except KeyboardInterrupt:
        return 130
    except BaseException as error:  # what the program would show as a traceback
        with contextlib.suppress(OSError):
            print(f"TRACEBACK {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return 71
    return 0


def shelf(folder: Path) -> None:
    """Fill a folder with what the commands read."""
    case = Case(folder.parent, "", "")
    folder.mkdir()
    for place in ("cache", "tmp"):
        (folder.parent / place).mkdir()
    for line in MADE:
        code, told = case.run(line)
        assert code == 0, told
    save_file(
        {k: v.clone() for k, v in checkpoint.read(folder / "net.safetensors").model.state_dict().items()},
        folder / "w.st",
    )
    drawn = np.random.default_rng(0)
    for i in range(160):
        place = folder / "pets" / ("train" if i < 120 else "test") / "abcd"[i % 4]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn.integers(0, 256, (96, 96, 3), np.uint8)).save(place / f"{i}.png")


def begin(root: Path, made: Path, command: str, how: str) -> Case:
    """A new folder for a case; where the command may replace its output, there is one."""
    case = Case(root, command, how)
    for place in ("cache", "tmp"):
        (root / place).mkdir(parents=True)
    shutil.copytree(made, case.folder, dirs_exist_ok=True)
    if "--force" in command:
        for suffix in (".safetensors", ".mask.safetensors"):
            shutil.copy(case.folder / f"net.prune{suffix}", case.folder / f"out{suffix}")
    return case


def whole(path: Path) -> bool:
    """Whether a checkpoint reads."""
    try:
        checkpoint.read(path)
    except PrunectlError:
        return False
    return True


def damaged(case: Case) -> list[str]:
    """The files of before that are not what they were, and not a whole new one where the command replaces them."""
    found = []
    for name, data in case.before.items():
        path = case.folder / name
        now = path.read_bytes() if path.is_file() else None
        if name.startswith("out."):
            continue
        if now != data and not (name.endswith(".results.jsonl") and (now or b"").startswith(data)):
            found.append(name)
    if "--force" in case.command and not whole(case.folder / "out.safetensors"):
        found.append("out.safetensors")
    return found


def next_step(case: Case) -> str | None:
    """Do what the user would do next; why that led nowhere, None where the result is there."""
    line, out = COMMANDS[case.command], case.folder / "out.safetensors"
    paused = case.folder / "out.resume.safetensors"
    if line.startswith("train") and paused.exists():
        line = f"train --resume {paused.name}{' --force' if '--force' in line else ''}"
    code, told = case.run(line)
    if code == 1 and "go on with --resume" in told:
        code, told = case.run(f"{line} --resume")
    made = out if out.exists() else case.folder / "hub"
    if code == 1 and "exists" in told and "--force" not in line:  # it was done already
        return None if case.command == "report" or whole(made) or _noted(case) else told.strip()
    if code:
        return f"{code}: {told.strip()[-300:]}"
    return None if "out.safetensors" not in line or whole(out) else "no whole output"


def _noted(case: Case) -> bool:
    """Whether an attack was noted before its process died."""
    records = case.folder / "net.results.jsonl"
    return case.command == "attack" and records.exists() and records.read_bytes().endswith(b"\n")


def leftovers(case: Case, results: set[str]) -> list[str]:
    """What lies there and is no result of an undisturbed run; caches are results, too."""
    known = {_CACHE.sub("", name) for name in results}
    found = (name for name in case.listing() if _CACHE.sub("", name) not in known)
    return sorted(name for name in found if "prunectl-kept-" not in name)


def finish(case: Case, code: int, results: set[str], more: dict[str, Any]) -> dict[str, Any]:
    """Look at what a case has left, do the next step, and look again."""
    told = (case.root / "err").read_text(errors="replace")
    hurt = damaged(case)
    case.limit = None
    if case.how == "tmpfs":  # the user makes room
        subprocess.run(["mount", "-o", "remount,size=1g", str(case.folder)], check=True)
    end = next_step(case)
    return {
        "how": case.how,
        "command": case.command,
        **more,
        "code": code,
        "traceback": "TRACEBACK" in told or "Traceback" in told,
        "damaged": hurt + [name for name in damaged(case) if name not in hurt],
        "dead_end": end,
        "leftovers": leftovers(case, results),
    }


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
