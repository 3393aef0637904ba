"""Normalisations. Over an axis that can shrink, statistics use the original width: removed entries are zero."""

from math import prod
from typing import TYPE_CHECKING

from torch import fx

from prunectl.structure import width_norms
from prunectl.structure.contraction import join
from prunectl.structure.export import packet
from prunectl.structure.labels import Row, Value
from prunectl.structure.operations import Arguments, Impossible, Liveness, Result, operation
from prunectl.structure.propagation import Propagation, index_rows

if TYPE_CHECKING:
    from prunectl.structure.surgery.edits import Edits
    from prunectl.structure.surgery.graph_writer import Emitter


def _write_batch_norm(em: "Emitter", node: fx.Node, a: Arguments) -> fx.Node | None:
    """The BatchNorm of a weight (its standardisation), or an InstanceNorm over an axis that shrinks."""
    x = em.flow.value(a["input"])
    if em.alive or node not in em.flow.wide:
        return None
    axes = (*([0] if packet(node) == "batch_norm" else []), *range(2, len(x.shape)))
    if all(em.kept(x.rows[axis]) is None for axis in axes):
        return None
    width = prod(x.shape[axis] for axis in axes)
    return em.call(width_norms.batch_norm, a["input"], axes, width, a["weight"], a["bias"], a["eps"])


@operation("batch_norm", "instance_norm", liveness=Liveness.PASSES, writer=_write_batch_norm)
@operation("_native_batch_norm_legit_no_training", "cudnn_batch_norm", "native_batch_norm")
def batch_norm(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """Every channel (axis 1) is normalised separately; so is every instance."""
    x = flow.value(a["input"])
    given = {k: flow.value(a[k]) for k in ("weight", "bias", "running_mean", "running_var") if a.get(k) is not None}
    row = join(flow, node, [x.rows[1], *(v.rows[0] for v in given.values())]) if x.shape[1] > 1 else None
    batch = bool(a.get("training")) or bool(a.get("use_input_stats"))
    affine = "weight" in given and all(given[key].zero[0] for key in ("weight", "bias") if key in given)
    rows: list[Row | None] = [x.rows[0], row]
    sides = range(2, len(x.shape))
    rows += [_statistics_over(flow, node, x, axis) if batch else x.rows[axis] for axis in sides]
    if batch and x.rows[0] is not None:
        rows[0] = _statistics_over(flow, node, x, 0)
    zero = affine or ("weight" not in given and batch and x.zero[1])
    return Value(x.shape, tuple(rows), (False, zero, *(False,) * (len(x.shape) - 2)), x.image)


def _statistics_over(flow: Propagation, node: fx.Node, x: Value, axis: int) -> Row | None:
    """An axis over which a mean and a variance are taken."""
    row = x.rows[axis]
    if row is None:
        return None
    if not x.zero[axis]:
        flow.freeze(row, node, "statistics are taken over it, and removed entries would not be zero")
        return None
    flow.wide.add(node)
    return row


def _write_layer_norm(em: "Emitter", node: fx.Node, a: Arguments) -> fx.Node | None:
    x, count = em.flow.value(a["input"]), len(a["normalized_shape"])
    axes = tuple(range(-count, 0))
    if all(em.kept(x.rows[axis]) is None for axis in axes):
        return None
    if em.alive:
        sizes = [em.size(x, axis) for axis in axes]
        return em.call(node.target, *({**a, "normalized_shape": sizes}).values())
    width = prod(x.shape[axis] for axis in axes)
    if packet(node) == "rms_norm":
        return em.call(width_norms.rms_norm, a["input"], axes, width, a["weight"], a["eps"])
    return em.call(width_norms.layer_norm, a["input"], axes, width, a["weight"], a["bias"], a["eps"])


def _edit_layer_norm(edits: "Edits", node: fx.Node, a: Arguments) -> None:
    x, sizes = edits.flow.value(a["input"]), list(a["normalized_shape"])
    now = [edits.size(x, axis) for axis in range(-len(sizes), 0)]
    if now == sizes:
        return
    kind, module = edits.norm_of(node), edits.module_of(node)
    if edits.alive:
        if "normalized_shape" not in vars(module):
            raise Impossible
        edits.set(node, "normalized_shape", module.normalized_shape, now)
    elif kind is None or len(sizes) > 1:
        raise Impossible
    else:
        edits.swap(node, kind, width=sizes[0])


@operation("layer_norm", "rms_norm", writer=_write_layer_norm, editor=_edit_layer_norm)
def layer_norm(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """Statistics over the last axes."""
    x, count = flow.value(a["input"]), len(flow.number(a["normalized_shape"]))
    given = [flow.value(a[key]) for key in ("weight", "bias") if a.get(key) is not None]
    rows, zero = list(x.rows), list(x.zero)
    for i in range(count):
        axis = len(x.shape) - count + i
        row = _statistics_over(flow, node, x, axis)
        if x.shape[axis] > 1 and given:
            row = join(flow, node, [row, *(v.rows[i] for v in given)])
        rows[axis] = row
        if given:
            zero[axis] = all(v.zero[i] for v in given)
        elif "rms" not in str(node.target):
            zero[axis] = False
    for axis in range(len(x.shape) - count):
        zero[axis] = zero[axis] and "rms" in str(node.target)
    return Value(x.shape, tuple(rows), tuple(zero), x.image)


@operation("_weight_norm")
def weight_norm(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """A direction divided by its length: the axes of the length may shrink, because zeros do not change it."""
    v, kept = flow.value(a["v"]), a["dim"]
    flow.freeze(v.rows[kept], node, "removed entries would be 0 / 0")
    flow.freeze(flow.value(a["g"]), node, "removed entries would be 0 / 0")
    for axis, row in index_rows(v):
        if axis != kept and not v.zero[axis]:
            flow.freeze(row, node, "summed over, and removed entries would not be zero")
    rows = tuple(None if axis == kept else row for axis, row in enumerate(v.rows))
    return Value(v.shape, rows, v.zero, v.image)


def _write_group_norm(em: "Emitter", node: fx.Node, a: Arguments) -> fx.Node | None:
    x = em.flow.value(a["input"])
    each = x.shape[1] // a["num_groups"]
    if node in em.flow.whole_groups:
        return em.call(node.target, a["input"], em.size(x, 1) // each, a["weight"], a["bias"], a["eps"])
    if em.alive:
        return None
    return em.call(width_norms.group_norm, a["input"], a["num_groups"], each, a["weight"], a["bias"], a["eps"])


def _edit_group_norm(edits: "Edits", node: fx.Node, a: Arguments) -> None:
    x, groups = edits.flow.value(a["input"]), a["num_groups"]
    each, now = x.shape[1] // groups, edits.size(x, 1)
    if now == x.shape[1]:
        return
    if node in edits.flow.whole_groups:
        edits.set(node, "num_groups", groups, now // each)
    elif not edits.alive:
        if edits.norm_of(node) != "group_norm":
            raise Impossible
        edits.swap(node, "group_norm", width=each)


@operation("group_norm", writer=_write_group_norm, editor=_edit_group_norm)
@operation("native_group_norm")
def group_norm(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """Statistics over the channels of each group: whole groups are removed, or the same channels of every group."""
    x = flow.value(a["input"])
    groups = flow.number(a["num_groups"] if "num_groups" in a else a["group"])
    given = [flow.value(a[key]) for key in ("weight", "bias") if a.get(key) is not None]
    row, each = x.rows[1], x.shape[1] // groups
    for axis in range(2, len(x.shape)):
        flow.freeze(x.rows[axis], node, "statistics are taken over it")
    if row is not None and groups > 1 and each > 1:
        if groups > each or not x.zero[1]:
            flow.labels.tie(row.reshape(groups, each))
            flow.whole_groups.add(node)
        else:
            flow.labels.tie(row.reshape(groups, each).T)
            row = _statistics_over(flow, node, x, 1)
    elif row is not None and each > 1:
        row = _statistics_over(flow, node, x, 1)
    elif row is not None:
        flow.whole_groups.add(node)
    if given:
        row = join(flow, node, [row, *(v.rows[0] for v in given)])
    zero = bool(given) and all(v.zero[0] for v in given)
    rest = len(x.shape) - 2
    return Value(x.shape, (None, row, *(None,) * rest), (False, zero, *(False,) * rest), x.image)
