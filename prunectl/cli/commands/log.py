"""prunectl log."""

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunectl.cli import options, output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prunectl.checkpoints.lineage import Step
    from prunectl.checkpoints.options.option import Flag

_WIDTH = 72
_SHORT = 12


def command(
    checkpoint: options.CheckpointArgument = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON record.")] = False,
) -> None:
    """Show the commands that made a checkpoint, with seeds, versions and hashes.

    Options with their default value, or without an effect, are left out; --json has whole command lines. The name
    beside a step is the checkpoint that it wrote, if that is in the same folder. Works without PyTorch.
    """
    from prunectl.checkpoints.header import read_header
    from prunectl.checkpoints.lineage import files_of, lineage
    from prunectl.checkpoints.results import recorded_accuracy

    path = options.checkpoint_path(checkpoint)
    steps, (head, _) = lineage(path), read_header(path)
    files = files_of(steps, path)
    measured = [
        None if file is None else recorded_accuracy(file, str(step.sha256), head.data)
        for step, file in zip(steps, files, strict=True)
    ]
    if as_json:
        lines = [
            {
                "line": step.line,
                **_plain(step),
                "file": file and str(file),
                "accuracy": a,
            }
            for step, file, a in zip(steps, files, measured, strict=True)
        ]
        output.emit(json.dumps({"checkpoint": str(path), "steps": lines}))
        return
    size = "x".join(str(side) for side in head.model.input)
    output.emit(f"o  {head.model.name}, {size} images of {head.model.classes} classes, data {head.data or 'none'}")
    for step, file, found in zip(steps, files, measured, strict=True):
        _show(step, file, found)


def _plain(step: "Step") -> dict[str, Any]:
    record = asdict(step)
    return {
        key: record[key] for key in ("command", "seed", "device", "threads", "versions", "parent", "sha256", "result")
    }


def _show(step: "Step", file: Path | None, accuracy: float | None) -> None:
    """Print a step as a node of the graph, with its details beside the edge."""
    first, *more = _wrapped(
        [
            " ".join([step.command, *map(shlex.quote, step.operands)]),
            *(text for flag in _with_effect(step.flags) if (text := _shown(step.command, flag))),
        ]
    )
    short = "not written to a file" if step.sha256 is None else step.sha256[:_SHORT]
    name = "" if file is None else file.name
    lines = [
        *([f"{short}  {name}"] if len(short) + len(name) + 2 <= _WIDTH else [short, name]),
        *_wrapped(", ".join(_circumstances(step)).split(" ")),
        *_wrapped(", ".join(_results(step.result, accuracy)).split(" ")),
        *([] if step.not_again is None else _wrapped(f"no rerun: {step.not_again}".split(" "))),
    ]
    output.emit("|")
    output.emit(f"*  {first}")
    for text in (*more, *lines):
        if text:
            output.emit(f"|      {text}".rstrip())


def _wrapped(parts: list[str]) -> list[str]:
    """Wrap words to lines, with an option and its value on one line."""
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + 1 + len(part) > _WIDTH:
            lines.append(part)
        else:
            lines[-1] += f" {part}"
    return lines


def _with_effect(flags: "Sequence[Flag]") -> "list[Flag]":
    """The flags, without a number of rounds of 1."""
    once = ("--schedule", "one-shot") in flags
    return [flag for flag in flags if not (once and flag[0] == "--steps")]


def _shown(command: str, flag: tuple[str, str | None]) -> str:
    """A flag as shown; empty if the option has its default value."""
    from prunectl.cli import in_process

    name, value = flag
    if value is None:
        return name
    return (
        ""
        if name != "--criterion" and str(in_process.default(command, name)) == value
        else f"{name} {shlex.quote(value)}"
    )


def _circumstances(step: "Step") -> list[str]:
    """Seed, device and versions."""
    versions = dict(step.versions)
    cpu = versions.pop("cpu", "")
    return [
        *([] if step.seed is None else [f"seed {step.seed}"]),
        *([] if step.device in ("cpu", None) else [str(step.device)]),
        *([f"cpu {cpu}".rstrip()] if step.device in ("cpu", None) else []),
        *([] if step.threads is None else [f"{step.threads} thread{'s' * (step.threads > 1)}"]),
        *(f"{name} {version}" for name, version in versions.items()),
    ]


def _results(result: dict[str, Any], accuracy: float | None) -> list[str]:
    """The results of a step."""
    lines = [
        f"{key.replace('_', ' ')} {result[key]:.4f}" for key in ("weight_sparsity", "node_sparsity") if key in result
    ]
    lines += [f"{output.many(result['removed'], 'node')} removed"] if "removed" in result else []
    if "recalibrated_accuracy" in result:
        lines.append(f"recalibrated accuracy {output.percent(result['recalibrated_accuracy'])}")
    lines += output.unreached(result) + (output.repaired(result) if "layers" in result else [])
    return [*lines, *([] if accuracy is None else [f"accuracy {output.percent(accuracy)}"])]
