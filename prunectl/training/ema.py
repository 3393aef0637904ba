"""Exponential moving averages of a network and of its companion, which are evaluated and become the result."""

import copy
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from prunectl.criteria.base.callback import Callback
from prunectl.masks import Masks
from prunectl.structure.surgery.cut import Kept, cut


class EMA:
    """Of weights and buffers, by one decay; that of a pruned weight stays zero.

    A companion without tensors has none.
    """

    def __init__(self, decay: float, model: nn.Module, callback: Callback | None) -> None:
        self.decay = decay
        self.model = self._of(model)
        self.callback = None if callback is None or not callback.state_dict() else self._of(callback)

    @property
    def network(self) -> nn.Module:
        """The averaged network."""
        network: nn.Module = self.model.module
        return network

    def update_(self, model: nn.Module, callback: Callback | None) -> None:
        """After a step."""
        self.model.update_parameters(model)
        if callback is not None and self.callback is not None:
            self.callback.update_parameters(callback)

    def folded(self, callback: Callback) -> nn.Module:
        """A copy of the averaged network with what the averaged companion puts into its parameters."""
        network = copy.deepcopy(self.network).requires_grad_(True)
        self._averaged(callback).fold_(network)
        return network

    def fold_(self, callback: Callback) -> None:
        """Put it into the averaged network itself, before a round that ends this companion."""
        self._averaged(callback).fold_(self.network)

    def after(
        self, model: nn.Module, callback: Callback | None, kept: Kept, grown: Mapping[str, Tensor], masks: Masks
    ) -> "EMA":
        """The averages of what a round has left of the network; weights that have grown begin at their values."""
        pruned = EMA(self.decay, model, callback)
        averaged = cut(self.network.state_dict(), kept)
        now = {name: tensor.detach() for name, tensor in model.named_parameters()}
        averaged |= {name: torch.where(mask, now[name], averaged[name]) for name, mask in grown.items()}
        pruned.network.load_state_dict(averaged)
        pruned.model.n_averaged.copy_(self.model.n_averaged)
        masks.apply_(pruned.network)
        return pruned

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by names of one level more, for a file."""
        found = {f"average/{name}": tensor for name, tensor in self.model.state_dict().items()}
        own = {} if self.callback is None else self.callback.state_dict()
        return {**found, **{f"companion_average/{name}": tensor for name, tensor in own.items()}}

    def load_(self, kinds: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Undo `tensors`, where names are sorted by their first level."""
        self.model.load_state_dict(kinds["average"])
        if self.callback is not None:
            self.callback.load_state_dict(kinds["companion_average"])

    def _averaged(self, callback: Callback) -> Callback:
        """What stands for a companion in the averaged network."""
        return callback if self.callback is None else cast(Callback, self.callback.module)

    def _of(self, module: nn.Module) -> AveragedModel:
        step = get_ema_multi_avg_fn(self.decay)  # type: ignore[no-untyped-call]
        return AveragedModel(module, multi_avg_fn=step, use_buffers=True)
