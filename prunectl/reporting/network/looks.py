"""Analyses all networks that a page shows."""

from collections.abc import Callable, Sequence
from pathlib import Path

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.data.images import ImageData
from prunectl.errors import PrunectlError
from prunectl.reporting.findings import Look
from prunectl.reporting.network.look import Stage, look, no_stage
from prunectl.reporting.page.best import Network
from prunectl.reporting.sources import Sources

Fails = Callable[[Path, PrunectlError], None]
"""Called for a network that cannot be analysed; it may raise."""


def _ignore(path: Path, error: PrunectlError) -> None:
    """Do nothing; the page shows the reason."""


def looks(
    sources: Sources,
    networks: Sequence[Network],
    *,
    images: Callable[[Checkpoint], ImageData] | None = None,
    run: bool = False,
    fails: Fails = _ignore,
    stage: Stage = no_stage,
) -> dict[Path, Look]:
    """Analyse networks; with `run`, the first one is timed, and classifies some of the images that `images` loads.

    `stage` is called with the next step.
    """
    found: dict[Path, Look] = {}
    for number, network in enumerate(networks):
        path = network.source.path
        try:
            stage(f"analysing network {number + 1} of {len(networks)}, {network.label}")
            lineage = sources.lineage.get(path, ())
            found[path] = look(network.source, lineage, images=images, run=run and number == 0, stage=stage)
        except PrunectlError as error:
            fails(path, error)
            found[path] = Look(path, missing={"layers": f"{error}."})
    return found
