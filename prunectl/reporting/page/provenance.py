"""The tree of the commands that made the checkpoints."""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from prunectl.checkpoints.header import read_header
from prunectl.checkpoints.history import HistoryEntry
from prunectl.checkpoints.lineage import Step, lineage, steps_of
from prunectl.checkpoints.names import base_name
from prunectl.checkpoints.options.table import known
from prunectl.errors import FileError
from prunectl.reporting.history import pruning_method
from prunectl.reporting.sources import Source

_HASH = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Member:
    """A checkpoint with the commands that lead to it, one per line, or why they cannot be run again."""

    name: str
    sha256: str
    commands: str
    obstacle: str
    versions: str


@dataclass(eq=False)
class CommandStep:
    """A command that ran `count` times on the results of its parent, and the checkpoints that it wrote."""

    label: str
    count: int = 0
    members: list[Member] = field(default_factory=list)
    children: dict[str, "CommandStep"] = field(default_factory=dict)


def tree(sources: Sequence[Source]) -> list[CommandStep]:
    """The first commands, with later ones as children; commands that differ only in seed or target form one step."""
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
            at.members.append(_member(source))
    return list(root.children.values())


def command_line(step: Step) -> str:
    """The command of a step for a shell, without default options."""
    parts = [_shell(flag, value) for flag, value in step.flags if not _is_default(step.command, flag, value)]
    seed = [] if not step.seed else [f"--seed {step.seed}"]
    device = [] if step.device in (None, "cpu") else [f"--device {shlex.quote(str(step.device))}"]
    if not step.is_command:
        return step.line
    return " ".join(["prunectl", step.command, *map(shlex.quote, step.operands), *parts, *seed, *device])


def version_sets(sources: Sequence[Source]) -> list[str]:
    """Every set of library versions that made a checkpoint."""
    return list(dict.fromkeys(text for one in sources for entry in one.history if (text := _versions(entry))))


def seeds(sources: Sequence[Source]) -> list[str]:
    """Every seed, sorted."""
    found = {str(seed) for one in sources if (seed := pruning_method(one.history).seed) is not None}
    return sorted(found, key=lambda text: (len(text), text))


def _member(source: Source) -> Member:
    versions = _versions(source.history[-1])
    try:
        head, _ = read_header(source.path)
        steps = steps_of(head, source.sha256, str(source.path))
        if any(value is not None and _HASH.fullmatch(value) for step in steps for _, value in step.flags):
            steps = lineage(source.path)  # it finds the files of these hashes
    except FileError as error:  # a history of another version may hold unknown options
        return Member(base_name(source.path), source.sha256 or "", "", str(error), versions)
    obstacle = next((f"{step.command}: {step.not_again}" for step in steps if step.not_again), "")
    begun, run = ([command_line(step) for step in steps if step.is_command == kind] for kind in (False, True))
    lines = "\n".join([*begun, " | \\\n  ".join(run)])
    return Member(base_name(source.path), source.sha256 or "", lines, obstacle, versions)


def _shell(flag: str, value: str | None) -> str:
    return flag if value is None else f"{flag} {shlex.quote(value)}"


def _is_default(command: str, flag: str, value: str | None) -> bool:
    defaults = _defaults(command)
    return flag in defaults and flag != "--criterion" and defaults[flag] == value


@cache
def _defaults(command: str) -> dict[str, str]:
    """The text of each option's default, by flag."""
    return {
        entry.option.flag or f"--{entry.name.replace('_', '-')}": str(entry.default)
        for entry in known(command).values()
        if entry.default is not None and not isinstance(entry.default, bool | dict | list | tuple)
    }


def _label(entry: HistoryEntry) -> str:
    options = entry.options
    if entry.command == "train":
        during = f", {options['criterion']}" if "criterion" in options else ""
        epochs = options.get("epochs", "?")
        return f"train {epochs} epoch{'' if epochs == 1 else 's'}{during}"
    if entry.command == "prune":
        return f"prune {options.get('criterion')}"
    return str(entry.command)


def _versions(entry: HistoryEntry) -> str:
    return ", ".join(f"{name} {number}" for name, number in entry.versions.items())
