"""EMA: exponential moving averages of a network and its callback; they are evaluated and become the result."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from prunectl.criteria.base.callback import Callback
from prunectl.masks import Masks
from prunectl.structure.surgery.cut import Kept, cut
from prunectl.training.state import under, within


class EMA:
    """Averages of weights and buffers with one decay; a pruned weight's average stays zero.

    A callback without tensors has no average.
    """

    def __init__(self, decay: float, model: nn.Module, callback: Callback) -> None:
        self.decay = decay
        self.model = self._of(model)
        self.callback = self._of(callback) if callback.state_dict() else None

    @property
    def network(self) -> nn.Module:
        """The averaged network."""
        network: nn.Module = self.model.module
        return network

    def averaged(self, callback: Callback) -> Callback:
        """The average of this callback, or itself if it has no tensors."""
        return callback if self.callback is None else cast(Callback, self.callback.module)

    def update_(self, model: nn.Module, callback: Callback) -> None:
        """Include the values after a step in the averages."""
        self.model.update_parameters(model)
        if self.callback is not None:
            self.callback.update_parameters(callback)

    def after(
        self, model: nn.Module, callback: Callback, kept: Kept, grown: Mapping[str, Tensor], masks: Masks
    ) -> "EMA":
        """The averages for a pruned network; those of grown weights start at the weights' values."""
        pruned = EMA(self.decay, model, callback)
        averaged = cut(self.network.state_dict(), kept)
        now = {name: tensor.detach() for name, tensor in model.named_parameters()}
        averaged |= {name: torch.where(mask, now[name], averaged[name]) for name, mask in grown.items()}
        pruned.network.load_state_dict(averaged)
        pruned.model.n_averaged.copy_(self.model.n_averaged)
        masks.apply_(pruned.network)
        return pruned

    def state_dict(self) -> dict[str, Tensor]:
        """The tensors of the network's average as `average/`, those of the callback's as `companion_average/`."""
        own = {} if self.callback is None else self.callback.state_dict()
        return under("average", self.model.state_dict()) | under("companion_average", own)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo `state_dict`."""
        self.model.load_state_dict(within("average", state))
        if self.callback is not None:
            self.callback.load_state_dict(within("companion_average", state))

    def _of(self, module: nn.Module) -> AveragedModel:
        step = get_ema_multi_avg_fn(self.decay)  # type: ignore[no-untyped-call]
        return AveragedModel(module, multi_avg_fn=step, use_buffers=True)
