"""Finds nodes that masks have cut off, and folds the constants that they leave behind."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from prunectl.masks import Masks
from prunectl.structure.export import BATCH, bind, packet
from prunectl.structure.links import Link
from prunectl.structure.liveness import Paths
from prunectl.structure.node_masks import dead_nodes
from prunectl.structure.surgery.proof import DrawImages, like_images, noise
from prunectl.structure.trace import Analysis, named_tensors


def bury_(
    model: nn.Module, analysis: Analysis, masks: Masks, draw: DrawImages = noise, staying: Tensor | None = None
) -> Tensor:
    """Find the nodes that can be removed without changing the function: bool (nodes,).

    Nodes that are masked on all their parameters, or on which no output depends, are removed. A node that the image
    does not reach is a constant: it is removed if it is zero wherever it is used, or if every consumer can take the
    constant into its bias. `model` then holds new tensors; the old ones keep their values. At the zero padding of a
    convolution a nonzero constant is not constant, so such a node stays. At least one node stays on every axis. Nodes
    in `staying` (bool, (nodes,)) are removed only if they are masked on all their parameters. `model` should be in
    float64.
    """
    axes = analysis.structure.axes
    removed = torch.cat([masked_nodes(analysis, masks, model), torch.tensor([False])])
    held = torch.zeros_like(removed) if staying is None else analysis.structure.gone(staying)
    while True:
        paths = Paths(analysis, masks, removed[:-1])
        useless = torch.cat([paths.useless(), torch.tensor([False])]) & ~held
        folded = _fold_(model, paths, removed | useless, held, draw)
        now = _leave_one(axes, removed, removed | useless | folded)
        if torch.equal(now, removed):
            return removed[:-1]
        removed = now


def masked_nodes(analysis: Analysis, masks: Masks, model: nn.Module) -> Tensor:
    """Nodes that are masked on all their parameters, except one on every axis: bool (nodes,)."""
    dead = torch.cat([dead_nodes(analysis.structure, masks, model), torch.tensor([False])])
    return _leave_one(analysis.structure.axes, torch.zeros_like(dead), dead)[:-1]


def nothing_but_masked(model: nn.Module, analysis: Analysis, masks: Masks, staying: Tensor | None = None) -> bool:
    """Whether `bury_` finds only nodes that are masked on all their parameters, judged from the masks alone."""
    removed = torch.cat([masked_nodes(analysis, masks, model), torch.tensor([False])])
    held = torch.zeros_like(removed) if staying is None else analysis.structure.gone(staying)
    paths = Paths(analysis, masks, removed[:-1])
    useless = torch.cat([paths.useless(), torch.tensor([False])]) & ~held
    return not (useless | _constants(paths, _uses(paths), removed | held)).any()


def _leave_one(axes: Mapping[tuple[str, int], Tensor], before: Tensor, after: Tensor) -> Tensor:
    """Undo one removal on every axis that would become empty; both are bool (nodes + 1,)."""
    after = after.clone()
    for classes in axes.values():
        if after[classes].all():
            after[classes[~before[classes]][:1]] = False
    return after


def _fold_(model: nn.Module, paths: Paths, removed: Tensor, held: Tensor, draw: DrawImages) -> Tensor:
    """Move constants into the biases of their consumers if every use of a node allows it; return these nodes."""
    uses = _uses(paths)
    candidates = _constants(paths, uses, removed | held)
    if not candidates.any():
        return candidates
    seen = _Recorder(paths, {source for _, source in uses}).values(model, draw)
    for node, source in uses:
        candidates &= _accepts(model, paths, node, source, seen[source], candidates, removed)
    for link in paths.links.values():
        if not link.own:
            _shift_bias_(model, paths, link, candidates[link.inputs] & _multiplied(link, removed), seen)
    return candidates


def _uses(paths: Paths) -> list[tuple[fx.Node, fx.Node]]:
    """Every operation that multiplies or mixes channels, with each tensor whose channels it uses."""
    return [(node, source) for node in paths.order for source in _read_by(paths, node)]


def _constants(paths: Paths, uses: list[tuple[fx.Node, fx.Node]], without: Tensor) -> Tensor:
    """The classes that are read, and that the image does not reach anywhere they are read: bool (nodes + 1,)."""
    read, live = torch.zeros_like(without), torch.zeros_like(without)
    for _, source in uses:
        lying = paths.lying(source)
        read |= lying
        live |= lying & paths.live[source]
    read[-1] = False
    return read & ~live & ~without


def _read_by(paths: Paths, node: fx.Node) -> list[fx.Node]:
    """The tensors whose channels an operation multiplies or mixes."""
    link = paths.links.get(node)
    if link is not None:
        return [] if link.own else [bind(node)["input"]]
    return paths.sources(node) if paths.mixes(node) else []


def _multiplied(link: Link, removed: Tensor) -> Tensor:
    """The input channels of a layer with a kept weight to an output that stays: bool (inputs,)."""
    return link.linked[~removed[link.outputs]].any(0)


def _accepts(
    model: nn.Module,
    paths: Paths,
    node: fx.Node,
    source: fx.Node,
    value: Tensor,
    wanted: Tensor,
    removed: Tensor,
) -> Tensor:
    """The classes whose constant an operation can do without: bool (nodes + 1,)."""
    fine = torch.ones_like(wanted)
    link = paths.links.get(node)
    for axis, row in paths.rows(source):
        classes = paths.number[row]
        chosen = torch.nonzero(wanted[classes]).flatten()
        if not len(chosen):
            continue
        entries = value.index_select(axis, chosen).movedim(axis, 0).reshape(len(chosen), -1)
        takes = (entries == 0).all(1)
        if link is not None and axis == link.axis % value.ndim:
            spread = (entries - entries[:, :1]).abs().amax(1)
            takes |= (spread <= 1e-12 * (1 + entries.abs().amax(1))) & _takes_constants(model, paths, link)
            takes |= ~_multiplied(link, removed)[chosen]
        fine[classes[chosen[~takes]]] = False
    return fine


def _takes_constants(model: nn.Module, paths: Paths, link: Link) -> bool:
    """Whether a constant input channel only shifts the layer's bias, which nothing else uses."""
    a = bind(link.node)
    if a.get("bias") is None or link.transposed:
        return False
    if any(paths.readers(model, a[key]) != 1 for key in ("weight", "bias")):
        return False
    padding = a.get("padding", "valid")
    return padding == "valid" or (padding != "same" and not any(padding))


def _shift_bias_(model: nn.Module, paths: Paths, link: Link, folded: Tensor, seen: Mapping[fx.Node, Tensor]) -> None:
    """Add the contribution of the folded inputs (bool (inputs,)) to the bias, and cut them off."""
    a, tensors = bind(link.node), named_tensors(model)
    chosen = torch.nonzero(folded).flatten()
    constants = seen[a["input"]].index_select(link.axis, chosen).movedim(link.axis, 0).flatten(1)[:, 0]
    weight, axis = tensors[link.weight], 0 if link.transposed else 1
    with torch.no_grad():
        if constants.any():  # without a bias, only zero constants were accepted
            columns = weight.index_select(1, chosen)
            columns = columns.flatten(2).sum(2) if columns.ndim > 2 else columns
            bias = tensors[paths.flow.graph.names[a["bias"]]]
            bias.data = bias.data + columns @ constants
        if weight.index_select(axis, chosen).view(torch.uint8).any():  # any bit set: -0 becomes 0
            weight.data = weight.data.index_fill(axis, chosen, 0)


class _Recorder(fx.Interpreter):
    """Runs a graph on random images, and stores the wanted tensors."""

    def __init__(self, paths: Paths, wanted: set[fx.Node]) -> None:
        super().__init__(paths.flow.graph.module)
        self.graph_of, self.wanted = paths.flow.graph, wanted
        self.seen: dict[fx.Node, Tensor] = {}

    def values(self, model: nn.Module, draw: DrawImages) -> dict[fx.Node, Tensor]:
        """The tensors, with the parameters of `model`."""
        tensors, images = named_tensors(model), self.graph_of.images
        weight = like_images(model)
        generator = torch.Generator().manual_seed(0)
        given = []
        for node in self.graph_of.nodes:
            if node.op != "placeholder":
                continue
            if node in images:
                shape = (BATCH, *node.meta["val"].shape[1:])
                given.append(draw(shape, generator).to(weight))
            else:
                constant = self.graph_of.constants.get(node)
                given.append(tensors[self.graph_of.names[node]] if constant is None else constant)
        with torch.no_grad():
            self.run(*given, enable_io_processing=False)
        return self.seen

    def run_node(self, n: fx.Node) -> Any:
        """Run one step; assertions about the type of a tensor are skipped, because it may differ here."""
        if n.op == "call_function" and packet(n).startswith("_assert"):
            return None
        value = super().run_node(n)
        if n in self.wanted:
            self.seen[n] = value.clone()  # later steps may write into it
        return value
