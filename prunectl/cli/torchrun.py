"""Processes that `torchrun` started: which commands they share, and how only the first one writes, prints and fails."""

import functools
import io
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from prunectl.errors import Interrupted, OptionError

T = TypeVar("T")
SHARED = frozenset({"attack", "eval", "prune", "train"})
"""Commands whose work is shared; the first process runs every other one alone."""
_REFUSED = {"sweep": "starts its own processes", "rerun": "runs each command as it ran before"}
_PATIENCE = 20.0
"""Seconds after which a process that failed says so itself: where the first one fails too, torchrun ends it sooner."""
_NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE")


def rank() -> int:
    """The number of this process among those that `torchrun` started; 0 without it."""
    return int(os.environ.get("RANK", "0")) if size() > 1 else 0


def size() -> int:
    """How many processes `torchrun` started; 1 without it."""
    count = os.environ.get("WORLD_SIZE", "1")
    return int(count) if count.isdecimal() else 1


@contextmanager
def following() -> Iterator[None]:
    """In all processes but the first, print nothing, and let the first one fail first, which says why.

    torchrun ends all processes when one fails: one that is still there later failed alone, and says so.
    """
    if not rank():
        yield
        return
    streams, said = (sys.stdout, sys.stderr), io.StringIO()
    sys.stdout, sys.stderr = io.StringIO(), said
    try:
        yield
    except SystemExit as error:
        if error.code not in (None, 0, Interrupted.exit_code):
            time.sleep(_PATIENCE)
            print(f"process {rank()} of {size()}: {said.getvalue()[-2000:]}", end="", file=streams[1])
        raise
    finally:
        sys.stdout, sys.stderr = streams


def from_first(value: Callable[[], T]) -> T:
    """What the first process finds, on all that share a command; the others do not look."""
    if size() == 1:
        return value()
    from prunectl.torchtools import distributed

    return distributed.from_first(value)


@contextmanager
def ahead() -> Iterator[None]:
    """The first process runs ahead, for example to download and decode what the others then read."""
    if size() == 1:
        yield
        return
    from prunectl.torchtools import distributed

    if not distributed.leads():
        distributed.wait_for_all()
    yield
    if distributed.leads():
        distributed.wait_for_all()


def joining(name: str, command: Callable[..., None]) -> Callable[..., None]:
    """A command that shares its work with the other processes, or that the first one runs alone."""

    @functools.wraps(command)
    def run(**parameters: Any) -> None:
        if size() == 1:
            return command(**parameters)
        if name in _REFUSED:
            raise OptionError(f"{name} {_REFUSED[name]}; start it without torchrun")
        if name in SHARED:
            return _shared(command, parameters)
        if rank() == 0:
            for variable in _NAMES:
                os.environ.pop(variable, None)
            command(**parameters)
        return None

    return run


def _shared(command: Callable[..., None], parameters: dict[str, Any]) -> None:
    """Run a command in all processes; the first one alone checks what its files would replace.

    Raises:
        LostProcess: another process has ended.
    """
    from prunectl.torchtools import distributed

    if rank() and "force" in parameters:
        parameters["force"] = True
    with _terminated(), distributed.together():
        command(**parameters)


@contextmanager
def _terminated() -> Iterator[None]:
    """SIGTERM, which torchrun sends to all when one has ended, is one line.

    Raises:
        Interrupted: it came.
    """

    def stop(number: int, frame: object) -> None:
        raise Interrupted("stopped by SIGTERM: another process has ended, or torchrun was stopped; nothing is written")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except BaseException:
        if not rank():  # it says why in a moment, and ends then
            before = signal.SIG_IGN
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
