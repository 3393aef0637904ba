"""Code blocks of Markdown documents: taken out, run, or checked where they cannot run."""

import contextlib
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from prunectl.cli import in_process
from tests.helpers.running import run_line

_BLOCK = re.compile(r"^```(?P<language>\w*) ?(?P<note>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_EXPORT = re.compile(r"export (PRUNECTL_\w+)=(\w+)")
_FILE = re.compile(r"# ([\w-]+\.py)\n")
_RECORDER = """
prunectl() { local line; printf -v line '%q ' "$@"; echo "$line" >>commands.txt; }  # one write
torchrun() { while [ "$1" != prunectl ]; do shift; done; "$@"; }
srun() { "$@"; }
scontrol() { :; }
head() { :; }
pip() { :; }
tensorboard() { :; }
PATH=/nowhere
"""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what follows it on the fence, and its lines."""

    language: str
    note: str
    text: str


def blocks(document: str) -> list[Block]:
    """The fenced blocks of a document, in order."""
    return [Block(found["language"], found["note"], found["text"]) for found in _BLOCK.finditer(document)]


def steps(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each as one line, and the output that the block shows."""
    for part in text.removeprefix("$ ").split("\n$ "):
        lines = part.rstrip("\n").split("\n")
        count = next(i for i, line in enumerate(lines) if not line.endswith(("\\", "|"))) + 1
        command = " ".join(line.removesuffix("\\").strip() for line in lines[:count])
        yield command, "\n".join(lines[count:])


def run_blocks(document: str, folder: Path, names: dict[str, Any]) -> dict[str, Any]:
    """Run the console and Python blocks of a document in a folder; returns the names that the Python blocks define.

    A Python block that begins with `# NAME.py` is that file. A `sh` block is not run: see `commands_of`.
    """
    for block in blocks(document):
        if block.language == "console":
            with pytest.MonkeyPatch.context() as patch:
                for command, shown in steps(block.text):
                    _run(folder, command, shown, patch)
        elif block.language == "python":
            if file := _FILE.match(block.text):
                folder.joinpath(file[1]).write_text(block.text, encoding="utf-8")
            else:
                with contextlib.chdir(folder):
                    exec(compile(block.text, "a Python block", "exec"), names)
        elif block.language == "toml":
            tomllib.loads(block.text)
    return names


def _run(folder: Path, command: str, shown: str, patch: pytest.MonkeyPatch) -> None:
    if setting := _EXPORT.fullmatch(command):
        patch.setenv(setting[1], setting[2])
        return
    command, _, file = command.partition(" > ")
    ran = run_line(folder, command)
    assert ran.code == 0, f"{command}\n{ran.err}"
    if file:
        folder.joinpath(file).write_text(ran.out, encoding="utf-8")
    if shown:
        assert ran.out.rstrip("\n") == shown, command
    else:
        assert ran.out.strip(), command


def commands_of(script: str, folder: Path) -> list[list[str]]:
    """The arguments of every `prunectl` that a shell script runs; nothing but the shell itself runs."""
    done = subprocess.run(
        ["bash", "-c", f"{_RECORDER}\n{script}\nwait"], cwd=folder, stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 0, script
    return [shlex.split(line) for line in folder.joinpath("commands.txt").read_text(encoding="utf-8").splitlines()]


def check_commands(script: str, folder: Path) -> None:
    """Parse every `prunectl` that a shell script runs: its command and options are known."""
    found = commands_of(script, folder)
    assert found, script
    for arguments in found:
        in_process.read(arguments)
