"""Tiny networks, one for each thing in a network that makes pruning hard: name -> (builder, input shape).

Each takes a batch of at least 2 and gives 3 logits, in eval and in train mode.
"""

from tests.toys import attention, convs, gates, joins, moves, norms, sequences
from tests.toys.parts import Toys

TOYS: Toys = {
    **joins.TOYS,
    **moves.TOYS,
    **convs.TOYS,
    **gates.TOYS,
    **norms.TOYS,
    **attention.TOYS,
    **sequences.TOYS,
}
