"""Runs several networks with one graph over all batches, from one stop to the next."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from prunectl.pruning.repair.columns import Budget, Column
from prunectl.structure.export import Graph, packet

PRUNED, DENSE = 0, 1
"""The positions of the networks in a walk."""
Tensors = Mapping[str, Tensor]
"""Parameters and buffers by name; changes in them affect later operations."""


class Walk:
    """Runs a graph with the tensors of several networks, and stores what later operations read, per batch.

    Every operation runs once per batch and network. `networks` are their tensors, `limit` is the number of bytes that
    may be kept in memory. With `amp` the operations run in bfloat16 where that is safe.
    """

    def __init__(
        self, graph: Graph, networks: Sequence[Tensors], device: torch.device, limit: int, *, amp: bool = False
    ) -> None:
        self.graph, self.networks, self.device = graph, networks, device
        self.nodes, self.amp = graph.nodes, amp
        self.place = {node: i for i, node in enumerate(self.nodes)}
        self.last = {node: max((self.place[user] for user in node.users), default=-1) for node in self.nodes}
        self.budget = Budget(limit)
        self.columns: list[dict[fx.Node, Column]] = [{} for _ in networks]
        self.at = next(i for i, node in enumerate(self.nodes) if node.op != "placeholder")
        self.batches = 0
        self.fixed = {node: tensor.to(device) for node, tensor in graph.constants.items()}

    def start(self, images: Iterable[Tensor]) -> None:
        """Store the images of every batch."""
        columns = [Column(self.budget) for _ in self.networks]
        for batch in images:
            self.batches += 1
            for column in columns:
                column.append(batch)
        for kept, column in zip(self.columns, columns, strict=True):
            kept[self.graph.images[0]] = column

    def advance(self, stop: fx.Node, done: Callable[[int], None] | None = None) -> None:
        """Run every network up to an operation, without running that."""
        end = self.place[stop]
        for which in range(len(self.networks)):
            alive = [n for n in self.nodes[:end] if self.last[n] >= end and not self._is_fixed(n)]
            kept = self.columns[which]
            made = {node: Column(self.budget) for node in alive if node not in kept}
            read = [n for n in kept if any(self.at <= self.place[user] < end for user in n.users)]
            for i in range(self.batches):
                values = {node: kept[node][i] for node in read}
                self._run(which, values, end)
                for node, column in made.items():
                    column.append(values[node])
                if done is not None:
                    done(i)
            for node in [node for node in kept if node not in alive]:
                kept.pop(node).close()
            kept.update(made)
        self.at = end

    def values(self, which: int, node: fx.Node) -> Column:
        """A value of a network that later operations read, for every batch."""
        return self.columns[which][node]

    def computed(self, which: int, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        """The result of an operation on values, with the tensors of a network."""

        def value(of: fx.Node) -> Any:
            return values[of] if of in values else self._fixed_value(which, of)

        args = fx.node.map_arg(node.args, value)
        kwargs = {key: self._placed(fx.node.map_arg(argument, value)) for key, argument in node.kwargs.items()}
        with torch.no_grad(), torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.amp):
            return node.target(*args, **kwargs)  # type: ignore[operator]

    def close(self) -> None:
        """Free everything."""
        for kept in self.columns:
            for column in kept.values():
                column.close()

    def _run(self, which: int, values: dict[fx.Node, Any], end: int) -> None:
        for i in range(self.at, end):
            node = self.nodes[i]
            if node.op == "call_function" and not packet(node).startswith("_assert"):
                values[node] = self.computed(which, node, values)
            for read in node.all_input_nodes:
                if self.last[read] == i:
                    values.pop(read, None)

    def _is_fixed(self, node: fx.Node) -> bool:
        return node.op == "get_attr" or (node.op == "placeholder" and node not in self.graph.images)

    def _fixed_value(self, which: int, node: fx.Node) -> Any:
        if node.op == "get_attr":
            return getattr(self.graph.module, str(node.target))
        if node in self.fixed:
            return self.fixed[node]
        return self.networks[which][self.graph.names[node]]

    def _placed(self, value: Any) -> Any:
        """Replace the device of tracing, the cpu, by the one on which the networks are."""
        return self.device if isinstance(value, torch.device) else value
