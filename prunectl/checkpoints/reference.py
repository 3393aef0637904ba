"""Finds the checkpoint that a pruned one came from, by its hash."""

from pathlib import Path

from prunectl.checkpoints.ancestors import Ancestors, History
from prunectl.checkpoints.header import read_header
from prunectl.errors import OptionError

_KEEPS_WEIGHTS = ("prune", "shrink", "repair")
"""Commands that do not train."""


def pruned_by(history: History) -> int | None:
    """The entry whose parent a pruned network is compared with, None if `prune` was never run.

    It is the last `prune`, or the first of several without a training in between.
    """
    found = next((i for i in reversed(range(len(history))) if history[i].command == "prune"), None)
    if found is None:
        return None
    while found > 0 and history[found - 1].command in _KEEPS_WEIGHTS:
        found -= 1
    return next(i for i in range(found, len(history)) if history[i].command == "prune")


def reference_of(path: Path) -> Path:
    """The checkpoint that `path` was pruned from, in its folder or in the current one.

    Raises:
        OptionError: nothing was pruned, the network was pruned before it was trained, or the checkpoint is not found.
        FileError, CheckpointError: the file at `path` cannot be read.
    """
    history = read_header(path)[0].history
    pruning = pruned_by(history)
    if pruning is None:
        raise OptionError(f"{path} was not pruned by `prunectl prune`; use the dense network as `reference`")
    parent = history[pruning].parent
    if parent is None:
        raise OptionError(
            f"{path} was pruned from a network that was never saved, so it cannot be found; train it, or pass "
            "`reference`"
        )
    ancestors = Ancestors()
    for folder in dict.fromkeys((path.parent, Path())):
        found = ancestors.parent(folder, history, pruning)
        if found is not None:
            return found
    raise OptionError(
        f"the checkpoint that {path} was pruned from (sha256 {parent[:12]}...) is neither beside it nor in the current "
        "folder; pass it as `reference`"
    )
