"""A moment of a training to go back to: weights, BatchNorm, optimiser and learning rate (Frankle et al. 2020)."""

import copy
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from prunectl.structure.optimizer import laid_out
from prunectl.structure.surgery import Kept, cut


@dataclass(frozen=True, eq=False)
class Moment:
    """Copies of the network, of its average, of the optimiser's state, and plain values of both schedules."""

    network: dict[str, Tensor]
    slots: dict[str, dict[str, Tensor]]
    groups: list[dict[str, Any]]
    schedule: dict[str, Any]
    average: dict[str, Tensor]

    @staticmethod
    def of(
        model: nn.Module, optimizer: Optimizer, scheduler: LRScheduler, average: AveragedModel | None = None
    ) -> "Moment":
        """Where a training stands."""
        state = optimizer.state
        slots = {
            name: {
                slot: value.detach().clone() for slot, value in state.get(p, {}).items() if isinstance(value, Tensor)
            }
            for name, p in model.named_parameters()
        }
        groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
        network, averaged = (
            {name: tensor.detach().clone() for name, tensor in each.state_dict().items()} if each is not None else {}
            for each in (model, average)
        )
        return Moment(network, slots, copy.deepcopy(groups), copy.deepcopy(scheduler.state_dict()), averaged)

    def back_(
        self, model: nn.Module, optimizer: Optimizer, scheduler: LRScheduler, average: AveragedModel | None = None
    ) -> None:
        """Go back; the network has the same shapes, and the caller masks it."""
        model.load_state_dict(self.network)
        if average is not None:
            average.load_state_dict(self.average)
        for name, parameter in model.named_parameters():
            optimizer.state.pop(parameter, None)
            if self.slots.get(name):
                optimizer.state[parameter] = {s: laid_out(v.clone(), parameter) for s, v in self.slots[name].items()}
        for group, saved in zip(optimizer.param_groups, self.groups, strict=True):
            group.update(copy.deepcopy(saved))
        scheduler.load_state_dict(copy.deepcopy(self.schedule))

    def without(self, kept: Kept) -> "Moment":
        """The same moment of the smaller network that is left of this one."""
        slots: dict[str, dict[str, Tensor]] = {}
        for name, each in self.slots.items():
            whole = self.network[name].shape
            slots[name] = {s: cut({name: v}, kept)[name] if v.shape == whole else v for s, v in each.items()}
        of_average = {(f"module.{name}", axis): left for (name, axis), left in kept.items()}
        return replace(self, network=cut(self.network, kept), slots=slots, average=cut(self.average, of_average))

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by names of one level more, for a file."""
        found = {f"network/{name}": tensor for name, tensor in self.network.items()}
        found |= {f"average/{name}": tensor for name, tensor in self.average.items()}
        for name, slots in self.slots.items():
            found |= {f"slots/{name}/{slot}": value for slot, value in slots.items()}
        return found

    def values(self) -> dict[str, Any]:
        """All else, as plain JSON values."""
        return {"groups": self.groups, "schedule": self.schedule}

    @staticmethod
    def read(tensors: dict[str, Tensor], values: dict[str, Any]) -> "Moment":
        """Undo `tensors` and `values`."""
        network, average, slots = {}, {}, dict[str, dict[str, Tensor]]()
        for key, tensor in tensors.items():
            kind, _, name = key.partition("/")
            if kind == "network":
                network[name] = tensor
            elif kind == "average":
                average[name] = tensor
            else:
                owner, _, slot = name.rpartition("/")
                slots.setdefault(owner, {})[slot] = tensor
        return Moment(network, slots, [plain_group(group) for group in values["groups"]], values["schedule"], average)


def plain_group(group: dict[str, Any]) -> dict[str, Any]:
    """A group of an optimiser as it was before JSON made lists of its tuples."""
    return {key: tuple(value) if key == "betas" else value for key, value in group.items()}
