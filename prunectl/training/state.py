"""A running training as tensors and plain values, and back."""

from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from prunectl.structure.surgery.optimizer import laid_out
from prunectl.training.resume import State
from prunectl.training.rewind import RewindPoint, plain_group, plain_slots

if TYPE_CHECKING:
    from prunectl.training.trainer import Trainer


def paused(trainer: "Trainer") -> State:
    """Everything that `Trainer(trainer.current, data, recipe, state)` needs to go on from here, on the cpu."""
    tensors = {f"model/{name}": tensor for name, tensor in trainer.model.state_dict().items()}
    tensors |= {f"random/{i}": tensor for i, tensor in enumerate(trainer.random)}
    tensors |= {"sums/loss": trainer.meter.loss, "sums/correct": trainer.meter.correct}
    if trainer.ema is not None:
        tensors |= trainer.ema.tensors()
    numbers = {}
    for name, parameter in trainer.trained():
        slots = trainer.optimizer.state.get(parameter, {})
        tensors |= {f"optimizer/{name}/{slot}": t for slot, t in slots.items() if isinstance(t, Tensor)}
        numbers[name] = plain_slots(slots)
    if trainer.callback is not None:
        tensors |= {f"companion/{name}": tensor for name, tensor in trainer.callback.state_dict().items()}
    if trainer.rewind_point is not None:
        tensors |= {f"moment/{name}": tensor for name, tensor in trainer.rewind_point.tensors().items()}
    return State(
        {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()},
        {
            "step": trainer.step,
            "images": trainer.images,
            "seen": trainer.meter.seen,
            "seconds": trainer.seconds,
            "spent": trainer.spent,
            "slots": numbers,
            "groups": trainer.optimizer.state_dict()["param_groups"],
            "scheduler": trainer.scheduler.state_dict(),
            "entries": len(trainer.start.history),
            "events": [] if trainer.rounds is None else list(trainer.rounds.events),
            "passed": 0 if trainer.rounds is None else trainer.rounds.passed,
            "moment": None if trainer.rewind_point is None else trainer.rewind_point.values(),
        },
    )


def restore_(trainer: "Trainer", state: State) -> None:
    """Let a training stand where `state` was taken."""
    kinds: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.tensors.items():
        kind, _, rest = name.partition("/")
        kinds.setdefault(kind, {})[rest] = tensor
    trainer.model.load_state_dict(kinds["model"])
    trainer.random = [kinds["random"][key] for key in sorted(kinds["random"])]
    for name in ("loss", "correct"):
        getattr(trainer.meter, name).copy_(kinds["sums"][name])
    trainer.meter.seen = state.values["seen"]
    if trainer.ema is not None:
        trainer.ema.load_(kinds)
    slots = {name: dict(each) for name, each in state.values.get("slots", {}).items()}
    for key, tensor in kinds.get("optimizer", {}).items():
        name, _, slot = key.rpartition("/")
        slots.setdefault(name, {})[slot] = tensor
    saved = {
        number: {slot: laid_out(value, parameter) for slot, value in slots[name].items()}
        for number, (name, parameter) in enumerate(trainer.trained())
        if slots.get(name)
    }
    groups = [plain_group(group) for group in state.values["groups"]]
    trainer.optimizer.load_state_dict({"state": saved, "param_groups": groups})
    trainer.scheduler.load_state_dict(state.values["scheduler"])
    if trainer.callback is not None:
        trainer.callback.load_state_dict(kinds.get("companion", {}))
    if state.values["moment"] is not None:
        placed = {name: tensor.to(trainer.device) for name, tensor in kinds["moment"].items()}
        trainer.rewind_point = RewindPoint.read(placed, state.values["moment"])
    for name in ("step", "images", "seconds", "spent"):
        setattr(trainer, name, state.values[name])
    trainer.start = replace(trainer.start, history=trainer.start.history[: state.values["entries"]])
