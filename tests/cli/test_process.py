"""The process: memory that it keeps, and an end by Ctrl-C at its very start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# a string of 64 MB, written and freed again and again: each is 16,384 pages of 4 KB
TURNS = """
import resource
from prunectl.cli.process import prepare
prepare()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    b"x" * (64 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**setting: str) -> int:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", TURNS], env={**plain, **setting}, check=True, capture_output=True, text=True
    )
    return int(done.stdout)


@pytest.mark.parametrize("setting", ["MALLOC_ARENA_TEST", "GLIBC_TUNABLES"])
def test_freed_memory_is_kept_unless_the_user_has_set_the_allocator(setting: str) -> None:
    given_back = faults(**{setting: "8" if setting.startswith("MALLOC") else "glibc.malloc.arena_test=8"})
    assert given_back > 5 * faults()


def test_ctrl_c_while_the_program_is_being_loaded_is_no_traceback(tmp_path: Path) -> None:
    """`typer`, the first library that is loaded, is one here in which Ctrl-C comes."""
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt\n")
    done = subprocess.run(
        [sys.executable, "-m", "prunectl", "criteria"],
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
