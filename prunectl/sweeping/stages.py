"""Stages: the commands of all pipelines; a command that several pipelines share runs once."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunectl.errors import OptionError, PrunectlError
from prunectl.sweeping.plan import Pipeline, Value

MAKES = ("train", "prune", "repair", "shrink")
MEASURES = ("eval", "attack")
_OWN = {
    "output_path": "-o",
    "force": "--force",
    "resume": "--resume",
    "config": "--config",
    "max_minutes": "--max-minutes",
    "tensorboard_dir": "--tensorboard-dir",
    "as_json": "--json",
}
"""Options that a sweep sets itself, or that would hide from it what is computed."""

Read = Callable[[Sequence[str]], dict[str, Any]]
"""Reads a command line into its parameters by name, its `command`, and `code`, the sha256 of each file that it names.

Raises OptionError if it is invalid."""


@dataclass(frozen=True)
class Stage:
    """One command. `parent` is the identity of the stage whose checkpoint it reads, None for the first of a pipeline.

    `identity` hashes the command line with the parent's identity. `name` is the name of its files; for commands that
    measure a checkpoint, it begins with the checkpoint's name.
    """

    identity: str
    parent: str | None
    arguments: tuple[str, ...]
    name: str
    uses: int = 1
    """The number of pipelines that contain it."""

    @property
    def command(self) -> str:
        """The command's own name."""
        return self.arguments[0]

    @property
    def makes(self) -> bool:
        """Whether it writes a checkpoint."""
        return self.command in MAKES


@dataclass(frozen=True)
class Result:
    """A pipeline with its values, and the identity of the last stage that made a checkpoint in it."""

    pipeline: str
    values: dict[str, Value]
    identity: str


def stages_of(pipelines: Sequence[Pipeline], read: Read) -> tuple[list[Stage], list[Result]]:
    """All stages, parents before children, and the result of every pipeline.

    Raises:
        OptionError: an invalid command line, or commands that cannot follow each other.
    """
    found: dict[str, Stage] = {}
    results = []
    for pipeline in pipelines:
        made: str | None = None
        path, keys = list[str](), set[str]()
        for i, command in enumerate(pipeline.commands):
            line = command.arguments
            params = _checked(line, read, pipeline.name, first=i == 0)
            identity = _identity(line, made, params.get("checkpoint"), params.get("code", []))
            keys |= set(command.values)
            values = {key: value for key, value in pipeline.values.items() if key in keys & pipeline.varied}
            name = ".".join([_name(pipeline.name, values), *path, line[0]])
            known = found.get(identity)
            stage = known or Stage(identity, made, line, name, uses=0)
            found[identity] = Stage(identity, made, line, stage.name, stage.uses + 1)
            if stage.makes:
                made = identity
                path.append(line[0])
        results.append(Result(pipeline.name, pipeline.values, str(made)))
    return _told_apart(list(found.values())), results


def _checked(line: tuple[str, ...], read: Read, pipeline: str, *, first: bool) -> dict[str, Any]:
    """The parameters of a command; refuses one that does not fit its place."""
    said = f"pipeline '{pipeline}', '{' '.join(line)}'"
    if line[0] not in (*MAKES, *MEASURES):
        raise OptionError(f"{said}: the commands of a plan are {', '.join((*MAKES, *MEASURES))}")
    if any(word.startswith("--config") for word in line):
        raise OptionError(f"{said}: the options of a sweep are in the plan; leave out --config")
    try:
        params = read(line)
    except PrunectlError as error:
        raise OptionError(f"{said}: {error}") from error
    own = next((flag for key, flag in _OWN.items() if params.get(key)), None)
    if own is not None:
        raise OptionError(f"{said}: a sweep names and keeps its files itself; leave out {own}")
    source, model = params.get("checkpoint"), params.get("model")
    if not first and (source or model):
        raise OptionError(f"{said}: it uses the checkpoint of the previous command; leave out {source or '--model'}")
    if first and line[0] in MEASURES:
        raise OptionError(f"{said}: there is nothing to measure; begin the pipeline with train or prune")
    if first and not source and not model:
        raise OptionError(f"{said}: a pipeline must begin with --model or a CHECKPOINT")
    return params


def _identity(line: Sequence[str], parent: str | None, source: str | None, code: Sequence[str]) -> str:
    """Hash the command line, the bytes of the checkpoint that it starts from, and the code that it names."""
    bytes_of_source = None
    if source is not None:
        try:
            bytes_of_source = hashlib.sha256(Path(source).read_bytes()).hexdigest()
        except OSError as error:
            raise OptionError(f"cannot read {source}: {(error.strerror or str(error)).lower()}") from error
    return hashlib.sha256(json.dumps([list(line), parent, bytes_of_source, *code]).encode()).hexdigest()[:16]


def _name(pipeline: str, values: dict[str, Value]) -> str:
    """`after-snip-sparsity0.9-seed0`: words unchanged, numbers after their keys."""
    return "-".join([pipeline, *(_worded(key, value) for key, value in values.items())])


def _worded(key: str, value: Value) -> str:
    text = re.sub(r"[^A-Za-z0-9_.]+", "-", str(value)).strip("-.")
    return text if isinstance(value, str) and not re.fullmatch(r"[0-9.e-]*", text) else f"{key}{text}"


def _told_apart(stages: list[Stage]) -> list[Stage]:
    """The same stages; if two have the same name, the later one gets its identity appended."""
    taken: set[str] = set()
    named = []
    for stage in stages:
        name = stage.name if stage.name.lower() not in taken else f"{stage.name}-{stage.identity[:6]}"
        taken.add(name.lower())
        named.append(Stage(stage.identity, stage.parent, stage.arguments, name, stage.uses))
    return named
