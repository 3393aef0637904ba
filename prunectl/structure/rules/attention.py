"""Scaled dot-product attention in one operation."""

from typing import TYPE_CHECKING

from torch import fx

from prunectl.structure.contraction import contract
from prunectl.structure.labels import Value
from prunectl.structure.operations import Arguments, Impossible, Result, operation
from prunectl.structure.propagation import Propagation

if TYPE_CHECKING:
    from prunectl.structure.surgery.edits import Edits
    from prunectl.structure.surgery.graph_writer import Emitter


def _write(em: "Emitter", node: fx.Node, a: Arguments) -> fx.Node:
    """Write it with the scale of the original width."""
    scale = a["scale"] if a["scale"] is not None else em.flow.value(a["query"]).shape[-1] ** -0.5
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
    return em.call(node.target, *(a[name] for name in names), scale=scale, enable_gqa=a.get("enable_gqa", False))


def _edit(edits: "Edits", node: fx.Node, a: Arguments) -> None:
    """Refuse a smaller width without a given scale: the module's code would use the scale of the new width."""
    query = edits.flow.value(a["query"])
    if a["scale"] is None and edits.size(query, -1) != query.shape[-1]:
        raise Impossible


@operation("scaled_dot_product_attention", writer=_write, editor=_edit)
def attention(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """(..., L, E) with (..., S, E) and (..., S, V): E may shrink, because the scale of the original width is kept."""
    query, key, value = (flow.value(a[name]) for name in ("query", "key", "value"))
    lead = len(query.shape) - 2
    letters = "abcdefgh"[:lead]
    heads = [v.shape[lead - 1] for v in (query, key, value)] if lead > 1 else [1]
    if len(set(heads)) > 1:  # several queries share a key: heads are matched by their number
        for v in (query, key, value):
            flow.freeze(v.rows[lead - 1], node, "heads of several queries share a key")
        query, key, value = (_without(v, lead - 1) for v in (query, key, value))
    for v in (key, value):
        flow.freeze(v.rows[lead], node, "softmax runs over it")
    mask = flow.tensors_of(a.get("attn_mask"))
    for m in mask:
        flow.freeze(m, node, "an attention mask")
    scores = contract(flow, _like(node), [(query, letters + "le"), (key, letters + "se")], letters + "ls")
    weights = Value(scores.shape, (*scores.rows[:-1], None), (False,) * len(scores.shape), scores.image)
    out = contract(flow, _like(node), [(weights, letters + "ls"), (value, letters + "sv")], letters + "lv")
    return Value(flow.shape(node), out.rows, out.zero, out.image)


def _without(value: Value, axis: int) -> Value:
    """Treat the axis of heads as broadcast, because heads that differ in number do not meet."""
    rows = (*value.rows[:axis], None, *value.rows[axis + 1 :])
    return Value((*value.shape[:axis], 1, *value.shape[axis + 1 :]), rows, value.zero, value.image)


def _like(node: fx.Node) -> fx.Node:
    return node
