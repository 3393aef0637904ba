"""The tree of the commands that made the checkpoints."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from prunectl.checkpoints.history import HistoryEntry
from prunectl.checkpoints.names import base_name
from prunectl.reporting.history import pruning_method
from prunectl.reporting.sources import Source


@dataclass(frozen=True)
class Member:
    """A checkpoint with the last command of its history."""

    name: str
    sha256: str
    command: str
    versions: str


@dataclass(eq=False)
class CommandStep:
    """A command that ran `count` times on the results of its parent, and the checkpoints that it wrote."""

    label: str
    count: int = 0
    members: list[Member] = field(default_factory=list)
    children: dict[str, "CommandStep"] = field(default_factory=dict)


def tree(sources: Sequence[Source]) -> list[CommandStep]:
    """The first commands, with later ones as children; commands that differ only in seed or target are one step."""
    root = CommandStep("")
    seen: set[tuple[int, str]] = set()
    for source in sources:
        at = root
        for i, entry in enumerate(source.history, 1):
            at = at.children.setdefault(_label(entry), CommandStep(_label(entry)))
            until = (id(at), json.dumps([earlier.to_json() for earlier in source.history[:i]], sort_keys=True))
            if until not in seen:
                seen.add(until)
                at.count += 1
        if source.history:
            last = source.history[-1]
            at.members.append(Member(base_name(source.path), source.sha256 or "", command_line(last), _versions(last)))
    return list(root.children.values())


def command_line(entry: HistoryEntry) -> str:
    """A command with its options, without those that are off."""
    given = {k: v for k, v in entry.options.items() if v is not False and v not in (None, [], {}, "")}
    return " ".join([str(entry.command), *(f"{key}={_value(value)}" for key, value in given.items())])


def version_sets(sources: Sequence[Source]) -> list[str]:
    """Every set of library versions that made a checkpoint."""
    return list(dict.fromkeys(text for one in sources for entry in one.history if (text := _versions(entry))))


def seeds(sources: Sequence[Source]) -> list[str]:
    """Every seed, sorted."""
    found = {str(seed) for one in sources if (seed := pruning_method(one.history).seed) is not None}
    return sorted(found, key=lambda text: (len(text), text))


def _label(entry: HistoryEntry) -> str:
    options = entry.options
    if entry.command == "train":
        during = f", {options['criterion']}" if "criterion" in options else ""
        epochs = options.get("epochs", "?")
        return f"train {epochs} epoch{'s' * (epochs != 1)}{during}"
    if entry.command == "prune":
        return f"prune {options.get('criterion')}"
    return str(entry.command)


def _versions(entry: HistoryEntry) -> str:
    return ", ".join(f"{name} {number}" for name, number in entry.versions.items())


def _value(value: Any) -> str:
    return json.dumps(value, separators=(",", ":")) if isinstance(value, dict | list) else str(value)
