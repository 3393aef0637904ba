"""Resume files, which hold an interrupted training."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from prunectl.checkpoints import files, header
from prunectl.checkpoints.checkpoint import Checkpoint, from_header, to_header
from prunectl.checkpoints.header import Header
from prunectl.checkpoints.network import network
from prunectl.checkpoints.options.data import DataOptions
from prunectl.checkpoints.options.pruning import GradualPruning
from prunectl.checkpoints.options.run import Run
from prunectl.checkpoints.options.table import plugins_of
from prunectl.checkpoints.options.training import Recipe
from prunectl.checkpoints.options.values import recorded, restored
from prunectl.checkpoints.places import named_in, places_of, written
from prunectl.checkpoints.steady import steadily
from prunectl.checkpoints.tensor_file import content, head_of, read_tensors
from prunectl.checkpoints.texts import parsed
from prunectl.errors import CheckpointError
from prunectl.masks import Masks, pack, unpack
from prunectl.plugins.places import known
from prunectl.plugins.registry import check_trusted
from prunectl.training.saved_values import check_values
from prunectl.training.state import State


@dataclass(frozen=True, eq=False)
class Paused:
    """An interrupted training with its current network, and the command line that started it."""

    checkpoint: Checkpoint
    recipe: Recipe
    state: State
    run: Run


def write(paused: Paused, path: Path) -> None:
    """Write an interrupted training to a file, atomically.

    Raises:
        FileError: it cannot be written.
    """
    masks, prune = paused.checkpoint.masks, paused.recipe.prune
    record = {
        "start": json.loads(to_header(paused.checkpoint, pair=None).to_json()),
        "sha256": paused.checkpoint.sha256,
        "masks": {name: list(mask.shape) for name, mask in masks.items()},
        "recipe": {
            **recorded(replace(paused.recipe, prune=None)),
            "prune": None if prune is None else recorded(prune),
        },
        "values": paused.state.values,
        "run": asdict(paused.run),
    }
    tensors = {**paused.state.tensors, **{f"mask/{name}": pack(mask.cpu()) for name, mask in masks.items()}}
    head = head_of(tensors, {header.KEY: json.dumps({"training": record}, sort_keys=True)})
    places = written(_named(paused), paused.checkpoint.places, path)
    files.write(path, content(head if places is None else files.with_places(head, places), tensors))


def read(path: Path) -> Paused:
    """Read what `write` wrote, on the cpu.

    Raises:
        FileError, CheckpointError: it is missing, damaged, or not an interrupted training.
    """
    return steadily(path, lambda: _read(path))


def _read(path: Path) -> Paused:
    """Read a resume file once."""
    toc = header.read_toc(path)
    try:
        record = parsed(toc.metadata[header.KEY])["training"]
        tensors = read_tensors(path)
        head = Header.from_json(json.dumps(record["start"]), path)
        masks = {name: unpack(tensors.pop(f"mask/{name}"), tuple(size)) for name, size in record["masks"].items()}
        recipe, run = _recipe(record["recipe"]), _run(record["run"])
        check_values(record["values"])
    except (LookupError, ValueError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        what = str(error).partition("\n")[0]
        raise CheckpointError(
            f"{path} is not an interrupted training ({what}); use a NAME.resume.safetensors that Ctrl-C left"
        ) from error
    weights = {name.removeprefix("model/"): t for name, t in tensors.items() if name.startswith("model/")}
    with known(places_of(toc.metadata, path)) as places:
        for kind, name in _plugins(recipe, head.model.name, run.data).items():
            check_trusted(kind, name, str(path))
        model = network(head, weights, str(path))
    start = replace(from_header(head, model, Masks(masks), record["sha256"]), places=places)
    return Paused(start, recipe, State(tensors, record["values"]), run)


def _plugins(recipe: Recipe, model: str, data: str) -> dict[str, str]:
    """The names of the plug-ins that a training runs, by kind."""
    return {"model": model, "data": data, **plugins_of("train", recorded(recipe))}


def _named(paused: Paused) -> list[str]:
    """Every name in a resume file that may lead to a file."""
    begun = paused.checkpoint
    plugins = _plugins(paused.recipe, begun.spec.name, paused.run.data)
    return [*named_in(begun.spec.name, begun.data, begun.history), *plugins.values()]


def _recipe(values: dict[str, Any]) -> Recipe:
    rest = dict(values)
    prune = rest.pop("prune")
    return restored(Recipe, rest, prune=None if prune is None else restored(GradualPruning, prune))


def _run(values: dict[str, Any]) -> Run:
    rest = dict(values)
    return restored(Run, rest, data_options=restored(DataOptions, rest.pop("data_options")))
