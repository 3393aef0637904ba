"""Stores the values of a network in a file while their memory is used for something else."""

from pathlib import Path

import torch
from torch import Tensor, nn

from prunectl.checkpoints.tensor_file import content, head_of, read_tensors


def put_aside_(network: nn.Module, file: Path) -> None:
    """Write all parameters and buffers to a file, and replace them by zeros that take no memory.

    Raises:
        OSError: the file cannot be written.
    """
    tensors = {name: tensor.detach() for name, tensor in _tensors(network).items()}
    with file.open("wb") as written:
        for part in content(head_of(tensors, {}), tensors):
            written.write(part)
    empty_(network)


def take_back_(network: nn.Module, file: Path) -> None:
    """Restore the values that `put_aside_` wrote."""
    values = read_tensors(file)
    for name, tensor in _tensors(network).items():
        tensor.data = values[name]


def empty_(network: nn.Module) -> None:
    """Replace all parameters and buffers by zeros that take no memory."""
    for tensor in _tensors(network).values():
        tensor.data = torch.zeros((), dtype=tensor.dtype, device=tensor.device).expand(tensor.shape)


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    """All tensors, tied ones once."""
    return dict([*network.named_parameters(), *network.named_buffers()])
