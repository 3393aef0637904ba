"""Runs commands in processes of `torchrun`: some share their work; only the first process writes, prints and fails."""

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
"""Commands whose work is shared; all others run only in the first process."""
_REFUSED = {"sweep": "starts its own processes", "rerun": "runs each command as it ran before"}
_PATIENCE = 20.0
"""Seconds after which a failed process prints its error: if the first one fails too, torchrun ends it sooner."""
_NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE")


def rank() -> int:
    """The number of this process among those of `torchrun`; 0 without it."""
    return int(os.environ.get("RANK", "0")) if size() > 1 else 0


def size() -> int:
    """The number of processes of `torchrun`; 1 without it."""
    count = os.environ.get("WORLD_SIZE", "1")
    return int(count) if count.isdecimal() else 1


@contextmanager
def following() -> Iterator[None]:
    """In all processes except the first, print nothing, and let the first one fail and report first.

    torchrun ends all processes when one fails: a process that still runs later failed alone, and reports it.
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
    """A value from the first process, sent to all that share a command."""
    if size() == 1:
        return value()
    from prunectl.torchtools import distributed

    return distributed.from_first(value)


@contextmanager
def ahead() -> Iterator[None]:
    """Let the first process run ahead, for example to download and decode what the others then read."""
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
    """Wrap a command to share its work with the other processes, or to run only in the first one."""

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
    """Run a command in all processes; only the first one checks which files it would replace.

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
    """Turn SIGTERM, which torchrun sends to all when one process ends, into one line.

    Raises:
        Interrupted: SIGTERM arrived.
    """

    def stop(number: int, frame: object) -> None:
        raise Interrupted("stopped by SIGTERM: another process has ended, or torchrun was stopped; nothing is written")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except BaseException:
        if not rank():  # it is about to report the reason and end
            before = signal.SIG_IGN
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
