"""A network that runs a rewritten graph in place of its own code, with its own modules as the owners of its tensors."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from prunectl.errors import StructureError
from prunectl.structure.emit import Emitter
from prunectl.structure.flow import Flow
from prunectl.structure.graph import export
from prunectl.structure.labels import Labels, Row
from prunectl.structure.trace import follow, named_tensors

Kept = dict[tuple[str, int], Tensor]
"""The indices that are left on an axis of a parameter or buffer, int64."""


class Rewritten(nn.Module):
    """What `rewritten_` makes of a network: one forward for inference, one for training."""

    graphs: dict[bool, Any]

    def forward(self, x: Tensor) -> Any:
        """Map images (B, C, H, W) of the original number of channels to what the network's own code would."""
        if self.training not in self.graphs:
            raise StructureError("this network was rewritten for inference alone; its training could not be traced")
        return self.graphs[self.training](self, x)


def rewritten_(
    small: nn.Module, dense: nn.Module, shape: tuple[int, int, int], kept: Kept, *, alive: bool = False
) -> nn.Module:
    """Let `small`, which has the modules of `dense` and smaller tensors, run the graph of `dense` for what is left.

    The class of `small` becomes one that derives from its own, so that it stays what it was in all else.

    Raises:
        StructureError: the network cannot be traced or written.
    """
    graphs = {}
    for training in (False, True):
        try:
            graphs[training] = _compiled(small, dense, shape, kept, training=training, alive=alive)
        except StructureError:
            if not training:
                raise
    own = type(small)
    small.__class__ = type(own.__name__, (Rewritten, own), {"graphs": graphs, "__module__": own.__module__})
    return small


def _compiled(
    small: nn.Module, dense: nn.Module, shape: tuple[int, int, int], kept: Kept, *, training: bool, alive: bool
) -> Any:
    """The forward function for one mode."""
    labels, axes = Labels(), dict[tuple[str, int], Row]()
    outer = ("", 1) in kept
    flow = follow(export(dense, shape, training=training), named_tensors(dense), labels, axes, outer=outer)
    emitter = Emitter(flow, _gone(labels, axes, kept), alive=alive)
    graph = emitter.run()
    names = {}
    for name, tensor in emitter.constants.items():
        names[name] = f"{name}_{'train' if training else 'eval'}"
        small.register_buffer(names[name], tensor, persistent=False)
    for node in graph.nodes:
        if node.op == "get_attr":
            node.target = names.get(node.target, node.target)
    return _function(graph)


def _function(graph: fx.Graph) -> Any:
    """Python code of a graph, as a function (network, x)."""
    code = graph.python_code(root_module="self")
    scope = dict(code.globals)
    exec(compile(code.src, "<rewritten graph>", "exec"), scope)  # noqa: S102  (written by torch.fx from our own graph)
    return scope["forward"]


def _gone(labels: Labels, axes: dict[tuple[str, int], Row], kept: Kept) -> np.ndarray[Any, Any]:
    """Which labels are removed, from the indices that are left on the axes."""
    gone = np.zeros(labels.used, dtype=bool)
    for key, left in kept.items():
        if key in axes:
            row = axes[key]
            lost = np.ones(len(row), dtype=bool)
            lost[left.numpy()] = False
            gone[labels.find(row[lost])] = True
    return np.asarray(gone[labels.find(np.arange(labels.used, dtype=np.int64))])


def kept_indices(axes: dict[tuple[str, int], Tensor], gone: Tensor) -> Kept:
    """What is left on every axis from which something goes; `gone` is bool by class, FROZEN last."""
    found = {}
    for key, classes in axes.items():
        lost = gone[classes]
        if bool(lost.any()):
            found[key] = torch.nonzero(~lost).flatten()
    return found
