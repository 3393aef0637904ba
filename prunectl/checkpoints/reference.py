"""The checkpoint that a pruned one came from, found by its hash."""

from pathlib import Path

from prunectl.checkpoints.ancestors import Ancestors, History
from prunectl.checkpoints.header import read_header
from prunectl.errors import OptionError

_KEEPS_WEIGHTS = ("prune", "shrink", "repair")
"""Commands after which a network is no more trained than before."""


def pruned_by(history: History) -> int | None:
    """The entry whose parent a pruned network is to be compared with, None where nothing was pruned by `prune`.

    That is the last `prune`, or the first of several that follow each other without a training in between.
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
        OptionError: nothing was pruned, the network was pruned before it was trained, or no file is that checkpoint.
        FileError, CheckpointError: the file at `path` does not read.
    """
    history = read_header(path)[0].history
    pruning = pruned_by(history)
    if pruning is None:
        raise OptionError(f"{path} was not pruned by `prunectl prune`; give the dense network as `reference`")
    parent = history[pruning].parent
    if parent is None:
        raise OptionError(
            f"{path} was pruned from a network that no file held, so nothing is known of it; train it, or give "
            "`reference`"
        )
    ancestors = Ancestors()
    for folder in dict.fromkeys((path.parent, Path())):
        found = ancestors.parent(folder, history, pruning)
        if found is not None:
            return found
    raise OptionError(
        f"the checkpoint that {path} was pruned from (sha256 {parent[:12]}...) is neither beside it nor in the current "
        "folder; give it as `reference`"
    )
