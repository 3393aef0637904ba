"""The command line in a folder of the test's own, and small checkpoints that it made once."""

import gc
import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small networks gain nothing, and torch reads this when it is imported

from tests.helpers.running import Ran, listing, run_cli

MADE_ONCE = (
    "train --model lenet300 --data digits --epochs 1 --subset 256 --device cpu -o net.safetensors",
    "prune net.safetensors --criterion magnitude --sparsity 0.98 --device cpu",
    "shrink net.prune.safetensors --device cpu",
    "prune --model logistic-regression --image-size 4 --criterion magnitude -s 0.5 --device cpu -o tiny.safetensors",
)


def pytest_configure() -> None:
    """Do once what each start of prunectl does anew, as the tests start it thousands of times.

    Without bytecode each process would compile 200 files. A command asks what packages are installed.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    importlib.metadata.entry_points = cache(importlib.metadata.entry_points)


@pytest.hookimpl(optionalhook=True)  # pytest-xdist may be off
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """A worker for each core; none where tests are named one by one, as each worker imports torch."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    if any("::" in argument for argument in config.args):
        return 0
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def pytest_itemcollected(item: pytest.Item) -> None:
    """A case that needs a GPU, minutes or a browser is not one of the long ones as well, which CI runs."""
    if {mark.name for mark in item.own_markers} & {"gpu", "slow", "browser"}:
        item.own_markers = [mark for mark in item.own_markers if mark.name != "long"]


def pytest_collection_finish() -> None:
    """Keep what was imported for the tests out of every later garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _graphs_of_all_tests() -> None:
    """Keep the graph of every network that is traced: torch.export was a quarter of the time of all tests."""
    if (graphs := sys.modules.get("prunectl.structure.graphs")) is not None:
        graphs._MOST = 10_000


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    """Keep the settings of whoever runs the tests out of them, and the command line on the cpu."""
    for name in list(os.environ):
        if name.startswith("PRUNECTL_") or name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "COLUMNS"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PRUNECTL_DEVICE", "cpu")


@pytest.fixture
def raw(tmp_path) -> Callable[..., Ran]:
    """`raw("eval", "net.safetensors", stdin="")` runs a command in the test's folder: exit code, stdout, stderr."""
    return partial(run_cli, tmp_path)


@pytest.fixture
def cli(raw) -> Callable[..., str]:
    """Run a command that must end well; returns stdout."""

    def run(*arguments: object, stdin: str | bytes | None = "") -> str:
        ran = raw(*arguments, stdin=stdin)
        assert ran.code == 0, ran.err
        return ran.out

    return run


@pytest.fixture
def refused(raw, tmp_path) -> Callable[..., str]:
    """Run a command that must fail with exit code 1 and one line, and change nothing; returns the line."""

    def run(*arguments: object, stdin: str | bytes | None = "") -> str:
        before = listing(tmp_path)
        ran = raw(*arguments, stdin=stdin)
        assert (ran.code, ran.out) == (1, ""), ran.err
        assert ran.err.startswith("prunectl: "), ran.err
        assert ran.err.count("\n") == 1, ran.err
        assert listing(tmp_path) == before
        return ran.err

    return run


@pytest.fixture(scope="session")
def shelf(tmp_path_factory) -> Path:
    """A folder with a trained, a pruned and a shrunk LeNet-300-100, and a tiny pruned logistic regression."""
    folder = tmp_path_factory.mktemp("shelf")
    for line in MADE_ONCE:
        ran = run_cli(folder, *line.split())
        assert ran.code == 0, ran.err
    return folder


def _copied(shelf: Path, name: str, folder: Path) -> Path:
    for file in shelf.glob(f"{name}.*safetensors"):
        shutil.copy(file, folder)
    return folder / f"{name}.safetensors"


@pytest.fixture
def net(shelf, tmp_path) -> Path:
    """In the test's folder: net.safetensors, net.prune.safetensors (98 %), net.prune.shrink.safetensors."""
    return _copied(shelf, "net", tmp_path)


@pytest.fixture
def tiny(shelf, tmp_path) -> Path:
    """In the test's folder: tiny.safetensors, 10 x 16 weights of which 80 are kept."""
    return _copied(shelf, "tiny", tmp_path)


@pytest.fixture
def quick_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time no longer than the least number of turns, of a call each."""
    monkeypatch.setattr("prunectl.measuring.latency._SECONDS", 0.0)
    monkeypatch.setattr("prunectl.measuring.latency.TURN_SECONDS", 0.0)
    monkeypatch.setattr("prunectl.measuring.latency._MOST_SECONDS", 0.0)
