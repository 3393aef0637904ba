"""A moment of a training to go back to: weights, BatchNorm, optimiser and learning rate (Frankle et al. 2020)."""

import copy
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from prunectl.structure.optimizer import laid_out
from prunectl.structure.surgery import Kept, cut


@dataclass(frozen=True, eq=False)
class Moment:
    """Copies of a network's state_dict, of the optimiser's state by parameter, and plain values of both schedules."""

    network: dict[str, Tensor]
    slots: dict[str, dict[str, Tensor]]
    groups: list[dict[str, Any]]
    schedule: dict[str, Any]

    @staticmethod
    def of(model: nn.Module, optimizer: Optimizer, scheduler: LRScheduler) -> "Moment":
        """Where a training stands."""
        state = optimizer.state
        slots = {
            name: {
                slot: value.detach().clone() for slot, value in state.get(p, {}).items() if isinstance(value, Tensor)
            }
            for name, p in model.named_parameters()
        }
        groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
        network = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        return Moment(network, slots, copy.deepcopy(groups), copy.deepcopy(scheduler.state_dict()))

    def back_(self, model: nn.Module, optimizer: Optimizer, scheduler: LRScheduler) -> None:
        """Go back; the network has the same shapes, and the caller masks it."""
        model.load_state_dict(self.network)
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
        return replace(self, network=cut(self.network, kept), slots=slots)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by names of one level more, for a file."""
        found = {f"network/{name}": tensor for name, tensor in self.network.items()}
        for name, slots in self.slots.items():
            found |= {f"slots/{name}/{slot}": value for slot, value in slots.items()}
        return found

    def values(self) -> dict[str, Any]:
        """All else, as plain JSON values."""
        return {"groups": self.groups, "schedule": self.schedule}

    @staticmethod
    def read(tensors: dict[str, Tensor], values: dict[str, Any]) -> "Moment":
        """Undo `tensors` and `values`."""
        network, slots = {}, dict[str, dict[str, Tensor]]()
        for key, tensor in tensors.items():
            kind, _, name = key.partition("/")
            if kind == "network":
                network[name] = tensor
            else:
                owner, _, slot = name.rpartition("/")
                slots.setdefault(owner, {})[slot] = tensor
        return Moment(network, slots, [plain_group(group) for group in values["groups"]], values["schedule"])


def plain_group(group: dict[str, Any]) -> dict[str, Any]:
    """A group of an optimiser as it was before JSON made lists of its tuples."""
    return {key: tuple(value) if key == "betas" else value for key, value in group.items()}
