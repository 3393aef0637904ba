"""Tiny networks, one for each thing in a network that makes pruning hard: name -> (builder, input shape).

Each takes a batch of at least 2 and returns 3 logits, in eval and in train mode.
"""

from torch import nn

from tests.helpers.toys import aside, attention, convs, gates, joins, moves, neighbours, norms, sequences, writes
from tests.helpers.toys.parts import Toys

TOYS: Toys = {
    **joins.TOYS,
    **moves.TOYS,
    **neighbours.TOYS,
    **convs.TOYS,
    **gates.TOYS,
    **norms.TOYS,
    **attention.TOYS,
    **sequences.TOYS,
    **aside.TOYS,
    **writes.TOYS,
}

PARTS = (joins, moves, neighbours, convs, gates, norms, attention, sequences, aside, writes)
assert len(TOYS) == sum(len(part.TOYS) for part in PARTS), "two toys have one name"


def built(input_shape: tuple[int, ...], classes: int, *, name: str) -> nn.Module:
    """A toy as `--model tests.helpers.toys:built -M name=NAME` builds it."""
    return TOYS[name][0]()
