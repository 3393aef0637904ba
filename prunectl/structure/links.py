"""Views layers as graphs: which input channels reach which output channels through kept weights."""

from dataclasses import dataclass

import torch
from torch import Tensor, fx

from prunectl.masks import Masks
from prunectl.structure.export import bind
from prunectl.structure.labels import Value
from prunectl.structure.nodes import FROZEN
from prunectl.structure.operations import Liveness, liveness_of
from prunectl.structure.propagation import Propagation


@dataclass(frozen=True, eq=False)
class Link:
    """A layer whose weight is a parameter of the network.

    `outputs` (O,) and `inputs` (I,) are the classes of its channels. `linked[o, i]` says whether some weight from input
    i to output o is kept; in a depthwise layer (`own`) it is (O,).
    """

    node: fx.Node
    weight: str
    outputs: Tensor
    inputs: Tensor
    linked: Tensor
    own: bool
    axis: int
    """The channel axis of input and output: 1 or -1."""
    transposed: bool
    """Whether the weight has its input channels first."""


def link_of(node: fx.Node, flow: Propagation, masks: Masks, number: Tensor) -> Link | None:
    """The link of an operation; `number[label]` is the class of each label. None if it is not such a layer."""
    kind = liveness_of(node)
    if kind not in (Liveness.LINEAR, Liveness.CONVOLUTION, Liveness.TRANSPOSED):
        return None
    a, transposed, axis = bind(node), kind is Liveness.TRANSPOSED, -1 if kind is Liveness.LINEAR else 1
    weight = flow.graph.names.get(a["weight"])
    x, w, out = flow.value(a["input"]), flow.value(a["weight"]), flow.value(node)
    if weight is None or not x.image:
        return None
    mask = masks[weight].cpu() if weight in masks else torch.ones(w.shape[:2], dtype=torch.bool)
    linked = mask.flatten(2).any(2) if mask.ndim > 2 else mask
    outputs, inputs, groups = _classes(out, axis, number), _classes(x, axis, number), a.get("groups", 1)
    if groups == 1:
        return Link(node, weight, outputs, inputs, linked.T if transposed else linked, False, axis, transposed)
    if groups == x.shape[1] == out.shape[1]:
        return Link(node, weight, outputs, inputs, linked.any(1), True, axis, transposed)
    return None


def _classes(value: Value, axis: int, number: Tensor) -> Tensor:
    """The class of every index on an axis, FROZEN for an index without one."""
    row = value.rows[axis]
    return torch.full((value.shape[axis],), FROZEN) if row is None else number[row]
