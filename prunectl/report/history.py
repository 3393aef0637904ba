"""What the history of a checkpoint says: how it was pruned, to what target, with which seed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prunectl.budget import UNITS as BUDGETS

TARGETS = ("sparsity", *BUDGETS, "threshold")
_VARIES = {"seed", "device", *TARGETS}
"""Options in which runs of one recipe may differ."""

History = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Method:
    """How a network was made. Without a criterion it is dense.

    `target` is a sparsity, or a text such as `flops 4x`; `when` is before, during or after training; `recipe` is equal
    for runs that differ in seed and target alone.
    """

    criterion: str | None
    when: str | None
    target: float | str | None
    seed: int | str | None
    trained: bool
    recipe: str


def method(history: History) -> Method:
    """Read a history."""
    prunings = [(i, entry["options"]) for i, entry in enumerate(history) if "criterion" in entry.get("options", {})]
    trainings = [i for i, entry in enumerate(history) if entry["command"] == "train"]
    when = None
    if prunings:
        at = prunings[0][0]
        when = "during" if at in trainings else "after" if trainings and trainings[0] < at else "before"
    seeds = list(dict.fromkeys(entry["options"]["seed"] for entry in history if "seed" in entry.get("options", {})))
    return Method(
        criterion="+".join(dict.fromkeys(str(options["criterion"]) for _, options in prunings)) or None,
        when=when,
        target=_target(prunings[-1][1]) if prunings else None,
        seed=seeds[0] if len(seeds) == 1 else "+".join(map(str, seeds)) or None,
        trained=bool(trainings),
        recipe=json.dumps([[entry["command"], _fixed(entry.get("options", {}))] for entry in history], sort_keys=True),
    )


def step(entry: dict[str, Any]) -> str:
    """One command of a history in a word or two."""
    options = entry.get("options", {})
    if entry["command"] == "prune":
        return f"prune({options.get('criterion')} {_target(options)})"
    if entry["command"] == "train":
        steps, total, epochs = options.get("steps", 0), options.get("total_steps", 0), options.get("epochs", 0)
        pruning = f" {options['criterion']} {_target(options)}" if "criterion" in options else ""
        return f"train({epochs if steps == total else f'{epochs * steps / total:.1f} of {epochs}'}{pruning})"
    return str(entry["command"])


def differences(recipes: Sequence[str]) -> list[str]:
    """A few words for each recipe that tell it from the others."""
    flat = [_flat(json.loads(recipe)) for recipe in recipes]
    chains = [" ".join(command for command, _ in json.loads(recipe)) for recipe in recipes]
    if len(set(chains)) == len(recipes):
        return chains
    keys = sorted({key for values in flat for key in values})
    apart = [key for key in keys if len({repr(values.get(key)) for values in flat}) > 1]
    return [
        ", ".join(f"{key.split(' ', 2)[2]}={values[key]}" for key in apart if key in values) or "defaults"
        for values in flat
    ]


def _target(options: dict[str, Any]) -> float | str | None:
    """What was asked for."""
    budget = next((f"{kind} {options[kind]}" for kind in BUDGETS if options.get(kind) is not None), None)
    if budget is not None:
        return budget
    if options.get("sparsity") is not None:
        return float(options["sparsity"])
    if options.get("threshold") is not None:
        return f"threshold {options['threshold']}"
    return options.get("scope")


def _fixed(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key not in _VARIES}


def _flat(entries: list[Any]) -> dict[str, Any]:
    """Options by name, those of a later command of the same name under its number."""
    found: dict[str, Any] = {}
    for number, (command, options) in enumerate(entries, 1):
        for key, value in options.items():
            values = value if isinstance(value, dict) else {key: value}
            for name, part in values.items():
                found[f"{number} {command} {name}"] = part
    return found
