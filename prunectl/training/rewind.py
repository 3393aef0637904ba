"""A moment of a training to go back to: weights, BatchNorm, optimiser and learning rate (Frankle et al. 2020)."""

import copy
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from prunectl.errors import OptionError
from prunectl.structure.surgery.cut import Kept, cut
from prunectl.structure.surgery.optimizer import laid_out

Slots = dict[str, Any]
"""What an optimiser keeps of one parameter."""


@dataclass(frozen=True, eq=False)
class RewindPoint:
    """Copies of the network, of its average, of the optimiser's state, and plain values of both schedules."""

    network: dict[str, Tensor]
    slots: dict[str, Slots]
    groups: list[dict[str, Any]]
    schedule: dict[str, Any]
    average: dict[str, Tensor]

    @staticmethod
    def of(
        model: nn.Module, optimizer: Optimizer, scheduler: LRScheduler, average: AveragedModel | None = None
    ) -> "RewindPoint":
        """Where a training stands."""
        slots = {name: _copied(optimizer.state.get(p, {})) for name, p in model.named_parameters()}
        groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
        network, averaged = (
            {name: tensor.detach().clone() for name, tensor in each.state_dict().items()} if each is not None else {}
            for each in (model, average)
        )
        return RewindPoint(network, slots, copy.deepcopy(groups), copy.deepcopy(scheduler.state_dict()), averaged)

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
                again = _copied(self.slots[name]).items()
                optimizer.state[parameter] = {s: laid_out(v, parameter) for s, v in again}
        for group, saved in zip(optimizer.param_groups, self.groups, strict=True):
            group.update(copy.deepcopy(saved))
        scheduler.load_state_dict(copy.deepcopy(self.schedule))

    def without(self, kept: Kept) -> "RewindPoint":
        """The same moment of the smaller network that is left of this one."""
        slots: dict[str, Slots] = {}
        for name, each in self.slots.items():
            whole = self.network[name].shape
            slots[name] = {
                s: cut({name: v}, kept)[name] if isinstance(v, Tensor) and v.shape == whole else v
                for s, v in each.items()
            }
        of_average = {(f"module.{name}", axis): left for (name, axis), left in kept.items()}
        return replace(self, network=cut(self.network, kept), slots=slots, average=cut(self.average, of_average))

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by names of one level more, for a file."""
        found = {f"network/{name}": tensor for name, tensor in self.network.items()}
        found |= {f"average/{name}": tensor for name, tensor in self.average.items()}
        for name, slots in self.slots.items():
            found |= {f"slots/{name}/{slot}": value for slot, value in slots.items() if isinstance(value, Tensor)}
        return found

    def values(self) -> dict[str, Any]:
        """All else, as plain JSON values."""
        numbers = {name: plain_slots(each) for name, each in self.slots.items()}
        return {"groups": self.groups, "schedule": self.schedule, "slots": numbers}

    @staticmethod
    def read(tensors: dict[str, Tensor], values: dict[str, Any]) -> "RewindPoint":
        """Undo `tensors` and `values`."""
        network, average = dict[str, Tensor](), dict[str, Tensor]()
        slots: dict[str, Slots] = {name: dict(each) for name, each in values.get("slots", {}).items()}
        for key, tensor in tensors.items():
            kind, _, name = key.partition("/")
            if kind == "network":
                network[name] = tensor
            elif kind == "average":
                average[name] = tensor
            else:
                owner, _, slot = name.rpartition("/")
                slots.setdefault(owner, {})[slot] = tensor
        return RewindPoint(
            network, slots, [plain_group(group) for group in values["groups"]], values["schedule"], average
        )


def plain_slots(slots: Slots) -> Slots:
    """What an optimiser keeps of a parameter that is no tensor.

    Raises:
        OptionError: it is no number either, and no text.
    """
    found = {slot: value for slot, value in slots.items() if not isinstance(value, Tensor)}
    for slot, value in found.items():
        if not isinstance(value, bool | int | float | str | None):
            raise OptionError(
                f"the optimiser keeps a {type(value).__name__} as '{slot}' of a parameter, which no file of an "
                "interrupted training holds; use one that keeps tensors and numbers"
            )
    return found


def _copied(slots: Slots) -> Slots:
    return {slot: v.detach().clone() if isinstance(v, Tensor) else copy.deepcopy(v) for slot, v in slots.items()}


def plain_group(group: dict[str, Any]) -> dict[str, Any]:
    """A group of an optimiser as it was before JSON made lists of its tuples."""
    return {key: tuple(value) if key == "betas" else value for key, value in group.items()}
