"""Reads the pruning method from the history of a checkpoint: criterion, target, seed and recipe."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prunectl.checkpoints.history import HistoryEntry
from prunectl.checkpoints.options.table import IMPORT
from prunectl.pruning.budget import BUDGET_UNITS as BUDGETS

TARGETS = ("sparsity", *BUDGETS, "threshold", "min_accuracy")
_NOT_SAID = {"sha256", "file", "source", "class", "total_steps", "teacher_sha256"}
"""Options that distinguish files and programs, but not methods."""
_MOST_SAID = 3
_VARIES = {"seed", "device"}
"""Options in which runs of one recipe may differ, besides the target of the last pruning."""

History = Sequence[HistoryEntry]


@dataclass(frozen=True)
class PruningMethod:
    """How a network was made; without a criterion it is dense.

    A network from another program counts as trained. `target` is a sparsity, or a text such as `flops 4x`. `when` is
    before, during or after training. `recipe` is equal for runs that differ
    only in seed and target.
    """

    criterion: str | None
    when: str | None
    target: float | str | None
    seed: int | str | None
    trained: bool
    recipe: str


def pruning_method(history: History) -> PruningMethod:
    """The method in a history."""
    prunings = [(i, entry.options) for i, entry in enumerate(history) if "criterion" in entry.options]
    trainings = [i for i, entry in enumerate(history) if entry.command in ("train", IMPORT)]
    when = None
    if prunings:
        at = prunings[0][0]
        when = "during" if at in trainings else "after" if trainings and trainings[0] < at else "before"
    last = prunings[-1][0] if prunings else None
    entries = [[entry.command, _fixed(entry.options, aims=i == last)] for i, entry in enumerate(history)]
    seeds = list(dict.fromkeys(entry.options["seed"] for entry in history if "seed" in entry.options))
    return PruningMethod(
        criterion="+".join(dict.fromkeys(str(options["criterion"]) for _, options in prunings)) or None,
        when=when,
        target=_target(prunings[-1][1]) if prunings else None,
        seed=seeds[0] if len(seeds) == 1 else "+".join(map(str, seeds)) or None,
        trained=bool(trainings),
        recipe=json.dumps(entries, sort_keys=True),
    )


def step(entry: HistoryEntry) -> str:
    """One command of a history, abbreviated, such as `prune(snip 0.9)`."""
    options = entry.options
    if entry.command == "prune":
        return f"prune({options.get('criterion')} {_target(options)})"
    if entry.command == "train":
        steps, total, epochs = options.get("steps", 0), options.get("total_steps", 0), options.get("epochs", 0)
        pruning = f" {options['criterion']} {_target(options)}" if "criterion" in options else ""
        return f"train({epochs if steps == total else f'{epochs * steps / total:.1f} of {epochs}'}{pruning})"
    return str(entry.command)


def differences(recipes: Sequence[str]) -> list[str]:
    """A short text for each recipe that distinguishes it from the others."""
    flat = [_flat(json.loads(recipe)) for recipe in recipes]
    chains = [" ".join(command for command, _ in json.loads(recipe)) for recipe in recipes]
    if len(set(chains)) == len(recipes):
        return chains
    keys = sorted({key for values in flat for key in values if key.name not in _NOT_SAID})
    apart = [key for key in keys if len({repr(values.get(key)) for values in flat}) > 1]
    often = Counter(key.name for key in apart)
    heads = [[chain] if len(set(chains)) > 1 else [] for chain in chains]
    words = [
        ", ".join([*head, *_few([f"{key.said(often)}={values[key]}" for key in apart if key in values])]) or "defaults"
        for head, values in zip(heads, flat, strict=True)
    ]
    return [f"{word} #{words[:i].count(word) + 1}" if words.count(word) > 1 else word for i, word in enumerate(words)]


def _few(words: list[str]) -> list[str]:
    """The first words and the number of others, so that the name of a method stays short."""
    return (
        words if len(words) <= _MOST_SAID + 1 else [*words[:_MOST_SAID], f"{len(words) - _MOST_SAID} more differences"]
    )


def _target(options: Mapping[str, Any]) -> float | str | None:
    """The target in the options of a pruning."""
    budget = next((f"{kind} {options[kind]}" for kind in BUDGETS if options.get(kind) is not None), None)
    if budget is not None:
        return budget
    if options.get("sparsity") is not None:
        return float(options["sparsity"])
    for name in ("threshold", "min_accuracy"):
        if options.get(name) is not None:
            return f"{name.replace('_', ' ')} {options[name]}"
    return options.get("scope")


def _fixed(options: Mapping[str, Any], *, aims: bool) -> dict[str, Any]:
    """The options that runs of one recipe share; a training stopped by a time limit has `fewer` steps."""
    varies = {*_VARIES, *(TARGETS if aims else ())}
    fixed = {key: value for key, value in options.items() if key not in varies}
    if "total_steps" in fixed and "steps" in fixed:
        fixed["steps"] = "all" if fixed["steps"] == fixed["total_steps"] else "fewer"
    return fixed


@dataclass(frozen=True, order=True)
class _Option:
    """An option of the command at this position in a history."""

    place: int
    command: str
    name: str

    def said(self, often: Mapping[str, int]) -> str:
        """The name, preceded by the command if several options have the same name."""
        return self.name if often[self.name] < 2 else f"{self.command} {self.place}: {self.name}"


def _flat(entries: list[Any]) -> dict[_Option, Any]:
    """The options of all commands of a recipe."""
    found: dict[_Option, Any] = {}
    for place, (command, options) in enumerate(entries, 1):
        for key, value in options.items():
            values = value if isinstance(value, dict) else {key: value}
            found |= {_Option(place, command, name): part for name, part in values.items()}
    return found
