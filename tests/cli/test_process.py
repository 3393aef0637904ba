"""The process: memory that it keeps, and an end by Ctrl-C at its very start."""

import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from prunectl.cli import waiting

# a string of 64 MB, written and freed again and again: each is 16,384 pages of 4 KB
TURNS = """
import resource, sys
from prunectl.cli.process import prepare
prepare(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    b"x" * (64 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(command: str = "train", **setting: str) -> int:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", TURNS, command], env={**plain, **setting}, check=True, capture_output=True, text=True
    )
    return int(done.stdout)


@pytest.mark.parametrize("setting", ["MALLOC_ARENA_TEST", "GLIBC_TUNABLES"])
def test_freed_memory_is_kept_unless_the_user_has_set_the_allocator(setting: str) -> None:
    given_back = faults(**{setting: "8" if setting.startswith("MALLOC") else "glibc.malloc.arena_test=8"})
    assert given_back > 5 * faults()


def test_commands_that_look_at_weights_alone_give_freed_memory_back() -> None:
    assert faults("shrink") > 5 * faults("eval")


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


def test_a_step_that_waits_for_its_path_loads_what_it_will_import(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    loaded, lines = [], []

    def load(name: str) -> None:
        loaded.append(name)
        if name == waiting.LATER["shrink"][-1]:  # the last: now the step before is ready
            os.write(writing, b"net.safetensors\n")

    def command() -> None:
        with os.fdopen(reading) as stream:
            lines.append(waiting.line_of(stream))
        import colorsys  # noqa: F401
        from json import tool  # noqa: F401

    monkeypatch.setattr(waiting.importlib, "import_module", load)
    waiting.loading_ahead("shrink", command)()
    os.close(writing)
    assert lines == ["net.safetensors\n"]
    assert loaded == ["colorsys", "json", *waiting.LATER["shrink"]]


@pytest.mark.parametrize("written", [b"", b"net.safetensors\n"])
def test_a_step_that_need_not_wait_loads_nothing_ahead(written: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.write(writing, written)
    os.close(writing)
    loaded, lines = [], []

    def command() -> None:
        with os.fdopen(reading) as stream:
            lines.append(waiting.line_of(stream))
        import colorsys  # noqa: F401

    monkeypatch.setattr(waiting.importlib, "import_module", loaded.append)
    waiting.loading_ahead("eval", command)()
    assert (lines, loaded) == ([written.decode()], [])


@pytest.mark.parametrize("name", [name for names in waiting.LATER.values() for name in names])
def test_what_is_loaded_ahead_exists(name: str) -> None:
    assert importlib.util.find_spec(name) is not None


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not list their processes")
def test_commands_of_a_pipe_are_counted_in_the_order_of_the_pipe() -> None:
    """Three stages count once all have started; the shell, whose line names prunectl too, comes before all."""
    count = "import sys, time; from prunectl.cli.waiting import commands_before as c; time.sleep(2); n = c(); "
    stage = f"{sys.executable} -c '{count}time.sleep(2); print(sys.stdin.read(), n)'"
    line = f"true | {' | '.join([stage] * 3)}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, start_new_session=True)
    assert done.stdout.split() == ["1", "2", "3"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no priority of a thread")
@pytest.mark.parametrize(("before", "own", "set_to"), [(0, 0, 4), (2, 0, 10), (9, 0, 19), (1, 15, 15)])
def test_loading_is_as_nice_as_its_place_and_never_less_than_before(before, own, set_to, monkeypatch) -> None:
    found = []
    monkeypatch.setattr(waiting, "commands_before", lambda: before)
    monkeypatch.setattr(waiting.os, "getpriority", lambda *_: own)
    monkeypatch.setattr(waiting.os, "setpriority", lambda kind, thread, niceness: found.append(niceness))
    waiting._load([], threading.Event())
    assert found == [set_to]
