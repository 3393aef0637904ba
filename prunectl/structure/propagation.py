"""Propagates labels through a graph: every axis of every parameter gets labels, and operations map them to results."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx

from prunectl.errors import StructureError
from prunectl.structure.aliasing import bases, in_place, written_by
from prunectl.structure.export import Graph, bind, line_of, on_cpu, owner_of, packet, sizes
from prunectl.structure.labels import Labels, Reason, Row, Value
from prunectl.structure.operations import operation_of


class Propagation:
    """One pass over a graph. `values` holds what is known about every tensor, `known` the constants and sizes.

    `axes` are the labels of parameters and buffers by (name, axis); passes over several graphs of one network share
    them. `products` are the multiplications, `reads` the rows of weights that read inputs, `wide` the operations that
    take statistics over an axis that can shrink.
    """

    def __init__(
        self, graph: Graph, tensors: dict[str, Tensor], labels: Labels, axes: dict[tuple[str, int], Row], outer: bool
    ) -> None:
        self.graph, self.tensors, self.labels, self.axes = graph, tensors, labels, axes
        self.outer = outer
        self.values: dict[fx.Node, Any] = {}
        self.known: dict[fx.Node, Any] = {}
        self.products: list[tuple[str, int, list[Row]]] = []
        self.reads: list[Row] = []
        self.wide: set[fx.Node] = set()
        self.whole_groups: set[fx.Node] = set()
        self.first = {int(row[0]): (name, axis, len(row)) for (name, axis), row in axes.items()}

    def run(self) -> None:
        """Pass every node once, in order."""
        for node in self.graph.nodes:
            if node.op == "placeholder":
                self._placeholder(node)
            elif node.op == "output":
                for output in self.graph.outputs:
                    for value in self.tensors_of(output):
                        self.freeze(value, node, "an output of the network")
            elif node.op == "call_function":
                self._operation(node)
            elif node.op != "get_attr":
                raise StructureError(f"the network's structure cannot be traced: operation '{node.target}'")

    def value(self, argument: Any) -> Value:
        """What is known about an argument that is a tensor."""
        found = self.values.get(argument)
        if isinstance(found, Value):
            return found
        if isinstance(argument, fx.Node) and argument in self.known:
            raise StructureError(
                "the network's structure cannot be traced: it depends on a number computed from the image at "
                f"{line_of(argument) or argument}"
            )
        raise StructureError(f"the network's structure cannot be traced: '{argument}' is not a tensor")

    def tensors_of(self, argument: Any) -> list[Value]:
        """All tensors in an argument: one, several, or none."""
        if isinstance(argument, fx.Node):
            found = self.values.get(argument)
            return [found] if isinstance(found, Value) else [v for v in found or [] if isinstance(v, Value)]
        if isinstance(argument, list | tuple):
            return [value for part in argument for value in self.tensors_of(part)]
        return []

    def shape(self, node: fx.Node) -> tuple[int, ...]:
        """The shape of a node's result."""
        return sizes(node.meta["val"])

    def shapes(self, node: fx.Node) -> list[tuple[int, ...]]:
        """The shapes of all tensors in a node's result."""
        made = node.meta["val"]
        return [sizes(made)] if isinstance(made, Tensor) else [sizes(part) for part in made if isinstance(part, Tensor)]

    def number(self, argument: Any) -> Any:
        """A plain number (or a list of them) for one that may be computed from sizes."""
        if isinstance(argument, fx.Node):
            return self.known[argument]
        if isinstance(argument, list | tuple):
            return [self.number(part) for part in argument]
        return argument

    def reason(self, node: fx.Node, why: str) -> Reason:
        """Why something stays, with the operation and source line."""
        return Reason(why, packet(node), owner_of(node), line_of(node))

    def freeze(self, value: Value | Row | None, node: fx.Node, why: str) -> None:
        """Keep all indices of a tensor, or of a row of labels."""
        rows = value.rows if isinstance(value, Value) else (value,)
        for row in rows:
            self.labels.freeze(row, self.reason(node, why))

    def name_of(self, row: Row) -> str | None:
        """The parameter whose axis carries exactly these labels."""
        name, _, count = self.first.get(int(row[0]), (None, 0, 0))
        return name if count == len(row) else None

    def _placeholder(self, node: fx.Node) -> None:
        if node in self.graph.images:
            self.values[node] = self._image(node)
        elif node in self.graph.constants:
            self._constant(node, self.graph.constants[node])
        elif not self.tensors[self.graph.names[node]].is_floating_point():
            self._constant(node, self.tensors[self.graph.names[node]])
        else:
            self.values[node] = self._parameter(self.graph.names[node], node)

    def _image(self, node: fx.Node) -> Value:
        shape = self.shape(node)
        if not self.outer or shape[1] == 1:
            return Value.plain(shape)
        return Value(shape, (None, self._row("", 1, shape[1]), None, None), (False,) * 4)

    def _row(self, name: str, axis: int, size: int) -> Row:
        """The labels of a parameter's axis; new ones if it has none yet."""
        if (name, axis) not in self.axes:
            self.axes[name, axis] = row = self.labels.fresh(size)
            self.first[int(row[0])] = (name, axis, size)
        return self.axes[name, axis]

    def _parameter(self, name: str, node: fx.Node) -> Value:
        tensor = self.tensors[name]
        if not node.users:
            return Value.plain(tensor.shape, image=False)
        masked = isinstance(tensor, torch.nn.Parameter)
        rows: list[Row | None] = []
        for axis, size in enumerate(tensor.shape):
            if size == 1:
                rows.append(None)
                continue
            rows.append(self._row(name, axis, size))
        return Value(tuple(tensor.shape), tuple(rows), (masked,) * tensor.ndim, image=False)

    def _constant(self, node: fx.Node, tensor: Tensor) -> None:
        self.known[node] = on_cpu(tensor).clone()  # an in-place write must not reach the network
        self.values[node] = Value.plain(tensor.shape, image=False)

    def _operation(self, node: fx.Node) -> None:
        made = node.meta.get("val")
        if made is None or isinstance(made, torch.SymInt | torch.SymBool | torch.SymFloat | int | float | bool):
            self.known[node] = _plain(made)
            return
        if all(argument in self.known for argument in node.all_input_nodes):
            self._fold(node)
            return
        entry = operation_of(node)
        result = self.stop(node) if entry is None else entry.rule(self, node, bind(node))
        if result is not None:
            self.values[node] = result
        if in_place(node):
            self._write_through(node)

    def stop(self, node: fx.Node, why: str = "no rule for this operation") -> Value | list[Value]:
        """Keep all inputs of an operation."""
        values = self.tensors_of(list(node.all_input_nodes))
        for value in values:
            self.freeze(value, node, why)
        image = any(value.image for value in values)
        results = [Value.plain(shape, image) for shape in self.shapes(node)]
        return results[0] if isinstance(node.meta["val"], Tensor) else results

    def _fold(self, node: fx.Node) -> None:
        """Compute a result that depends only on constants."""
        try:
            made = node.target(*self._concrete(node.args), **self._concrete(node.kwargs))  # type: ignore[operator]
        except (RuntimeError, TypeError, NotImplementedError):
            made = None
        if isinstance(made, Tensor):
            self.known[node], self.values[node] = made, Value.plain(made.shape, image=False)
        else:
            self.values[node] = self.stop(node, "a constant that cannot be computed")

    def _concrete(self, argument: Any) -> Any:
        """The same arguments with constants and sizes instead of nodes."""
        if isinstance(argument, fx.Node):
            return self.known[argument]
        if isinstance(argument, dict):
            return {key: self._concrete(part) for key, part in argument.items()}
        if isinstance(argument, list | tuple):
            return type(argument)(self._concrete(part) for part in argument)
        return argument

    def _write_through(self, node: fx.Node) -> None:
        """After an in-place write, the written tensor is the result, and its views promise no more than it does.

        A write through a view changes a part of another tensor: if that is read later, it stays, unless the part is set
        to zero.
        """
        result, target = self.values[node], node.args[0]
        if not isinstance(result, Value) or not isinstance(target, fx.Node) or packet(node) == "zero":
            return
        read = []
        for other in written_by(node):
            self.known.pop(other, None)
            if other is not target and any(node < user for user in other.users):
                read.append(other)
                if isinstance(self.values.get(other), Value):
                    self._settle(other, node, result)
        if any(base in read for base in bases(target)):
            self.values[node] = self._settle(node, node, result)
        else:
            self.values[target] = result

    def _settle(self, other: fx.Node, node: fx.Node, result: Value) -> Value:
        """Keep a tensor that is written to through another one."""
        value = self.value(other)
        self.freeze(value, node, "written to through a view")
        self.values[other] = Value.plain(value.shape, value.image or result.image)
        return self.value(other)


def _plain(made: Any) -> Any:
    """A plain number for a symbolic one."""
    if isinstance(made, torch.SymInt | torch.SymFloat | torch.SymBool):
        return made.node.hint
    return made


def index_rows(value: Value) -> Iterator[tuple[int, Row]]:
    """The labelled axes of a tensor with their labels."""
    for axis in value.labelled:
        row = value.rows[axis]
        assert row is not None
        yield axis, row
