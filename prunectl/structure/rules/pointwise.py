"""Operations that work entry by entry, with broadcasting."""

import torch
from torch import fx

from prunectl.structure.contraction import join
from prunectl.structure.export import packet
from prunectl.structure.labels import Row, Value
from prunectl.structure.operations import Arguments, Liveness, Result, operation
from prunectl.structure.propagation import Propagation

KEEP_ZERO = {
    *("relu", "relu6", "gelu", "silu", "mish", "hardswish", "leaky_relu", "rrelu", "elu", "selu", "celu", "tanh"),
    *("hardtanh", "hardshrink", "softshrink", "prelu", "abs", "neg", "negative", "sqrt", "square", "sign", "round"),
    *("sin", "tan", "atan", "asin", "sinh", "asinh", "erf", "expm1", "log1p", "floor", "ceil", "trunc", "pow"),
    *("dropout", "feature_dropout", "alpha_dropout", "native_dropout", "to", "type_as", "_to_copy", "clone"),
    *("contiguous", "detach", "alias", "lift_fresh_copy", "positive", "zeros_like", "zero", "softsign"),
    *("tanhshrink",),
}
"""Functions that map 0 to 0."""
DIVIDES = {"rsqrt", "reciprocal", "log", "log2", "log10"}
"""Functions that map 0 to infinity."""


@operation(
    *("add", "prelu", "dropout", "feature_dropout", "alpha_dropout", "to", "clone", "contiguous", "detach", "alias"),
    *("hardswish", "leaky_relu", "celu", "elu", "hardsigmoid", "hardtanh", "selu"),  # without torch's tag in 2.11
    liveness=Liveness.PASSES,
)
@operation(
    *("native_dropout", "_to_copy", "type_as", "lift_fresh_copy", "zeros_like", "ones_like", "empty_like", "full_like"),
    *("rand_like", "randn_like", "zero", "fill", "masked_fill", "where", "rrelu", "copy", "bernoulli", "log_sigmoid"),
)
def pointwise(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """Axes that meet become one; an axis of size 1 meets none."""
    shape, name = flow.shape(node), packet(node)
    operands = flow.tensors_of([a["self"]] if name in ("type_as", "to") else list(a.values()))
    if name == "prelu":
        operands[1] = _aligned(operands[1], len(shape))
    rows: list[Row | None] = []
    zero: list[bool] = []
    for axis, size in enumerate(shape):
        met = [(v, axis - len(shape) + len(v.shape)) for v in operands]
        met = [(v, d) for v, d in met if d >= 0 and v.shape[d] == size and size > 1]
        if (name in DIVIDES or _is_negative_power(name, a)) and any(v.zero[d] for v, d in met):
            for v, d in met:
                flow.freeze(v.rows[d], node, "removed entries would become infinite")
        if name == "div" and isinstance(a["other"], fx.Node) and _divides(flow, a, axis - len(shape), size):
            flow.freeze(flow.value(a["other"]).rows[axis - len(shape)], node, "removed entries would be 0 / 0")
        rows.append(join(flow, node, [v.rows[d] for v, d in met]))
        zero.append(_stays_zero(name, a, operands, met))
    return Value(shape, tuple(rows), tuple(zero), any(v.image for v in operands))


@operation("glu", liveness=Liveness.PASSES)
def glu(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """One half of an axis times the sigmoid of the other: the halves meet."""
    x = flow.value(a["self"])
    axis = a["dim"] % len(x.shape)
    row, half = x.rows[axis], x.shape[axis] // 2
    if row is not None:
        row = join(flow, node, [row[:half], row[half:]])
    return Value(flow.shape(node), (*x.rows[:axis], row, *x.rows[axis + 1 :]), x.zero, x.image)


def _aligned(weight: Value, axes: int) -> Value:
    """The weight of a PReLU, (C,), along axis 1."""
    rest = axes - 2
    return Value((1, weight.shape[0], *(1,) * rest), (None, weight.rows[0], *(None,) * rest), (True,) * axes, False)


def _divides(flow: Propagation, a: Arguments, axis: int, size: int) -> bool:
    """Whether the divisor is zero at removed indices."""
    below = flow.value(a["other"])
    return len(below.shape) >= -axis and below.shape[axis] == size and below.zero[axis] and below.rows[axis] is not None


def _is_negative_power(name: str, a: Arguments) -> bool:
    exponent = a.get("exponent")
    return name == "pow" and isinstance(exponent, int | float) and exponent < 0


def _stays_zero(  # noqa: PLR0911  (a table of cases)
    name: str, a: Arguments, operands: list[Value], met: list[tuple[Value, int]]
) -> bool:
    """Whether the result is zero at removed indices of an axis; `met` are the operands that have the axis."""
    zeros = [v.zero[d] for v, d in met]
    if not zeros:
        return False
    if name == "mul":
        return any(zeros)
    if name == "div":
        return zeros[0] and met[0][0] is operands[0]
    if name in ("add", "sub", "rsub", "maximum", "minimum", "max", "min", "where", "copy"):
        scalar = any(isinstance(a.get(key), int | float) and a[key] != 0 for key in ("self", "other"))
        return all(zeros) and len(met) == len(_summands(name, operands)) and not scalar
    if name == "addcmul":
        first = any(v is operands[0] and v.zero[d] for v, d in met)
        return first and any(v is not operands[0] and v.zero[d] for v, d in met)
    if name == "masked_fill":
        return zeros[0] and a.get("value") == 0
    if name in ("clamp", "clamp_min", "clamp_max", "hardtanh"):
        low, high = (a.get(key) for key in (("min_val", "max_val") if name == "hardtanh" else ("min", "max")))
        numeric = all(bound is None or isinstance(bound, int | float) for bound in (low, high))
        return zeros[0] and numeric and (low is None or low <= 0) and (high is None or high >= 0)
    if name == "pow":
        exponent = a.get("exponent")
        return isinstance(exponent, int | float) and exponent > 0 and zeros[0]
    return name in KEEP_ZERO and zeros[0]


def _summands(name: str, operands: list[Value]) -> list[Value]:
    return operands[1:] if name in ("where", "copy") else operands


@operation("new_zeros", "new_ones", "new_full", "new_empty")
def factory(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """A constant with the type of a tensor."""
    sizes = flow.number(a["size"])
    value = {"new_ones": 1, "new_full": a.get("fill_value") or 0}.get(packet(node), 0)
    flow.known[node] = torch.full(sizes, value, dtype=node.meta["val"].dtype)
    return Value.plain(sizes, image=False)
