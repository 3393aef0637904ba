"""PHEW: keep the weights on random walks that prefer large ones (Patil & Dovrolis 2021)."""

import torch
from torch import Tensor, nn

from prunectl.criteria.base.criterion import Batches, Criterion
from prunectl.errors import OptionError
from prunectl.masks import input_axes, prunable
from prunectl.scores import Scores
from prunectl.structure.nodes import FROZEN, Structure
from prunectl.structure.trace import trace

_AT_ONCE = 16384
_NEVER = torch.iinfo(torch.int64).max
_LOST = FROZEN - 1
"""The position of a walk that cannot continue."""


def on_walks(model: nn.Module, data: Batches, *, walks: int = 1_000_000) -> Scores:
    """Weights on random walks score above 1, higher on earlier walks; other weights score |θ| / Σ |θ| of their layer.

    Walks start alternately at the channels of the image and at the outputs, and lead to the other end. From a node, a
    walk takes each of the node's weights in a layer with probability |θ| / Σ |θ|. If later layers also lead on from the
    node, it skips a layer with probability 1/2. A layer over positions, such as one that mixes tokens, does not change
    the node. Walking ends when half of all weights are on a walk, or after `walks` walks.
    Source: Patil & Dovrolis 2021 (arXiv:2010.11354), section 5.

    Raises:
        OptionError: fewer than 1 walk.
        StructureError: the network cannot be traced, so the order of layers is unknown.
    """
    if walks < 1:
        raise OptionError(f"walks must be 1 or more, got {walks}")
    _, *shape = next(data)[0].shape
    structure = trace(model, (shape[0], shape[1], shape[2]))
    axes = _axes(model)
    layers = {name: _Layer(*axes[name]) for name in _in_order(structure, model)}
    forth = [_Steps(layer, *_classes(structure, name, layer)) for name, layer in layers.items()]
    back = [_Steps(steps.layer, steps.ends, steps.begins, back=True) for steps in reversed(forth)]
    begun, total = 0, sum(layer.sizes.numel() for layer in layers.values())
    while begun < walks and 2 * sum(layer.walked() for layer in layers.values()) < total:
        numbers = torch.arange(begun, min(begun + _AT_ONCE, walks))
        _walk(forth, numbers[numbers % 2 == 0], structure.nodes)
        _walk(back, numbers[numbers % 2 == 1], structure.nodes)
        begun += len(numbers)
    return Scores({name: layers[name].scores(begun).to(weight.device) for name, weight in prunable(model).items()})


def _axes(model: nn.Module) -> dict[str, tuple[Tensor, int, int]]:
    """Every prunable weight with its input and output axes, which are the same one for depthwise layers."""
    found, inputs = {}, input_axes(model)
    convolutions = {name: m for name, m in model.named_modules() if isinstance(m, nn.modules.conv._ConvNd)}
    alone = {f"{name}.weight".lstrip(".") for name, m in convolutions.items() if 1 < m.groups == m.in_channels}
    for name, weight in prunable(model).items():
        axis = inputs[name]
        found[name] = (weight, 0, 0) if axis is None or name in alone else (weight, axis, 1 - axis)
    return found


def _in_order(structure: Structure, model: nn.Module) -> list[str]:
    """The prunable weights in the order in which the network uses them; unused ones come last."""
    named = dict(model.named_parameters(remove_duplicate=False))
    used: dict[int, int] = {}
    for place, product in enumerate(structure.products):
        used.setdefault(id(named.get(product.name)), place)
    return sorted(prunable(model), key=lambda name: used.get(id(named[name]), len(structure.products)))


def _classes(structure: Structure, name: str, layer: "_Layer") -> tuple[Tensor, Tensor]:
    """The nodes of a weight's inputs and outputs; FROZEN for an index without a node."""

    def on(axis: int) -> Tensor:
        return structure.axes.get((name, axis), torch.full((layer.sizes.shape[axis],), FROZEN))

    return on(layer.inputs), on(layer.outputs)


class _Layer:
    """The sizes of a weight, and the number of the first walk over each entry."""

    def __init__(self, weight: Tensor, inputs: int, outputs: int) -> None:
        self.sizes = weight.detach().abs().double().cpu().contiguous()
        self.inputs, self.outputs = inputs, outputs
        self.first = torch.full((self.sizes.numel(),), _NEVER)

    def walked(self) -> int:
        """The number of entries on walks."""
        return int((self.first < _NEVER).sum())

    def scores(self, walks: int) -> Tensor:
        """Above 1 on walks, at most 1 elsewhere; float32, of the weight's shape."""
        first = self.first.view_as(self.sizes)
        shares = self.sizes / self.sizes.sum().clamp_min(torch.finfo(torch.float64).tiny)
        return torch.where(first < _NEVER, 2 - (first.clamp_max(walks).double() + 1) / (walks + 1), shares).float()


class _Steps:
    """The possible steps in a layer: from the nodes `begins` on one axis of its weight to `ends` on the other."""

    def __init__(self, layer: _Layer, begins: Tensor, ends: Tensor, back: bool = False) -> None:
        self.layer, self.begins, self.ends = layer, begins, ends
        axis, self.other = (layer.outputs if back else layer.inputs), int(layer.inputs != layer.outputs)
        moved = layer.sizes.movedim(axis, 0)
        self.shape, self.strides = moved.shape, moved.stride()
        rows = moved.flatten(1)
        sums = rows.sum(1, keepdim=True)
        shares = rows.cumsum(1) / sums.where(sums > 0, 1)
        self.width, self.open = rows.shape[1], sums.flatten() > 0
        self.reached = (shares + torch.arange(len(rows)).unsqueeze(1)).flatten()
        self.order = torch.argsort(begins, stable=True)
        self.sorted = begins[self.order]
        self.over_places = bool((begins == FROZEN).all() and (ends == FROZEN).all())

    def leads_on(self, at: Tensor) -> Tensor:
        """Whether a walk can take a step from each of these nodes: bool, of their shape."""
        return (at != _LOST) if self.over_places else torch.isin(at, self.begins)

    def take_(self, at: Tensor, numbers: Tensor) -> Tensor:
        """Take a step in every walk, from nodes where one is possible; return the new positions."""
        if self.over_places:
            self._step_(torch.full_like(at, FROZEN), numbers)
            return at
        return self._step_(at, numbers)

    def _step_(self, at: Tensor, numbers: Tensor) -> Tensor:
        low, high = (torch.searchsorted(self.sorted, at, right=right) for right in (False, True))
        count = high - low
        picks = torch.where(at == FROZEN, numbers // 2 % count, (_draws(at) * count).long())
        rows = self.order[low + picks]
        place = torch.searchsorted(self.reached, rows + _draws(at), right=True)
        index = torch.unravel_index(place.minimum((rows + 1) * self.width - 1), self.shape)
        going = self.open[rows]
        entries = torch.stack([i * stride for i, stride in zip(index, self.strides, strict=True)]).sum(0)
        self.layer.first.scatter_reduce_(0, entries[going], numbers[going], "amin")
        return torch.where(going, self.ends[index[self.other]], _LOST)


def _walk(way: list[_Steps], numbers: Tensor, nodes: int) -> None:
    """Take walks through all layers on the way, starting at FROZEN: the image, or the outputs."""
    at = torch.full_like(numbers, FROZEN)
    for steps, later in zip(way, _later(way, nodes), strict=True):
        leaves_out = later[at % len(later)] & (at != FROZEN) & (_draws(at) < 0.5)
        walking = torch.nonzero(steps.leads_on(at) & ~leaves_out).flatten()
        if len(walking):
            at[walking] = steps.take_(at[walking], numbers[walking])


def _later(way: list[_Steps], nodes: int) -> list[Tensor]:
    """The nodes from which the layers after each one lead on: bool (nodes + 2,), the last two for _LOST and FROZEN."""
    leads, found = torch.zeros(nodes + 2, dtype=torch.bool), []
    for steps in reversed(way):
        found.append(leads.clone())
        leads[steps.begins % len(leads)] = True
    return found[::-1]


def _draws(like: Tensor) -> Tensor:
    """Uniform in [0, 1), float64, one for each entry."""
    return torch.rand(like.shape, dtype=torch.float64)


phew = Criterion(
    on_walks,
    schedule="one-shot",
    scope="global",
    source="Patil & Dovrolis 2021, arXiv:2010.11354, section 5",
    needs_data=False,
)
