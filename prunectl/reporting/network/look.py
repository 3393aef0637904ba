"""Analyses one network for the page."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from prunectl.checkpoints.checkpoint import Checkpoint, read
from prunectl.checkpoints.names import beside
from prunectl.checkpoints.results import is_of
from prunectl.data.images import ImageData
from prunectl.errors import PrunectlError
from prunectl.masks import prunable
from prunectl.reporting.findings import Distribution, Look, Sample, Speed
from prunectl.reporting.history import pruning_method
from prunectl.reporting.network.distribution import distribution, read_scores
from prunectl.reporting.network.examples import read_examples
from prunectl.reporting.network.layers import layers, whole_masks
from prunectl.reporting.network.samples import samples
from prunectl.reporting.network.speed import speed
from prunectl.reporting.sources import Source
from prunectl.torchtools.freed import give_back
from prunectl.torchtools.pieces import pieces

SCORES = ".scores.safetensors"
Stage = Callable[[str], None]
_NOT_RUN = "The network was not run for this page."


def no_stage(text: str) -> None:
    """Nobody watches."""


def look(
    source: Source,
    lineage: Sequence[Source] = (),
    *,
    images: Callable[[Checkpoint], ImageData] | None = None,
    run: bool = True,
    stage: Stage = no_stage,
) -> Look:
    """Analyse the network of a checkpoint; `lineage` are its ancestors, oldest first.

    With `run`, the network is timed, and classifies some of the images that `images` loads. `missing` explains what is
    unavailable; this does not affect the rest. `stage` is called with the next step.

    Raises:
        CheckpointError: the checkpoint cannot be read.
    """
    checkpoint = read(source.path)
    masks = whole_masks(checkpoint)
    kept = sum(int(mask.count_nonzero()) for mask in masks.values())
    missing: dict[str, str] = {}
    scores = _scores(source, lineage, masks, missing)
    found, shape = layers(masks), distribution(list(_kept_weights(checkpoint)), kept=kept)
    before = _before(lineage, kept)
    del masks  # the rest needs the memory
    give_back()
    if run:
        stage("reading images, for saliency maps")
    shown = _samples(checkpoint, images if run else None, missing)
    if run:
        stage("measuring speed")
    timed = _speed(checkpoint, run, missing)
    return Look(
        path=source.path,
        layers=found,
        weights=shape,
        before=before,
        scores=scores,
        samples=shown,
        adversarial=read_examples(beside(source.path, ".examples.safetensors"), source.sha256),
        speed=timed,
        missing=missing,
    )


def _before(lineage: Sequence[Source], kept: int) -> Distribution | None:
    """The weights of the last dense ancestor."""
    dense: Path | None = next(
        (one.path for one in reversed(lineage) if pruning_method(one.history).criterion is None), None
    )
    if dense is None:
        return None
    return distribution(list(prunable(read(dense).model).values()), kept=kept)


def _kept_weights(checkpoint: Checkpoint) -> Iterator[Tensor]:
    """The prunable weights that are not 0."""
    for weight in prunable(checkpoint.model).values():
        for (piece,) in pieces(weight):
            yield piece[piece != 0]


def _scores(
    source: Source, lineage: Sequence[Source], masks: Mapping[str, Tensor], missing: dict[str, str]
) -> Distribution | None:
    """The scores saved with the checkpoint, or with the last ancestor that has any."""
    files = {beside(one.path, SCORES): one.sha256 for one in (source, *reversed(lineage))}
    there = [file for file in files if file.exists()]
    file = next((file for file in there if is_of(file, files[file])), None)
    if file is None:
        missing["scores"] = (
            f"{there[0]} cannot be read, or holds scores of another network."
            if there
            else f"No scores: neither {next(iter(files)).name} nor one for an ancestor exists."
        )
        return None
    results = (entry.result for entry in reversed(source.history))
    found = read_scores(
        file, masks, next((result["node_sparsity"] for result in results if "node_sparsity" in result), None)
    )
    if found is None:
        missing["scores"] = f"{file} cannot be read, or holds scores of another network."
    return found


def _samples(
    checkpoint: Checkpoint, images: Callable[[Checkpoint], ImageData] | None, missing: dict[str, str]
) -> tuple[Sample, ...]:
    if images is None:
        missing["samples"] = _NOT_RUN
        return ()
    try:
        return samples(checkpoint, images(checkpoint))
    except PrunectlError as error:
        missing["samples"] = f"The images could not be loaded: {error}."
        return ()


def _speed(checkpoint: Checkpoint, run: bool, missing: dict[str, str]) -> Speed | None:
    if run:
        return speed(checkpoint)
    missing["speed"] = _NOT_RUN
    return None
