"""The options in the history of each command, and their flags."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from prunectl.checkpoints.options.checks import Check, check_of
from prunectl.checkpoints.options.data import DataRecord
from prunectl.checkpoints.options.option import Entry, Flag, completed, entries
from prunectl.checkpoints.options.others import ImportOptions, ModuleOrigin, ShrinkOptions
from prunectl.checkpoints.options.pruning import PruneRun, StandalonePruning
from prunectl.checkpoints.options.repair import RepairOptions, RepairRun
from prunectl.checkpoints.options.training import Recipe, TrainRun

MODULE = "module"
"""The command of the entry for the `nn.Module` that a history began with."""
IMPORT = "import"
"""The command of the entry for the imported file that a history began with."""
STATE_DICT = "a state dict"
"""The name in such an entry for weights that were in memory, not in a file."""
RECORDS: dict[str, tuple[type, ...]] = {
    "train": (Recipe, TrainRun),
    "prune": (StandalonePruning, PruneRun),
    "repair": (RepairOptions, RepairRun),
    "shrink": (ShrinkOptions,),
    IMPORT: (ImportOptions,),
    MODULE: (ModuleOrigin,),
}
COMMANDS = ("train", "prune", "repair", "shrink")
"""The commands that can be run again."""
_BEGIN = (
    *("model", "model_options", "pretrained", "data", "image_size", "input_shape", "classes"),
    *("plugin_options", "seed", "device"),
)
"""Parameters that begin a command line, or whose fields have other names."""
_WITH_DATA = ("train", "prune", "repair")
DATA = "data"
"""The key of a `DataRecord`."""


@cache
def known(command: str) -> dict[str, Entry]:
    """The entries in a command's history by key, in the order of its flags; empty for an unknown command."""
    return {entry.key: entry for record in RECORDS.get(command, ()) for entry in entries(record)}


@cache
def checks(command: str) -> dict[str, Check]:
    """The check of every option, by its key in a history."""
    return {key: check_of(entry.type) for key, entry in known(command).items()}


def flags(command: str, options: Mapping[str, Any]) -> list[Flag]:
    """The flags for the options of a history, except those of data, seed and device.

    Raises:
        ValueError: an option that the command does not have, or a value that no flag expresses.
    """
    allowed = known(command)
    _refuse_unknown(options, {*allowed, *([DATA] if command in _WITH_DATA else [])})
    options = completed(allowed.values(), options)
    given = [entry for key, entry in allowed.items() if key in options]
    owners = {entry.option.owner for entry in allowed.values()} - {None}
    shared = len(owners) > 1 and all(options.get(str(owner)) for owner in owners)
    return [flag for entry in given for flag in entry.flags(options, shared)]


def data_flags(record: Mapping[str, Any]) -> list[Flag]:
    """The flags for changes to the images, from the value of `data` in a history.

    Raises:
        ValueError: a change that no option makes.
    """
    allowed = {entry.key: entry for entry in entries(DataRecord)}
    _refuse_unknown(record, allowed)
    for key, entry in allowed.items():
        if key in record:
            check_of(entry.type)(f"data.{key}", record[key])
    return [flag for key, entry in allowed.items() if key in record for flag in entry.flags(record, False)]


def plugins_of(command: str, options: Mapping[str, Any]) -> dict[str, str]:
    """The plug-ins that options name, by kind; options have the keys of a history or the parameters of a command."""
    found = ((entry.option.kind, options.get(key) or options.get(entry.name)) for key, entry in known(command).items())
    return {kind: str(name) for kind, name in found if kind is not None and name}


def plugins_in(command: str, parameters: Mapping[str, Any]) -> dict[str, str]:
    """The plug-ins that a parsed command line names, by kind."""
    begun = {kind: str(parameters[kind]) for kind in ("model", DATA) if parameters.get(kind)}
    return begun | plugins_of(command, parameters)


@cache
def parameters(command: str) -> frozenset[str]:
    """The parameters that a history can set; no others may come from a stranger's file."""
    own = {entry.name for entry in (*known(command).values(), *entries(DataRecord)) if not entry.option.owner}
    switches = {choice.replace("-", "_") for entry in known(command).values() for choice in entry.option.choices}
    return frozenset({*own, *switches, *_BEGIN})


def _refuse_unknown(options: Mapping[str, Any], allowed: Mapping[str, Any] | set[str]) -> None:
    stray = next((key for key in options if key not in allowed), None)
    if stray is not None:
        raise ValueError(f"'{stray}' is not an option of a history")
