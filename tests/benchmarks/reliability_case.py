"""A command in a folder of its own that is killed or meets a full disk, and what is wrong afterwards."""

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from prunectl.checkpoints import checkpoint
from prunectl.cli import train_run
from prunectl.cli.app import main as prunectl
from prunectl.errors import PrunectlError

TRAIN = "train --model mlp5 -M hidden=64 --subset 512 -b 32 --epochs 4 -o out.safetensors"
ATTACK = "attack net.safetensors -a pgd -O steps=3 -n 200 -b 20 --eps 0.3 --save-examples 3"
COMMANDS = {
    "train": TRAIN,
    "train --force": f"{TRAIN} --force",
    "torchrun train": TRAIN,
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
PATIENCE = 1800.0
"""Seconds until a command counts as one that hangs; on a machine with much else to do, a page takes minutes."""
RANKS = 2
"""The processes of a command of torchrun."""
_CACHE = re.compile(r"-[0-9a-f]{16}(?=\.safetensors)")
"""What the place of a folder makes of the name of its cache."""


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

    def spawn(self, line: str, cold: bool = False) -> int:
        """Begin a command in a process of its own, or one that loads all anew; its pid."""
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
            if cold:
                os.execv(sys.executable, [sys.executable, "-m", "prunectl", *line.split()])
            code = _ranks(line) if self.command.startswith("torchrun") else _run(line)
            (self.root / "modules").write_text(json.dumps(list(sys.modules)))
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
        found: set[str] = set()
        for place in ("work", "cache", "tmp"):
            _list(self.root / place, place, found)
        return found


def _list(folder: Path, name: str, found: set[str]) -> None:
    """Add the files below a folder, and hidden folders that are empty; it may change meanwhile."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            path = f"{name}/{entry.name}"
            if not entry.is_dir(follow_symlinks=False):
                found.add(path)
            elif path not in ("work/pets", "cache/matplotlib"):  # images that are only read; not of prunectl
                size = len(found)
                _list(Path(entry.path), path, found)
                if len(found) == size and entry.name.startswith("."):
                    found.add(path)


def _ranks(line: str) -> int:
    """Run a command in several processes and end all when one fails, as torchrun does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(RANKS)}
    pids = []
    for rank in range(RANKS):
        pids.append(os.fork())
        if not pids[-1]:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            code = 70
            try:
                code = _run(line)
            finally:
                with contextlib.suppress(OSError, ValueError):
                    sys.stdout.flush()
                os._exit(code)
    failed = 0
    while pids:
        ended, status = os.wait()
        pids.remove(ended)
        code = os.waitstatus_to_exitcode(status)
        if code and not failed:
            failed = code if code > 0 else 1
            for pid in pids:
                os.kill(pid, signal.SIGTERM)
    return failed


def _run(line: str) -> int:
    torch.set_num_threads(1)  # torch's pool is made again after a fork, and aborts where two threads begin with that
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
        images = folder / "pets" / ("train" if i < 120 else "test") / "abcd"[i % 4]
        images.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn.integers(0, 256, (96, 96, 3), np.uint8)).save(images / f"{i}.png")


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


def next_step(case: Case, tensors: Path) -> str | None:
    """Do what the user would do next; why that led not to the same tensors, None where the result is there."""
    line, out = COMMANDS[case.command], case.folder / "out.safetensors"
    paused = case.folder / "out.resume.safetensors"
    if line.startswith("train") and paused.exists():
        line = f"train --resume {paused.name}{' --force' if '--force' in line else ''}"
    code, told = case.run(line)
    if code == 1 and "continue with --resume" in told:
        code, told = case.run(f"{line} --resume")
    made = out if out.exists() else case.folder / "hub"
    if code == 1 and "exists" in told and "--force" not in line:  # it was done already
        return None if case.command == "report" or whole(made) or _noted(case) else told.strip()
    if code:
        return f"{code}: {told.strip()[-300:]}"
    if "out.safetensors" not in COMMANDS[case.command]:
        return None
    return _differs(out, tensors) if whole(out) else "no whole output"


def _differs(out: Path, tensors: Path) -> str | None:
    """The tensors of an output that are not those of the undisturbed run, bit by bit."""
    found, expected = load_file(out), load_file(tensors)
    if found.keys() != expected.keys():
        return "other tensors"
    names = [name for name in found if not torch.equal(found[name], expected[name])]
    return f"other values: {', '.join(names)}" if names else None


def _noted(case: Case) -> bool:
    """Whether an attack was noted before its process died."""
    records = case.folder / "net.results.jsonl"
    return case.command == "attack" and records.exists() and records.read_bytes().endswith(b"\n")


def leftovers(case: Case, results: set[str]) -> list[str]:
    """What lies there and is no result of an undisturbed run; caches are results, too."""
    known = {_CACHE.sub("", name) for name in results}
    found = (name for name in case.listing() if _CACHE.sub("", name) not in known)
    return sorted(name for name in found if "prunectl-kept-" not in name)


def finish(case: Case, code: int, results: set[str], tensors: Path, more: dict[str, Any]) -> dict[str, Any]:
    """Look at what a case has left, do the next step, and look again."""
    told = (case.root / "err").read_text(errors="replace")
    hurt = damaged(case)
    case.limit = None
    if case.how == "tmpfs":  # the user makes room
        subprocess.run(["mount", "-o", "remount,size=1g", str(case.folder)], check=True)
    end = next_step(case, tensors)
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
