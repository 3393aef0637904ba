"""Runs one command in several processes that `torchrun` started: each takes its share of every batch."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import groupby
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from prunectl.errors import LostProcess
from prunectl.torchtools.rng import random_state, set_random_state_

T = TypeVar("T")
_TIMEOUT = timedelta(days=1)
"""How long a process waits for another one that works alone; a process that ended is noticed at once."""
_MESSAGE = 1 << 24
"""The most numbers per message."""
_LOST = (
    *("Connection closed by peer", "Connection reset by peer", "Broken pipe"),
    *("NCCL communicator was aborted", "ncclRemoteError", "remote process exited"),
)
"""torch's errors after another process has ended."""


def started_together() -> bool:
    """Whether `torchrun` started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def together() -> Iterator[None]:
    """Join the other processes that `torchrun` started; at the end, wait for all.

    Raises:
        LostProcess: another process has ended.
    """
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=_TIMEOUT)
    try:
        yield
        wait_for_all()
    except RuntimeError as error:
        if not any(text in str(error) for text in _LOST):
            raise
        raise LostProcess("another process of this run has ended (killed or out of memory?), so all end") from error
    finally:
        dist.destroy_process_group()


def joined() -> bool:
    """Whether this process is one of several that have joined."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def processes() -> int:
    """The number of processes that have joined."""
    return dist.get_world_size() if joined() else 1


def leads() -> bool:
    """Whether this process is the one that writes and prints."""
    return not joined() or dist.get_rank() == 0


def local_device(device: torch.device) -> torch.device:
    """The gpu of this process, if several share a machine; any other device unchanged."""
    if device.type != "cuda" or device.index is not None or not joined():
        return device
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def rows(count: int) -> slice:
    """The positions of `count` that this process takes: every world-size-th one, starting at its rank; may be none."""
    return slice(dist.get_rank(), count, dist.get_world_size()) if joined() else slice(count)


def rows_or_all(count: int) -> slice:
    """As `rows`, but all of them if some process would have none."""
    return rows(count) if count >= processes() else slice(count)


def share(tensor: Tensor) -> Tensor:
    """The entries (dim 0) that this process takes."""
    return tensor[rows(len(tensor))]


def sum_(tensors: Sequence[Tensor]) -> None:
    """Add up tensors over all processes, in place, in few messages; 16-bit numbers are added in float32."""
    for _, alike in groupby(tensors if joined() else (), key=_sent_as):
        message: list[Tensor] = []
        for tensor in alike:
            if message and sum(each.numel() for each in message) + tensor.numel() > _MESSAGE:
                _sum_message_(message)
                message = []
            message.append(tensor)
        _sum_message_(message)


def same_(tensors: Sequence[Tensor]) -> None:
    """Copy the values of the first process to all."""
    for tensor in tensors if joined() else ():
        sent = tensor.detach().contiguous()
        dist.broadcast(sent, 0)
        with torch.no_grad():
            tensor.copy_(sent)


def same_random_state_(device: torch.device) -> None:
    """Copy the random state of the first process to all."""
    if joined():
        states = random_state(device)
        same_(states)
        set_random_state_(device, states)


def from_first(value: Callable[[], T]) -> T:
    """A value that only the first process computes, sent to all."""
    if not joined():
        return value()
    held: list[T | None] = [value() if leads() else None]
    dist.broadcast_object_list(held, 0)
    return held[0]  # type: ignore[return-value]


def gathered(value: T) -> list[T]:
    """The value of every process, in their order."""
    if not joined():
        return [value]
    values: list[T | None] = [None] * processes()
    dist.all_gather_object(values, value)
    return values  # type: ignore[return-value]


def wait_for_all() -> None:
    """Wait until all processes arrive here."""
    gathered(None)


class Vote:
    """The maximum over all processes, known to all after the same step.

    With several processes, the numbers of a step are known after the next one, so that none waits for them.
    """

    def __init__(self) -> None:
        self._given = torch.zeros((), dtype=torch.int64)
        self._asked: dist.Work | None = None

    def __call__(self, mine: int) -> int:
        """Pass a number; returns the largest of this step, or of the previous one with several processes."""
        if not joined():
            return mine
        if self._asked is not None:
            self._asked.wait()
        known = int(self._given)
        self._given = torch.tensor(mine)
        self._asked = dist.all_reduce(self._given, dist.ReduceOp.MAX, async_op=True)
        return known


def _sent_as(tensor: Tensor) -> tuple[torch.dtype, torch.device]:
    small = tensor.dtype in (torch.float16, torch.bfloat16)
    return torch.float32 if small else tensor.dtype, tensor.device


def _sum_message_(tensors: Sequence[Tensor]) -> None:
    """Add up tensors of one type in one message."""
    dtype, _ = _sent_as(tensors[0])
    flat = torch.cat([tensor.detach().reshape(-1).to(dtype) for tensor in tensors])
    dist.all_reduce(flat)
    for tensor, summed in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
        tensor.detach().copy_(summed.view(tensor.shape))
