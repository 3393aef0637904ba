"""RewindPoint: weights, BatchNorm statistics, optimiser and learning rate to rewind to (Frankle et al. 2020)."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from prunectl.structure.surgery.cut import Kept, cut
from prunectl.structure.surgery.optimizer import laid_out
from prunectl.training.slots import Slots, copied, from_state, plain_group, slots_of, to_state
from prunectl.training.state import under, within


@dataclass(frozen=True, eq=False)
class RewindPoint:
    """Copies of the network, of its average, and of the state of optimiser and scheduler."""

    network: dict[str, Tensor]
    slots: dict[str, Slots]
    groups: list[dict[str, Any]]
    schedule: dict[str, Any]
    average: dict[str, Tensor]

    @staticmethod
    def of(
        model: nn.Module, optimizer: Optimizer, scheduler: LRScheduler, average: AveragedModel | None = None
    ) -> "RewindPoint":
        """Copy the current state of a training."""
        slots = {name: copied(each) for name, each in slots_of(optimizer, dict(model.named_parameters())).items()}
        groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
        network, averaged = (
            {name: tensor.detach().clone() for name, tensor in each.state_dict().items()} if each is not None else {}
            for each in (model, average)
        )
        return RewindPoint(network, slots, copy.deepcopy(groups), copy.deepcopy(scheduler.state_dict()), averaged)

    def back_(
        self, model: nn.Module, optimizer: Optimizer, scheduler: LRScheduler, average: AveragedModel | None = None
    ) -> None:
        """Rewind a training whose network has the same shapes; the caller masks it."""
        model.load_state_dict(self.network)
        if average is not None:
            average.load_state_dict(self.average)
        for name, parameter in model.named_parameters():
            optimizer.state.pop(parameter, None)
            if self.slots.get(name):
                again = copied(self.slots[name]).items()
                optimizer.state[parameter] = {s: laid_out(v, parameter) for s, v in again}
        for group, saved in zip(optimizer.param_groups, self.groups, strict=True):
            group.update(copy.deepcopy(saved))
        scheduler.load_state_dict(copy.deepcopy(self.schedule))

    def without(self, kept: Kept) -> "RewindPoint":
        """The same point for the smaller network that keeps `kept` of this one."""
        slots: dict[str, Slots] = {}
        for name, each in self.slots.items():
            whole = self.network[name].shape
            slots[name] = {
                s: cut({name: v}, kept)[name] if isinstance(v, Tensor) and v.shape == whole else v
                for s, v in each.items()
            }
        of_average = {(f"module.{name}", axis): left for (name, axis), left in kept.items()}
        return replace(self, network=cut(self.network, kept), slots=slots, average=cut(self.average, of_average))

    def state_dict(self) -> dict[str, Any]:
        """Tensors as `network/`, `average/` and `slots/` with their names, and plain values of both schedules."""
        tensors = under("network", self.network) | under("average", self.average)
        return {**tensors, **to_state("slots", self.slots), "groups": self.groups, "schedule": self.schedule}

    @staticmethod
    def from_state_dict(state: Mapping[str, Any]) -> "RewindPoint":
        """Undo `state_dict`."""
        groups = [plain_group(group) for group in state["groups"]]
        slots = from_state("slots", state)
        return RewindPoint(within("network", state), slots, groups, state["schedule"], within("average", state))
