"""Several processes that have joined, as torchrun starts them, each in the time that a fork takes."""

import contextlib
import os
import socket
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch.distributed as dist

from tests.helpers.running import Ran

_SERVER = get_context("forkserver")  # this process cannot be forked after a backward pass
_SERVER.set_forkserver_preload(
    ["torch.export._trace", "prunectl.training.trainer", "prunectl.robustness.attack", "tests.helpers.networks"]
)


def together(count: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What a function of a module returns in each of some processes, by rank."""
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(count, mp_context=_SERVER) as pool:
        runs = [pool.submit(_joined, f"{folder}/store", rank, count, function, arguments) for rank in range(count)]
        return [run.result() for run in runs]


def started(folder: Path, count: int, line: str) -> list[BaseProcess]:
    """A command in several processes, with the environment that torchrun sets; they print to files."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    made = []
    for rank in range(count):
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "localhost", "MASTER_PORT": port}
        environment = {**os.environ, **{name: str(value) for name, value in names.items()}}
        made.append(_SERVER.Process(target=_command, args=(folder, environment, line.split())))
        made[-1].start()
    return made


def ended(folder: Path, processes: list[BaseProcess]) -> list[Ran]:
    """What the processes of a command left, when all have ended."""
    found = []
    for rank, process in enumerate(processes):
        process.join(100)
        assert process.exitcode is not None, f"process {rank} does not end"
        out, err = (folder / f"{rank}.{kind}" for kind in ("out", "err"))
        found.append(Ran(process.exitcode, out.read_text(), err.read_text()))
    return found


def run_together(folder: Path, count: int, line: str) -> list[Ran]:
    """Run a command in several processes."""
    return ended(folder, started(folder, count, line))


def _command(folder: Path, environment: dict[str, str], words: list[str]) -> None:
    """Run a command as one of several processes."""
    from prunectl.__main__ import main
    from prunectl.cli import heartbeat

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    heartbeat.FIRST = 1e6
    sys.argv = ["prunectl", *words]
    rank = environment["RANK"]
    with (
        Path(f"{rank}.out").open("w") as out,
        Path(f"{rank}.err").open("w") as err,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        main()


def _joined(store: str, rank: int, count: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """What the function returns in one of the processes."""
    place = dist.FileStore(store, count)
    dist.init_process_group("gloo", store=place, rank=rank, world_size=count, timeout=timedelta(seconds=100))
    try:
        found = function(*arguments)
        dist.barrier()
        return found
    finally:
        dist.destroy_process_group()
