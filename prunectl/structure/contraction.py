"""Propagates labels through sums of products and through axes that meet."""

from math import prod

from torch import fx

from prunectl.structure.export import BATCH
from prunectl.structure.labels import Row, Value
from prunectl.structure.propagation import Propagation


def contract(flow: Propagation, node: fx.Node, operands: list[tuple[Value, str]], out: str, factor: int = 1) -> Value:
    """A sum of products, written as in einsum: one letter for every axis.

    A summed axis may shrink only if one side is exactly zero at the removed indices. `factor` counts further
    multiplications of each entry (the positions of a kernel).
    """
    rows: dict[str, Row | None] = {}
    zero: dict[str, bool] = {}
    length: dict[str, int] = {}
    for letter in dict.fromkeys("".join(letters for _, letters in operands)):
        places = [(v, letters.index(letter)) for v, letters in operands if letter in letters]
        length[letter] = max(v.shape[d] for v, d in places)
        places = [(v, d) for v, d in places if v.shape[d] == length[letter]]
        zero[letter] = any(v.zero[d] for v, d in places if v.rows[d] is not None)
        rows[letter] = join(flow, node, [v.rows[d] for v, d in places])
        if letter not in out and rows[letter] is not None and not zero[letter]:
            flow.freeze(rows[letter], node, "summed over, and removed entries would not be zero")
            rows[letter] = None
    image = any(v.image for v, _ in operands)
    _count(flow, node, operands, rows, length, factor, image)
    shape = tuple(length[letter] for letter in out)
    shared = tuple(rows.get(letter) if size > 1 else None for letter, size in zip(out, shape, strict=True))
    return Value(shape, shared, tuple(zero.get(letter, False) for letter in out), image)


def _count(
    flow: Propagation,
    node: fx.Node,
    operands: list[tuple[Value, str]],
    rows: dict[str, Row | None],
    length: dict[str, int],
    factor: int,
    image: bool,
) -> None:
    """Record the cost of a product, and which rows of weights read its inputs."""
    free = [row for row in rows.values() if row is not None]
    plain = prod(length[letter] for letter, row in rows.items() if row is None)
    names = [flow.name_of(row) for v, _ in operands if not v.image for row in v.rows if row is not None]
    flow.products.append((next((n for n in names if n), ""), factor * plain // (BATCH if image else 1), free))
    if not image or all(v.image for v, _ in operands):
        return
    entering = {letter for v, letters in operands if v.image for letter in letters}
    for v, letters in operands:
        if not v.image:
            flow.reads += [v.rows[d] for d in v.labelled if letters[d] in entering]  # type: ignore[misc]


def join(flow: Propagation, node: fx.Node, rows: list[Row | None]) -> Row | None:
    """Join axes that meet position by position: their labels become one; if one of them stays, all stay."""
    labelled = [row for row in rows if row is not None]
    if not labelled:
        return None
    for other in labelled[1:]:
        flow.labels.unify(labelled[0], other)
    if len(labelled) < len(rows):
        flow.freeze(labelled[0], node, "meets an axis that stays")
        return None
    return labelled[0]
