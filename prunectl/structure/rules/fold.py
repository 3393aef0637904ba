"""Patches summed to images (`torch.nn.Fold`)."""

from math import prod

from torch import fx

from prunectl.structure.contraction import join
from prunectl.structure.labels import Value
from prunectl.structure.operations import Arguments, Liveness, Result, operation
from prunectl.structure.propagation import Propagation


@operation("col2im", liveness=Liveness.PASSES)
def fold(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """(B, C · positions, patches) to (B, C, H, W): the kernel positions of a channel meet, the patches stay."""
    x = flow.value(a["self"])
    flow.freeze(x.rows[-1], node, "patches are summed to an image")
    row = x.rows[-2]
    if row is not None:
        row = join(flow, node, list(row.reshape(-1, prod(flow.number(a["kernel_size"]))).T))
    rows, zero = (*x.rows[:-2], row, None, None), (*x.zero[:-1], False, False)
    return Value(flow.shape(node), rows, zero, x.image)
