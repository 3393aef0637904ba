"""rerun: run a checkpoint's history again."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from prunectl.checkpoints.lineage import Step
from prunectl.checkpoints.versions import versions
from prunectl.errors import OptionError, PrunectlError

_FETCHING = ("train", "prune", "repair")
"""The commands that take `--download`."""
Run = Callable[[list[str]], str | None]
"""Runs `prunectl ARGUMENTS`; returns None if it succeeded, else its last line."""


def rerun(
    steps: Sequence[Step], folder: Path, run: Run, where: str, *, data_dir: Path | None = None, download: bool = False
) -> Path:
    """Run the commands of a history into `folder`, in as many threads as then; returns the last checkpoint's place.

    The steps are those that `lineage.check_safe` accepted. `where` names the file that holds the history.

    Raises:
        OptionError: a step that its command alone does not repeat, or a history without steps.
        PrunectlError: a step failed.
    """
    if not steps:
        raise OptionError(f"{where} has no history, so nothing can be run again")
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
    """The versions that differ from those here: name -> [recorded, here], of several recorded ones the last."""
    here = versions(next((name for step in steps for kind, name in step.named if kind == "model"), ""))
    return {
        name: [was, here.get(name)] for step in steps for name, was in step.versions.items() if was != here.get(name)
    }


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Compute with this number of threads, which sets the order of sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
