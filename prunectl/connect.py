"""Selection that leaves a path of kept weights from the image to the outputs."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from prunectl.masks import Masks, prunable
from prunectl.modes import evaluating
from prunectl.random_state import forked
from prunectl.scores import Scores
from prunectl.select import Scope, lamp, select
from prunectl.shadow import shadow
from prunectl.storages import Storages

Shape = tuple[int, int, int]
CHANNEL_AXIS = {"convolution": 1, "addmm": -1, "mm": -1}
"""The operations that multiply by the weights of convolutions and linear layers, and the axis of their channels."""


def select_connected(
    model: nn.Module, shape: Shape, scores: Scores, alive: Masks, keep: int, scope: str | Scope = "global"
) -> Masks:
    """As `select`; but where that would cut all paths through the network, the weights of one path stay first.

    The path is found layer by layer, each time by the highest score that is on a path. A network that is cut already,
    or whose signal cannot be followed (it is all zero behind a LayerNorm of equal values), is selected from as by
    `select`.

    Raises:
        OptionError: as `select`.
    """
    if scope == "lamp":  # whose scores depend on those of the whole layer
        scores, scope = lamp(scores, alive), "global"
    kept = select(scores, alive, keep, scope)
    flow = Flow(model, shape)
    if flow.reaches(Masks({**alive, **kept})) or not flow.reaches(alive):
        return kept
    highest = max(float(score.max()) for score in scores.values())
    path = _path(flow, scores, alive)
    first = {name: torch.where(path[name], 2 * abs(highest) + 1, score) for name, score in scores.items()}
    return select(Scores(first), alive, keep, scope)


def unreached_classes(model: nn.Module, shape: Shape, masks: Masks) -> list[int]:
    """The outputs to which no path of kept weights leads, of those that the dense network reaches.

    Such a logit is a constant, so the class is never told from the image.
    """
    flow = Flow(model, shape)
    lost = (flow.logits(Masks.dense()) > 0) & (flow.logits(masks) <= 0)
    return torch.nonzero(lost[0].reshape(lost.shape[1], -1).all(1)).flatten().tolist()


class Flow:
    """What an image of ones sends to the outputs without biases, through weights that average what they keep."""

    def __init__(self, model: nn.Module, shape: Shape) -> None:
        self.network = shadow(model, lambda tensor: _positive(tensor, isinstance(tensor, nn.Parameter)))
        with torch.no_grad():
            for name, tensor in [*self.network.named_parameters(), *self.network.named_buffers()]:
                if name.rpartition(".")[2] in ("bias", "running_mean"):
                    tensor.zero_()
        self.weights = prunable(self.network)
        first = next(model.parameters())
        self.images = torch.ones(1, *shape, dtype=first.dtype, device=first.device)

    def reaches(self, masks: Masks) -> bool:
        """Whether anything arrives through the weights that are kept."""
        with torch.no_grad():
            return bool(self.logits(masks).sum() > 0)

    def arrives(self, masks: Masks) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """At which input and which output channels of every weight that is used anything arrives: bool, by name."""
        ends = _Ends(self.weights)
        with ends, torch.no_grad():
            self.logits(masks)
        return ends.inputs, ends.outputs

    def on_paths(self, masks: Masks) -> dict[str, Tensor]:
        """Which kept weights are on a path: bool by name."""
        found = torch.autograd.grad(
            self.logits(masks).sum(), list(self.weights.values()), allow_unused=True, materialize_grads=True
        )
        return {name: (g * w.detach()) > 0 for (name, w), g in zip(self.weights.items(), found, strict=True)}

    def logits(self, masks: Masks) -> Tensor:
        """What arrives at each output, (1, classes)."""
        with torch.no_grad():
            for name, weight in self.weights.items():
                kept = masks[name].to(weight) if name in masks else torch.ones_like(weight)
                inputs = kept.flatten(1).sum(1).clamp_min(1)
                weight.copy_(kept / inputs.view(-1, *[1] * (weight.ndim - 1)))
        device = self.images.device
        with forked(device), evaluating(self.network), torch.autocast(device.type, enabled=False):
            arrives: Tensor = self.network(self.images)
        return arrives


class _Ends(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes which channels are above zero before and behind each weight."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.weights = Storages(weights)
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and look at what it takes and gives."""
        out, kind = func(*args, **(kwargs or {})), func._overloadpacket.__name__
        if kind in CHANNEL_AXIS:
            taken = args[1 if kind == "addmm" else 0]  # behind the bias
            for name in self.weights.among(args)[:1]:
                for ends, tensor in ((self.inputs, taken), (self.outputs, out)):
                    found = (tensor > 0).movedim(CHANNEL_AXIS[kind], 0).flatten(1).any(1)
                    ends[name] = found | ends.get(name, found)
        return out


def _path(flow: Flow, scores: Scores, alive: Masks) -> dict[str, Tensor]:
    """One weight of every layer, all on one path; a layer that no path needs keeps all."""
    chosen: dict[str, Tensor] = {}
    none = {name: torch.zeros_like(score, dtype=torch.bool) for name, score in scores.items()}
    for name, score in scores.items():
        on = flow.on_paths(Masks({**alive, **chosen}))[name]
        if on.any():
            best = score.masked_fill(~on, -torch.inf).argmax()
            chosen[name] = none[name].flatten().index_fill(0, best, True).view_as(score)
    return {**none, **chosen}


def _positive(tensor: Tensor, parameter: bool) -> Tensor:
    """|t|, of its own, with a gradient where it is a parameter; integers as they are."""
    made = tensor.detach().abs() if tensor.is_floating_point() else tensor.detach().clone()
    return made.requires_grad_() if parameter and made.is_floating_point() else made
