"""Linear layers and matrix products."""

from string import ascii_letters

from torch import fx

from prunectl.structure.contraction import contract, join
from prunectl.structure.labels import Value
from prunectl.structure.operations import Arguments, Liveness, Result, operation
from prunectl.structure.propagation import Propagation

_LETTERS = "abcdefgh"


@operation("linear", liveness=Liveness.LINEAR)
def linear(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """(..., I) with a weight (O, I) and a bias (O,)."""
    x, weight = flow.value(a["input"]), flow.value(a["weight"])
    lead = _LETTERS[: len(x.shape) - 1]
    return _add_row(flow, node, contract(flow, node, [(x, lead + "i"), (weight, "oi")], lead + "o"), a.get("bias"))


def _add_row(flow: Propagation, node: fx.Node, out: Value, bias: fx.Node | None) -> Value:
    """Add a bias along the last axis."""
    if bias is None:
        return out
    b = flow.value(bias)
    row = join(flow, node, [out.rows[-1], b.rows[0]]) if b.shape[0] > 1 else None
    zero = (
        *(False,) * (len(out.shape) - 1),
        out.zero[-1] and b.zero[0],
    )  # along other axes the bias is broadcast
    return Value(out.shape, (*out.rows[:-1], row), zero, out.image)


@operation("matmul", "bmm", "mm", "mv", "dot")
def matmul(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """(..., n, k) with (..., k, m)."""
    one, other = (flow.value(argument) for argument in node.args[:2])
    if len(one.shape) == 1 or len(other.shape) == 1:
        return flow.stop(node, "a product with a vector")
    lead = max(len(one.shape), len(other.shape)) - 2
    letters = _LETTERS[:lead]
    left = letters[lead - (len(one.shape) - 2) :] + "nk"
    right = letters[lead - (len(other.shape) - 2) :] + "km"
    return contract(flow, node, [(one, left), (other, right)], letters + "nm")


@operation("addmm", "baddbmm")
def addmm(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """A matrix product plus a matrix or a row."""
    one, other = flow.value(node.args[1]), flow.value(node.args[2])
    lead = _LETTERS[: len(one.shape) - 2]
    out = contract(flow, node, [(one, lead + "nk"), (other, lead + "km")], lead + "nm")
    added = flow.value(node.args[0])
    rows, zero = list(out.rows), list(out.zero)
    for axis in range(-1, -len(added.shape) - 1, -1):
        if added.shape[axis] > 1:
            rows[axis] = join(flow, node, [out.rows[axis], added.rows[axis]])
        zero[axis] = out.zero[axis] and added.zero[axis] and added.shape[axis] > 1
    missing = len(out.shape) - len(added.shape)
    zero[:missing] = [False] * missing
    return Value(out.shape, tuple(rows), tuple(zero), out.image or added.image)


@operation("einsum")
def einsum(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """Any sum of products."""
    equation = str(a["equation"]).replace(" ", "")
    values = [flow.value(operand) for operand in a["tensors"]]
    left, arrow, out = equation.partition("->")
    operands = left.split(",")
    if "..." in equation:
        operands, out = _without_dots(operands, out, values)
    repeated = any(len(set(letters)) < len(letters) for letters in operands)
    if not arrow or repeated:
        return flow.stop(node, "an einsum without '->' or with a diagonal")
    return contract(flow, node, list(zip(values, operands, strict=True)), out)


def _without_dots(operands: list[str], out: str, values: list[Value]) -> tuple[list[str], str]:
    """The same einsum with letters instead of "...", whose axes are aligned from the right."""
    counts = [len(v.shape) - len(letters.replace("...", "")) for v, letters in zip(values, operands, strict=True)]
    dots = "".join(c for c in ascii_letters if c not in "".join([*operands, out]))[: max(counts)]
    spelled = [letters.replace("...", dots[len(dots) - n :]) for letters, n in zip(operands, counts, strict=True)]
    return spelled, out.replace("...", dots)
