"""rerun: runs a checkpoint's history again."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from prunectl.checkpoints.lineage import Step
from prunectl.checkpoints.versions import versions
from prunectl.errors import OptionError, PrunectlError
from prunectl.plugins.places import Places
from prunectl.plugins.registry import names_code

_FETCHING = ("train", "prune", "repair")
"""The commands that take `--download`."""
Run = Callable[[list[str]], str | None]
"""Runs `prunectl ARGUMENTS`; returns None if it succeeded, else its last line."""


def rerun(
    steps: Sequence[Step], folder: Path, run: Run, where: str, *, data_dir: Path | None = None, download: bool = False
) -> Path:
    """Run the commands of a history into `folder`, with the recorded threads; returns the last checkpoint's path.

    The steps must have passed `lineage.check_safe`. `where` names the file with the history.

    Raises:
        OptionError: its command alone cannot repeat a step, or the history has no steps.
        PrunectlError: a step failed.
    """
    if not steps:
        raise OptionError(f"{where} has no history to run again")
    for i, step in enumerate(steps):
        if step.not_again is not None:
            raise OptionError(f"step {i + 1} ({step.command}) of {where} cannot be run again: {step.not_again}")
    made: Path | None = None
    for i, step in enumerate(steps):
        target = folder / f"{i + 1}-{step.command}.safetensors"
        line = [*step.arguments, "-o", str(target), *([] if made is None else [str(made)])]
        if data_dir is not None and step.command != "shrink":
            line += ["--data-dir", str(data_dir)]
        if download and step.command in _FETCHING:
            line += ["--download"]
        with _threads(step.threads):
            failed = run(line)
        if failed is not None:
            raise PrunectlError(f"step {i + 1} ({step.command}) of {where} failed when run again: {failed}")
        made = target
    assert made is not None
    return made


def version_changes(steps: Sequence[Step]) -> dict[str, list[Any]]:
    """The versions that differ from those installed here: name -> [last recorded, here]."""
    here = versions(next((name for step in steps for kind, name in step.named if kind == "model"), ""))
    return {
        name: [was, here.get(name)] for step in steps for name, was in step.versions.items() if was != here.get(name)
    }


def file_changes(places: Places) -> dict[str, dict[str, Any]]:
    """The user's Python files that changed since some step, by their name in the history.

    `sha256` is [at the last step, here], `earlier` holds the hashes at the steps before it.
    """
    found: dict[str, dict[str, Any]] = {}
    for spec, place in places.items():
        change = place.change()
        if change is not None or place.earlier:
            pair = [place.sha256, place.sha256] if change is None else [*change]
            found[spec] = {"path": str(place.find()), "sha256": pair, "earlier": list(place.earlier)}
    return found


def unrecorded(steps: Sequence[Step], places: Places) -> list[str]:
    """Inputs of the steps whose content no history records: folders of images, and the user's modules."""
    named = dict.fromkeys(name for step in steps for kind, name in step.named if _is_own(kind, name))
    return [name for name in named if name not in places or places[name].sha256 is None]


def _is_own(kind: str, name: str) -> bool:
    """Whether a name leads to the user's own file, folder or module."""
    return names_code(kind, name) or (kind == "data" and ":" in name and not name.startswith("synthetic:"))


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Compute with this number of threads, which sets the order of sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
