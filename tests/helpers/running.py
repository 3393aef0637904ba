"""Running the command line: in this process where it can be, in a program of its own where it must."""

import contextlib
import hashlib
import io
import os
import shlex
import subprocess
import sys
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import typer.main

from prunectl.cli import heartbeat
from prunectl.cli.app import main

_CALM = "from prunectl.cli import heartbeat; heartbeat.FIRST = 1e6; from prunectl.__main__ import main; main()"
"""The program without signs of life, which a loaded machine would add to what it prints."""
PROGRAM = [sys.executable, "-c", _CALM]
WITHOUT_TORCH = f"import sys; sys.modules['torch'] = None; {_CALM}"


_commands = cache(typer.main.get_command)
"""The parser of an app, which typer builds anew at each call: a process of its own calls once."""


@dataclass(frozen=True)
class Ran:
    """What a run of the command line left behind."""

    code: int
    out: str
    err: str


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run_cli(folder: Path, *arguments: object, stdin: str | bytes | None = "") -> Ran:
    """Run `prunectl ARGUMENTS` in `folder`, as the program would; `stdin` None is a terminal, a bug comes through."""
    out, err = io.StringIO(), io.StringIO()
    given = stdin.encode() if isinstance(stdin, str) else stdin
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as exited,
    ):
        patch.setattr(typer.main, "get_command", _commands)
        patch.setattr(heartbeat, "FIRST", float(threading.TIMEOUT_MAX))  # a loaded machine would add lines
        patch.setattr(sys, "argv", ["prunectl", *map(str, arguments)])
        piped = _Terminal() if given is None else io.TextIOWrapper(io.BytesIO(given), encoding="utf-8")
        patch.setattr(sys, "stdin", piped)
        main()
    return Ran(int(exited.value.code or 0), out.getvalue(), err.getvalue())


def run_line(folder: Path, line: str) -> Ran:
    """Run `prunectl A | prunectl B` as a shell with pipefail would, but one after the other in this process."""
    ran = Ran(0, "", "")
    for command in line.split(" | "):
        program, *arguments = shlex.split(command)
        assert program == "prunectl", line
        ran = run_cli(folder, *arguments, stdin=ran.out)
        if ran.code:
            break
    return ran


def run_without_torch(folder: Path, *arguments: str, before: str = "", **environment: str) -> Ran:
    """Run `prunectl ARGUMENTS` as a program in which every import of torch fails, after the code `before`."""
    done = subprocess.run(
        [sys.executable, "-c", before + WITHOUT_TORCH, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def run_shell(folder: Path, script: str) -> Ran:
    """Run a bash script in which `prunectl` is this one, with pipefail."""
    function = f'prunectl() {{ {shlex.join(PROGRAM)} "$@"; }}; set -o pipefail\n'
    done = subprocess.run(
        ["bash", "-c", function + script],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def listing(folder: Path) -> dict[str, str]:
    """Every file and folder below `folder`, with the hash of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }
