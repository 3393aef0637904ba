"""Finds the nodes that still carry something from the image to an output when weights are masked."""

import torch
from torch import Tensor, fx, nn

from prunectl.masks import Masks
from prunectl.structure.aliasing import written_by
from prunectl.structure.export import bind
from prunectl.structure.labels import Row
from prunectl.structure.links import Link, link_of
from prunectl.structure.node_masks import dead_nodes
from prunectl.structure.nodes import FROZEN
from prunectl.structure.operations import Liveness, liveness_of
from prunectl.structure.propagation import index_rows
from prunectl.structure.trace import Analysis, named_tensors


class Paths:
    """Liveness of classes in every tensor of a graph: `live[node]` and `used[node]` are bool (nodes + 1,).

    The last entry is for all indices without a node. A class is live in a tensor if its entries depend on the image,
    and used if an output depends on them. `of_image` holds the images and all tensors computed from them.
    """

    def __init__(self, analysis: Analysis, masks: Masks, removed: Tensor) -> None:
        self.flow, self.number = analysis.flow, analysis.number
        self.count = analysis.structure.nodes + 1
        self.gone = torch.cat([removed, torch.tensor([False])])
        self.order = [n for n in self.flow.graph.nodes if n.op == "call_function" and self.flow.tensors_of(n)]
        from_image = [n for n in self.order if any(v.image for v in self.flow.tensors_of(n))]
        self.of_image = dict.fromkeys([*self.flow.graph.images, *from_image])
        self.links = {
            node: link for node in self.order if (link := link_of(node, self.flow, masks, self.number)) is not None
        }
        self.live: dict[fx.Node, Tensor] = {}
        self.used: dict[fx.Node, Tensor] = {}
        self._forward()
        self._backward()

    def lying(self, node: fx.Node) -> Tensor:
        """The classes on the axes of a node's result: bool (nodes + 1,)."""
        here = torch.zeros(self.count, dtype=torch.bool)
        for _, row in self.rows(node):
            here[self.number[row]] = True
        return here

    def readers(self, model: nn.Module, node: fx.Node) -> int:
        """The number of operations that use a parameter, under any of its names; 0 for computed tensors."""
        names, tensors = self.flow.graph.names, named_tensors(model)
        own = tensors.get(names.get(node, ""))
        return sum(len(n.users) for n, name in names.items() if own is not None and tensors[name] is own)

    def rows(self, node: fx.Node) -> list[tuple[int, Row]]:
        """The labelled axes of a node's result."""
        return [pair for value in self.flow.tensors_of(node) for pair in index_rows(value)]

    def reached(self) -> Tensor:
        """The classes that are live and used in some tensor: bool (nodes,)."""
        found = self._off_the_image()
        for node in self.of_image:
            found |= self.lying(node) & self.live[node] & self.used[node]
        return found[:-1] & ~self.gone[:-1]

    def useless(self) -> Tensor:
        """The classes that no output depends on: bool (nodes,)."""
        used = self._off_the_image()
        for node in self.of_image:
            used |= self.lying(node) & self.used[node]
            if node.op == "call_function" and node not in self.links and self.mixes(node) and self.used[node].any():
                for source in self.sources(node):  # a recurrent layer reads its inner classes itself
                    used |= self.lying(source)
        return ~used[:-1] & ~self.gone[:-1]

    def _off_the_image(self) -> Tensor:
        """The used classes that are only on tensors computed from parameters alone: bool (nodes + 1,).

        Examples are the rank of a low-rank weight, and a class between two layers that map positions to a bias.
        """
        image, others = (torch.zeros(self.count, dtype=torch.bool) for _ in range(2))
        for node in self.of_image:
            image |= self.lying(node)
        for node in self.order:
            if node not in self.of_image and self.used[node].any():
                for tensor in (node, *self.sources(node)):
                    others |= self.lying(tensor)
        return others & ~image

    def mixes(self, node: fx.Node) -> bool:
        """Whether one channel's values reach another's."""
        kind = liveness_of(node)
        if kind is Liveness.REDUCES:
            return any(len(self.rows(source)) > len(self.rows(node)) for source in self.sources(node))
        return kind is not Liveness.PASSES or node in self.flow.wide

    def sources(self, node: fx.Node) -> list[fx.Node]:
        """The input tensors of an operation."""
        return [n for n in node.all_input_nodes if self.flow.tensors_of(n)]

    def _forward(self) -> None:
        nothing = torch.zeros(self.count, dtype=torch.bool)
        for node in self.flow.graph.names:
            self.live[node] = nothing
        for node in self.flow.graph.constants:
            self.live[node] = nothing
        for node in self.flow.graph.images:
            self.live[node] = ~self.gone
        for node in self.order:
            link = self.links.get(node)
            sources = self.sources(node)
            if link is not None:
                self.live[node] = self._linked_forward(link)
            elif self.mixes(node):
                any_live = any(bool(self.live[s].any()) for s in sources)
                self.live[node] = ~self.gone if any_live else nothing
            else:
                self.live[node] = self._passed(node, sources)
            for written in written_by(node):
                self.live[written] = self.live[written] | self.live[node]

    def _linked_forward(self, link: Link) -> Tensor:
        source = bind(link.node)["input"]
        there = self.live[source]
        incoming = there[link.inputs] | (
            (link.inputs == FROZEN) & there.any()
        )  # every channel is live in a tensor without nodes
        outgoing = (link.linked & incoming) if link.own else (link.linked & incoming[None, :]).any(1)
        outgoing = outgoing & ~self.gone[link.outputs]
        live = torch.zeros(self.count, dtype=torch.bool)
        live[link.outputs[outgoing]] = True
        live |= self._aside(link, self.live[source])
        return live

    def _passed(self, node: fx.Node, sources: list[fx.Node]) -> Tensor:
        live = torch.zeros(self.count, dtype=torch.bool)
        for source in sources:
            there = self.live[source]
            live |= there
            if there[-1] and not self._labelled(source):
                live[:] = True
        return live & ~self.gone

    def _labelled(self, node: fx.Node) -> bool:
        return any(v.labelled for v in self.flow.tensors_of(node))

    def _backward(self) -> None:
        for node in self.flow.graph.nodes:
            self.used[node] = torch.zeros(self.count, dtype=torch.bool)
        for output in self.flow.graph.outputs:
            self.used[output] = ~self.gone
        for node in reversed(self.order):
            used = self.used[node]
            for written in written_by(node):  # its later readers have already been passed
                used |= self.used[written]
            if not used.any():
                continue
            link = self.links.get(node)
            if link is not None:
                self._linked_backward(link)
                continue
            mixes = self.mixes(node)
            for source in self.sources(node):
                if mixes or not self._labelled(source):
                    self.used[source] |= ~self.gone
                else:
                    self.used[source] |= used
                    if not self._labelled(node):
                        self.used[source] |= ~self.gone

    def _linked_backward(self, link: Link) -> None:
        source = bind(link.node)["input"]
        wanted = self.used[link.node][link.outputs] & ~self.gone[link.outputs]
        incoming = (link.linked & wanted) if link.own else (link.linked & wanted[:, None]).any(0)
        self.used[source][link.inputs[incoming]] = True
        self.used[source][-1] |= bool(wanted.any())
        self.used[source] |= self._aside(link, self.used[link.node])

    def _aside(self, link: Link, there: Tensor) -> Tensor:
        """The values of classes on axes that a layer does not multiply over, such as tokens."""
        found, value = torch.zeros_like(there), self.flow.value(link.node)
        for axis, row in index_rows(value):
            if axis != link.axis % len(value.shape):
                classes = self.number[row]
                found[classes] = there[classes]
        return found


def cut_off(model: nn.Module, analysis: Analysis, masks: Masks) -> Tensor:
    """The nodes on no path of kept weights from the image to an output: bool (nodes,)."""
    removed = dead_nodes(analysis.structure, masks, model)
    while True:
        reached = Paths(analysis, masks, removed).reached()
        if torch.equal(~reached, removed):
            return removed
        removed = ~reached | removed
