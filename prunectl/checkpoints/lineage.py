"""The commands that led to a checkpoint, as they can be given again; told from its header, without torch."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prunectl.checkpoints.files import sha256
from prunectl.checkpoints.header import Header, ModelSpec, read_header
from prunectl.checkpoints.history import IMPORT, MODULE
from prunectl.checkpoints.names import SUFFIXES
from prunectl.errors import CheckpointError
from prunectl.plugins.registry import TABLES

Flag = tuple[str, str | None]
"""An option with its value as text; None for one that takes none."""
COMMANDS = ("train", "prune", "repair", "shrink")
_BEGINNINGS = {
    MODULE: "it began with an nn.Module in a Python program",
    IMPORT: "it imported a file, which no history holds",
}
"""What a history can begin with in place of a command, and why it cannot be run again."""
_RENAMED = {"prune_steps": "steps"}
_OTHERWISE = {"balanced": "--shuffled"}
"""How False is said of options that are True by default."""
_HERE = {
    *("output", "output_path", "force", "config", "resume", "max_minutes"),
    *("data_dir", "download", "tensorboard", "tensorboard_dir", "scores_out"),
}
"""Options of one machine and one moment, which no history holds; a stranger's file must not choose them."""
_NO_OPTION = {"data", "device", "seed", "steps", "total_steps", "processes", "options", "reg_options", "amp", "augment"}
_NO_OPTION |= {"reference"}
"""Keys of a history that are told in ways of their own."""
_KINDS = {"criterion": "criterion", "schedule": "schedule", "opt": "optimizer", "reg": "regularizer"}
"""Keys of a history whose value names a plug-in of a kind."""
_FIRST = ("criterion", "sparsity", "epochs")


@dataclass(frozen=True)
class Step:
    """One command of a history. `sha256` is that of the checkpoint it wrote, `parent` of the one it read."""

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
    not_again: str | None = None
    """Why the command alone does not lead to the same result."""

    @property
    def arguments(self) -> list[str]:
        """The whole command line, seed and device included."""
        more = [("--seed", self.seed), ("--device", self.device)]
        flags = [*self.flags, *((flag, str(value)) for flag, value in more if value is not None)]
        return [self.command, *(part for flag in flags for part in _joined(flag))]


def lineage(path: Path) -> list[Step]:
    """The commands that led to a checkpoint, oldest first.

    Raises:
        FileError, CheckpointError: it is missing or damaged, or its history holds what no command of prunectl takes.
    """
    head, _ = read_header(path)
    return steps_of(head, sha256(path), str(path))


def steps_of(head: Header, digest: str | None, where: str) -> list[Step]:
    """The commands in the history of a header, oldest first; `digest` is the sha256 of the file that holds it.

    Raises:
        CheckpointError: the history holds what no command of prunectl takes.
    """
    made = [*(entry.parent for entry in head.history[1:]), digest]
    try:
        return [_step(head, i, each) for i, each in enumerate(made[: len(head.history)])]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{where} has a history that does not read ({error}); take an intact copy") from error


def files_of(steps: list[Step], path: Path) -> list[Path | None]:
    """Where the checkpoint of every step lies in the folder of `path`, found by its hash; None where it does not."""
    folder = path.parent.iterdir()
    files = sorted(f for f in folder if f.name.endswith(SUFFIXES) and ".mask." not in f.name and f.is_file())
    by_hash = {sha256(file): file for file in files} | {sha256(path): path}
    return [by_hash.get(str(step.sha256)) for step in steps]


def _step(head: Header, i: int, digest: str | None) -> Step:
    """One entry of a history, read."""
    entry = head.history[i]
    command, options = entry.command, dict(entry.options)
    if command in _BEGINNINGS and i == 0:
        return _beginning(head, digest)
    if command not in COMMANDS:
        raise ValueError(f"step {i + 1} is '{command}', known are {', '.join(COMMANDS)}")
    blank = head.history[0].command != MODULE and all(earlier.data is None for earlier in head.history[:i])
    source, data_flags = _data(head, options.get("data"), first=blank)
    start = _fresh(head) if i == 0 else []
    if i == 0 and (source is None or (source == "synthetic" and not _are_plain(head.model))):
        data_flags = [flag for flag in data_flags if flag[0] != "--image-size"]
        data_flags += [("--input", "x".join(map(str, head.model.input))), ("--classes", str(head.model.classes))]
    named = {
        **({"model": head.model.name} if i == 0 else {}),
        **({"data": source} if source else {}),
        **{kind: options[key] for key, kind in _KINDS.items() if options.get(key)},
    }
    return Step(
        command,
        (*start, *data_flags, *_flags(command, options)),
        options.get("seed"),
        options.get("device"),
        entry.threads,
        dict(entry.versions),
        entry.parent,
        digest,
        dict(entry.result),
        tuple((kind, str(name)) for kind, name in named.items()),
        _not_again(options),
    )


def _beginning(head: Header, digest: str | None) -> Step:
    """The start of a history by what no command makes again."""
    entry = head.history[0]
    flags = [
        (f"--{key.replace('_', '-')}", ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value))
        for key, value in entry.options.items()
    ]
    return Step(
        entry.command,
        tuple(flags),
        None,
        None,
        entry.threads,
        dict(entry.versions),
        None,
        digest,
        dict(entry.result),
        () if entry.command == MODULE else (("model", head.model.name),),
        _BEGINNINGS[entry.command],
    )


def _fresh(head: Header) -> list[Flag]:
    """The network that a history begins with."""
    return [("--model", head.model.name), *(("-M", f"{key}={value}") for key, value in head.model.options.items())]


def _are_plain(spec: ModelSpec) -> bool:
    """Whether synthetic images for a network are those that --image-size alone makes of a network for any shape."""
    channels, height, width = spec.input
    return (channels, height, spec.classes) == (1, width, 10)


def _data(head: Header, described: dict[str, Any] | None, *, first: bool) -> tuple[str | None, list[Flag]]:
    """What names the images of a step, and the options that lead to them."""
    if described is None:
        return None, []
    name = described["name"]
    source = described.get("source") or (name if name in TABLES["data"] else head.data)
    height, width = head.model.input[1:]
    flags: list[Flag] = [("--data", source)] if first or source != head.data else []
    if flags and height == width:
        flags.append(("--image-size", str(height)))
    changes = {key: value for key, value in described.items() if key not in ("name", "source")}
    return source, flags + [flag for key, value in changes.items() for flag in _plain(key, value)]


def _flags(command: str, options: dict[str, Any]) -> list[Flag]:
    """The options of a command, but seed, device and data."""
    ordered = {**{key: options[key] for key in _FIRST if key in options}, **options}
    without = _NO_OPTION if options.get("reg") else {*_NO_OPTION, "reg_weight"}
    flags = [flag for key, value in ordered.items() if key not in without for flag in _plain(key, value)]
    if command == "prune" and options.get("steps") is not None:
        flags.append(("--steps", str(options["steps"])))
    if "augment" in options:
        flags.append(("--augment", ",".join(options["augment"]) or "none"))
    by_default = command == "train" and options.get("device") == "cuda"
    if options.get("amp", by_default) != by_default:
        flags.append(("--amp" if options["amp"] else "--no-amp", None))
    plugged = {"criterion": options.get("options") or {}, "reg": options.get("reg_options") or {}}
    both = bool(options.get("reg") and options.get("criterion"))
    for owner, given in plugged.items():
        flags += [("-O", f"{owner}.{key}={value}" if both else f"{key}={value}") for key, value in given.items()]
    return flags


def _plain(key: str, value: Any) -> list[Flag]:
    """An option whose flag is its key."""
    key = _RENAMED.get(key, key)
    if key in _HERE or not re.fullmatch(r"[a-z][a-z0-9_]*", key):
        raise ValueError(f"'{key}' is no option that a history holds")
    flag = f"--{key.replace('_', '-')}"
    if key == "controls":
        return [(f"--{control}", None) for control in value]
    if key == "keep":
        return [(flag, pattern) for pattern in _texts(key, value)]
    if value is None or value is False:
        return [(_OTHERWISE[key], None)] if value is False and key in _OTHERWISE else []
    if value is True:
        return [] if key in _OTHERWISE else [(flag, None)]
    if not isinstance(value, str | int | float):
        raise ValueError(f"'{key}' is a {type(value).__name__}")
    return [(flag, str(value))]


def _texts(key: str, value: Any) -> list[str]:
    """The value of an option that may be repeated."""
    if not (isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)):
        raise ValueError(f"'{key}' is no list of texts")
    return list(value)


def _joined(flag: Flag) -> list[str]:
    """A flag as arguments, so that its value is never taken for another flag."""
    name, value = flag
    if value is None:
        return [name]
    return [f"{name}={value}"] if name.startswith("--") else [name, value]


def _not_again(options: dict[str, Any]) -> str | None:
    if options.get("reference") is not None:
        return f"it was compared with another network (--reference, sha256 {str(options['reference'])[:12]}...)"
    if options.get("steps", 0) < options.get("total_steps", 0):
        return f"it was stopped after {options['steps']} of {options['total_steps']} steps (--max-minutes)"
    if options.get("processes", 1) > 1:
        return f"{options['processes']} processes scored it together (torchrun)"
    return None
