"""Resume files: an interrupted training in one file."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save

from prunectl.checkpoints import files, header
from prunectl.checkpoints.checkpoint import Checkpoint, from_header, to_header
from prunectl.checkpoints.header import Header
from prunectl.checkpoints.network import network, tensors_of
from prunectl.checkpoints.places import named_in, places_of, recorded
from prunectl.errors import CheckpointError
from prunectl.masks import Masks, pack, unpack
from prunectl.plugins.places import known
from prunectl.plugins.registry import check_trusted
from prunectl.training.pruning_config import GradualPruning
from prunectl.training.recipe import Recipe
from prunectl.training.state import State


@dataclass(frozen=True, eq=False)
class Paused:
    """An interrupted training with its network as it is now; `run` holds the command line's data and output."""

    checkpoint: Checkpoint
    recipe: Recipe
    state: State
    run: dict[str, Any]


def write(paused: Paused, path: Path) -> None:
    """Write an interrupted training to a file, atomically.

    Raises:
        FileError: it cannot be written.
    """
    masks, prune = paused.checkpoint.masks, paused.recipe.prune
    content = {
        "start": json.loads(to_header(paused.checkpoint, pair=None).to_json()),
        "sha256": paused.checkpoint.sha256,
        "masks": {name: list(mask.shape) for name, mask in masks.items()},
        "recipe": {**asdict(paused.recipe), "prune": None if prune is None else prune.flat()},
        "values": paused.state.values,
        "run": paused.run,
    }
    tensors = {**paused.state.tensors, **{f"mask/{name}": pack(mask.cpu()) for name, mask in masks.items()}}
    data = save(tensors, {header.KEY: json.dumps({"training": content}, sort_keys=True)})
    places = recorded(_named(paused), paused.checkpoint.places, path)
    files.write(path, data if places is None else files.with_places(data, places))


def read(path: Path) -> Paused:
    """Read what `write` wrote, on the cpu.

    Raises:
        FileError, CheckpointError: missing, damaged, or not an interrupted training.
    """
    toc = header.read_toc(path)
    try:
        content = json.loads(toc.metadata[header.KEY])["training"]
        tensors = tensors_of(path)
        head = Header.from_json(json.dumps(content["start"]), path)
        masks = {name: unpack(tensors.pop(f"mask/{name}"), tuple(size)) for name, size in content["masks"].items()}
        recipe = _recipe(**content["recipe"])
    except (LookupError, ValueError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} is not an interrupted training; give a NAME.resume.safetensors that Ctrl-C left"
        ) from error
    weights = {name.removeprefix("model/"): t for name, t in tensors.items() if name.startswith("model/")}
    with known(places_of(toc.metadata, path)) as places:
        for kind, name in _plugins(recipe, head.model.name):
            check_trusted(kind, name, str(path))
        model = network(head, weights, str(path))
    start = replace(from_header(head, model, Masks(masks), content["sha256"]), places=places)
    return Paused(start, recipe, State(tensors, content["values"]), content["run"])


def _plugins(recipe: Recipe, model: str) -> list[tuple[str, str]]:
    """The kind and the name of all that a training runs."""
    named = {"model": model, "optimizer": recipe.opt, "regularizer": recipe.reg or ""}
    if recipe.prune is not None:
        named |= {"criterion": recipe.prune.criterion, "schedule": recipe.prune.schedule or ""}
    return list(named.items())


def _named(paused: Paused) -> list[str]:
    """Every name of a resume file that may lead to a file."""
    begun = paused.checkpoint
    plugins = [name for _, name in _plugins(paused.recipe, begun.spec.name)]
    return [*named_in(begun.spec.name, begun.data, begun.history), *plugins, str(paused.run.get("data") or "")]


def _recipe(augment: list[str] | None, prune: dict[str, Any] | None, **values: Any) -> Recipe:
    """Undo `asdict` and JSON."""
    return Recipe(
        augment=None if augment is None else tuple(augment),
        prune=None if prune is None else GradualPruning.from_flat(prune),
        **values,
    )
