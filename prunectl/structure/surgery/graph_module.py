"""A network that runs a rewritten graph instead of its own code; its own modules hold the tensors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from prunectl.structure.export import on_cpu
from prunectl.structure.graphs import graph_of
from prunectl.structure.labels import Labels, Row
from prunectl.structure.surgery.cut import Kept
from prunectl.structure.surgery.graph_writer import Emitter
from prunectl.structure.trace import follow, named_tensors
from prunectl.torchtools.copies import with_tensors

Forward = Callable[[nn.Module, Tensor], Any]


class Constants:
    """Tensors that a graph needs, on every device that uses them."""

    def __init__(self, tensors: list[Tensor]) -> None:
        self.tensors = tensors
        self.placed: dict[tuple[int, torch.device], Tensor] = {}

    def on(self, number: int, device: torch.device) -> Tensor:
        """One of the tensors, on a device."""
        if (number, device) not in self.placed:
            self.placed[number, device] = self.tensors[number].to(device)
        return self.placed[number, device]


class Rewritten(nn.Module):
    """A network made by `rewritten_`: one forward function for inference, one for training.

    The one for training is written on first use.
    """

    forwards: dict[bool, tuple[Forward, Constants]]
    write: Callable[[bool], tuple[Forward, Constants]]

    @property
    def constants(self) -> Constants:
        """The constants of the network's current mode."""
        return self.forwards[self.training][1]

    def forward(self, x: Tensor) -> Any:
        """Map images (B, C, H, W), with the original number of channels, to the results of the network's own code."""
        if self.training not in self.forwards:
            self.forwards[self.training] = type(self).write(self.training)
        return self.forwards[self.training][0](self, x)


def rewritten_(
    small: nn.Module, dense: nn.Module, shape: tuple[int, int, int], kept: Kept, *, alive: bool = False
) -> nn.Module:
    """Let `small`, which has the modules of `dense` and smaller tensors, run the graph of `dense` on these.

    The class of `small` becomes a subclass of its own class, so that everything else stays. `alive` takes statistics
    over the remaining channels instead of the original width.

    Raises:
        StructureError: the network cannot be traced or written.
    """
    hollow = with_tensors(dense, _hollow)

    def write(training: bool) -> tuple[Forward, Constants]:
        return _written(hollow, shape, kept, training=training, alive=alive)

    own = type(small)
    members = {"forwards": {False: write(False)}, "write": staticmethod(write), "__module__": own.__module__}
    small.__class__ = type(own.__name__, (Rewritten, own), members)
    return small


def _hollow(tensor: Tensor) -> Tensor:
    """A parameter of the same shape with a single stored number; a buffer unchanged."""
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(torch.zeros((), dtype=tensor.dtype).expand(tensor.shape), tensor.requires_grad)
    return on_cpu(tensor)


def _written(
    dense: nn.Module, shape: tuple[int, int, int], kept: Kept, *, training: bool, alive: bool
) -> tuple[Forward, Constants]:
    """The forward function for one mode, and its constants."""
    labels, axes = Labels(), dict[tuple[str, int], Row]()
    graph = graph_of(dense, shape, training=training, any_batch=True)
    flow = follow(graph, named_tensors(dense), labels, axes, outer=("", 1) in kept)
    emitter = Emitter(flow, labels_cut(labels, axes, kept), alive=alive)
    return _function(emitter.run()), Constants(emitter.constants)


def _function(graph: fx.Graph) -> Forward:
    """Python code of a graph, as a function (network, x)."""
    code = graph.python_code(root_module="self")
    scope = dict(code.globals)
    exec(compile(code.src, "<rewritten graph>", "exec"), scope)  # noqa: S102  (written by torch.fx from our own graph)
    forward: Forward = scope["forward"]
    return forward


def labels_cut(labels: Labels, axes: dict[tuple[str, int], Row], kept: Kept) -> np.ndarray[Any, Any]:
    """Which labels are removed, from the remaining indices of the axes."""
    gone = np.zeros(labels.used, dtype=bool)
    for key, left in kept.items():
        if key in axes:
            row = axes[key]
            lost = np.ones(len(row), dtype=bool)
            lost[left.numpy()] = False
            gone[labels.find(row[lost])] = True
    return np.asarray(gone[labels.find(np.arange(labels.used, dtype=np.int64))])
