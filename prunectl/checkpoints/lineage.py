"""The commands that led to a checkpoint, in a form that can be run again; read from its header, without torch."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prunectl.checkpoints.files import sha256
from prunectl.checkpoints.header import Header, ModelSpec, read_header
from prunectl.checkpoints.history import HistoryEntry
from prunectl.checkpoints.names import SUFFIXES
from prunectl.checkpoints.options.option import Flag
from prunectl.checkpoints.options.table import (
    COMMANDS,
    IMPORT,
    MODULE,
    STATE_DICT,
    data_flags,
    flags,
    known,
    parameters,
    plugins_in,
    plugins_of,
)
from prunectl.errors import CheckpointError, OptionError
from prunectl.plugins.registry import TABLES, check_trusted

_BEGINNINGS = {
    MODULE: "it began with an nn.Module in a Python program",
    IMPORT: "it imported a file, which the history does not contain",
}
"""Origins of a history other than a command, and why they cannot be run again."""
Read = Callable[[list[str]], Mapping[str, Any]]
"""Parses a command line into its parameters by name, without running it; raises OptionError if it is invalid."""


@dataclass(frozen=True)
class Step:
    """One command of a history, with the hashes of the checkpoint it wrote (`sha256`) and read (`parent`)."""

    command: str
    flags: tuple[Flag, ...]
    seed: int | None
    device: str | None
    threads: int | None
    versions: dict[str, str]
    parent: str | None
    sha256: str | None
    result: dict[str, Any] = field(default_factory=dict)
    named: tuple[tuple[str, str], ...] = ()
    """(kind, name) of every plug-in that would run."""
    operands: tuple[str, ...] = ()
    """Arguments before the flags: the file of an import."""
    is_command: bool = True
    """False for a network or state dict that came from a Python program."""
    not_again: str | None = None
    """Why the command alone does not reproduce the result."""

    @property
    def arguments(self) -> list[str]:
        """The whole command line, seed and device included."""
        more = [("--seed", self.seed), ("--device", self.device)]
        flags = [*self.flags, *((flag, str(value)) for flag, value in more if value is not None)]
        return [self.command, *self.operands, *(part for flag in flags for part in _joined(flag))]

    @property
    def line(self) -> str:
        """The command for a shell, or a comment if it is no command."""
        return shlex.join(["prunectl", *self.arguments]) if self.is_command else f"# {shlex.join(self.arguments)}"


def lineage(path: str | Path) -> list[Step]:
    """The commands that led to a checkpoint, oldest first.

    Raises:
        FileError, CheckpointError: it is missing or damaged, or its history holds options that no command takes.
    """
    path = Path(path)
    head, _ = read_header(path)
    return [_with_files(step, path) for step in steps_of(head, sha256(path), str(path))]


def steps_of(head: Header, digest: str | None, where: str) -> list[Step]:
    """The commands in the history of a header, oldest first; `digest` is the sha256 of the file that holds it.

    Raises:
        CheckpointError: the history holds options that no command takes.
    """
    made = [*(entry.parent for entry in head.history[1:]), digest]
    steps, blank = list[Step](), not head.history or head.history[0].command != MODULE
    try:
        for i, entry in enumerate(head.history):
            if i or not _begins_pretrained(head):
                steps.append(_step(head, i, made[i], blank=blank))
            blank = blank and entry.data is None
        return steps
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{where} has a history that cannot be read ({error}); use an intact copy, or update prunectl"
        ) from error


def check_safe(steps: Sequence[Step], read: Read, where: str) -> None:
    """Refuse steps that would do anything but compute: a stranger may have written the history.

    `read` parses a command line, `where` names the file with the history. The parsed result is checked, not the text:
    only options of the recorded commands, and no code from files that the user does not trust. A step that cannot be
    run again for other reasons is skipped.

    Raises:
        OptionError: an option or a value that this prunectl does not take.
        UntrustedCode: a step names code.
    """
    for i, step in enumerate(steps):
        if step.not_again is not None:
            continue
        try:
            params, unset = read(step.arguments), read([step.command])
            _refuse_other_parameters(step.command, {k for k, value in params.items() if value != unset.get(k)})
        except OptionError as error:
            version = step.versions.get("prunectl", "another version")
            raise OptionError(f"step {i + 1} of {where}, made by prunectl {version}: {error}") from error
        for kind, name in plugins_in(step.command, params).items():
            check_trusted(kind, name, where)


def _refuse_other_parameters(command: str, given: set[str]) -> None:
    stray = sorted(given - parameters(command))
    if stray:
        raise OptionError(f"`{stray[0]}` is only allowed on the command line, not in a history")


def files_of(steps: list[Step], path: Path) -> list[Path | None]:
    """The checkpoint of every step in the folder of `path`, found by its hash; None if it is not there."""
    by_hash = checkpoints_beside(path)
    return [by_hash.get(str(step.sha256)) for step in steps]


def checkpoints_beside(path: Path) -> dict[str, Path]:
    """The checkpoints in the folder of `path` by their hash."""
    folder = path.parent.iterdir()
    files = sorted(f for f in folder if f.name.endswith(SUFFIXES) and ".mask." not in f.name and f.is_file())
    return {sha256(file): file for file in files} | {sha256(path): path}


def _with_files(step: Step, path: Path) -> Step:
    """The step with flags that name checkpoints by path instead of by the hashes in the history."""
    names = {f"--{entry.name.replace('_', '-')}" for entry in known(step.command).values() if entry.option.file}
    sought = [value for name, value in step.flags if name in names and value is not None]
    if not sought:
        return step
    found = checkpoints_beside(path)
    lacking = next((value for value in sought if value not in found), None)
    if lacking is not None:
        why = f"it needs the checkpoint with sha256 {lacking[:12]}..., which is not in {path.parent}"
        return replace(step, not_again=step.not_again or why)
    flags = ((name, str(found[str(value)]) if name in names else value) for name, value in step.flags)
    return replace(step, flags=tuple(flags))


def _step(head: Header, i: int, digest: str | None, *, blank: bool) -> Step:
    """One entry of a history; `blank` says that no command before it, and no module, used images."""
    entry = head.history[i]
    command, options = entry.command, entry.options
    if command in _BEGINNINGS and i == 0:
        return _beginning(head, digest)
    if command not in COMMANDS:
        raise ValueError(f"step {i + 1} is '{command}', expected one of {', '.join(COMMANDS)}")
    source, of_data = _data(head, entry.data, first=blank)
    first = i == int(_begins_pretrained(head))
    start = _fresh(head) if first else []
    if first and (source is None or (source == "synthetic" and not _are_plain(head.model))):
        of_data = [flag for flag in of_data if flag[0] != "--image-size"]
        of_data += [("--input", "x".join(map(str, head.model.input))), ("--classes", str(head.model.classes))]
    try:
        given = flags(command, options)
    except ValueError as error:
        made_by = f", made by prunectl {entry.versions['prunectl']}" if "prunectl" in entry.versions else ""
        raise ValueError(f"step {i + 1}{made_by}: {error}") from error
    named = {
        **({"model": head.model.name} if first else {}),
        **({"data": source} if source else {}),
        **plugins_of(command, options),
    }
    return Step(
        command,
        (*start, *of_data, *given),
        options.get("seed"),
        options.get("device"),
        entry.threads,
        dict(entry.versions),
        entry.parent,
        digest,
        dict(entry.result),
        tuple(named.items()),
        not_again=_not_again(entry),
    )


def _beginning(head: Header, digest: str | None) -> Step:
    """The start of a history that no command can repeat."""
    entry = head.history[0]
    file, own = str(entry.options.get("file", "")), flags(entry.command, entry.options)
    fetched = "pretrained" in entry.options
    if entry.command == IMPORT:
        own = _imported(head, own)
    return Step(
        entry.command,
        tuple(own),
        None,
        None,
        entry.threads,
        dict(entry.versions),
        None,
        digest,
        dict(entry.result),
        () if entry.command == MODULE else (("model", head.model.name),),
        () if not file or fetched else (f"./{file}" if file.startswith("-") else file,),
        entry.command == IMPORT and file != STATE_DICT,
        _BEGINNINGS[entry.command],
    )


def _imported(head: Header, own: list[Flag]) -> list[Flag]:
    """The flags of an import: those in its history, and those for building and using the network."""
    entry, spec = head.history[0], head.model
    found: list[Flag] = [
        ("--model", str(entry.options.get("pretrained") or spec.name)),
        *(("-M", f"{key}={value}") for key, value in spec.options.items()),
        ("--input", "x".join(map(str, spec.input))),
        ("--classes", str(spec.classes)),
        ("--mean", ",".join(map(repr, head.mean))),
        ("--std", ",".join(map(repr, head.std))),
    ]
    if "pretrained" in entry.options:  # --pretrained decides what may be missing, and which weights they are
        return [*found, ("--pretrained", None)]
    return [*found, *([("--data", head.data)] if head.data else []), *own]


def _begins_pretrained(head: Header) -> bool:
    """Whether the first command began with published weights (--pretrained), which have their own entry."""
    first, *later = head.history or (None,)
    return first is not None and "pretrained" in first.options and bool(later) and later[0].parent is None


def _fresh(head: Header) -> list[Flag]:
    """The network that a history begins with."""
    options: list[Flag] = [("-M", f"{key}={value}") for key, value in head.model.options.items()]
    if _begins_pretrained(head):
        return [("--model", str(head.history[0].options["pretrained"])), *options, ("--pretrained", None)]
    return [("--model", head.model.name), *options]


def _are_plain(spec: ModelSpec) -> bool:
    """Whether --image-size alone leads to the synthetic images of this network."""
    channels, height, width = spec.input
    return (channels, height, spec.classes) == (1, width, 10)


def _data(head: Header, record: Mapping[str, Any] | None, *, first: bool) -> tuple[str | None, list[Flag]]:
    """The name of a step's dataset, and the options that lead to its images."""
    if record is None:
        return None, []
    name = record["name"]
    source = record.get("source") or (name if name in TABLES["data"] else head.data)
    height, width = head.model.input[1:]
    found: list[Flag] = [("--data", source)] if first or source != head.data else []
    if found and height == width:
        found.append(("--image-size", str(height)))
    return source, found + data_flags(record)


def _joined(flag: Flag) -> list[str]:
    """The arguments of a flag, joined so that its value is never taken for another flag."""
    name, value = flag
    if value is None:
        return [name]
    return [f"{name}={value}"] if name.startswith("--") else [name, value]


def _not_again(entry: HistoryEntry) -> str | None:
    options = entry.options
    if not entry.is_whole:
        return f"it was stopped after {options['steps']} of {options['total_steps']} steps (--max-minutes)"
    if options.get("processes", 1) > 1:
        return f"{options['processes']} processes scored it (torchrun)"
    return None
