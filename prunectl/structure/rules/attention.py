"""Scaled dot-product attention in one operation."""

from torch import fx

from prunectl.structure.contraction import contract
from prunectl.structure.labels import Value
from prunectl.structure.propagation import Arguments, Propagation, Result, rule


@rule("scaled_dot_product_attention")
def attention(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """(..., L, E) with (..., S, E) and (..., S, V): E may shrink, for the scale stays that of the original width."""
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
    """Heads that differ in number meet no more, so their axis counts as broadcast."""
    rows = (*value.rows[:axis], None, *value.rows[axis + 1 :])
    return Value((*value.shape[:axis], 1, *value.shape[axis + 1 :]), rows, value.zero, value.image)


def _like(node: fx.Node) -> fx.Node:
    return node
