"""Caches the graphs of networks: a network that does the same as an earlier one shares its graph."""

from collections import OrderedDict

from torch import nn

from prunectl.structure.export import BATCH, Graph, export
from prunectl.structure.run_record import record

_MOST = 16
_ANY_BATCH = (BATCH, BATCH + 3)
"""The batch sizes on which two networks are compared before they share a graph for any batch."""
_Key = tuple[str, tuple[int, int, int], bool]
_known: OrderedDict[_Key, Graph] = OrderedDict()


def graph_of(
    model: nn.Module, shape: tuple[int, int, int], *, training: bool = False, any_batch: bool = False
) -> Graph:
    """As `export` without lines; callers must not change the graph, which may be shared.

    A record (see `run_record`) takes a tenth of the time of an export. It is made for every network, so one whose code
    or shapes have changed is exported again. A network that does the same in training and evaluation has one graph for
    both. Graphs hold no parameters; the last `_MOST` are kept.

    Raises:
        StructureError: the network cannot be traced.
    """
    found = record(model, shape, training=training, batches=_ANY_BATCH if any_batch else (BATCH,))
    if found is None:
        return export(model, shape, training=training, any_batch=any_batch, lines=False)
    key = (found, shape, any_batch)
    graph = _known.pop(key, None) or export(model, shape, training=training, any_batch=any_batch, lines=False)
    _known[key] = graph
    if len(_known) > _MOST:
        _known.popitem(last=False)
    return graph
