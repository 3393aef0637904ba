"""Computes the scores of a round: batches for a scorer, and checks of its result."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from itertools import chain, islice, repeat

import torch
from torch import Tensor

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.criteria.base.criterion import Criterion
from prunectl.data.images import ImageData
from prunectl.data.sampling import scoring_batches
from prunectl.errors import OptionError
from prunectl.masks import prunable
from prunectl.plugins.registry import TABLES
from prunectl.pruning.units.base import Unit
from prunectl.pruning.units.with_nodes import WithNodes
from prunectl.scores import Scores
from prunectl.torchtools import distributed
from prunectl.torchtools.contexts import autocast, differentiated, enough_for_batch_norm, evaluating
from prunectl.torchtools.copies import in_type_of
from prunectl.torchtools.layout import fastest


class ScoringBatches(Iterator[tuple[Tensor, Tensor]]):
    """Endless batches for `next`; a `for` loop over them ends after `per_loop` batches, unless it is None."""

    def __init__(self, endless: Iterator[tuple[Tensor, Tensor]], per_pass: int, per_loop: int | None = None) -> None:
        self.endless, self.per_pass, self.per_loop = endless, per_pass, per_loop
        """`per_pass` batches hold as many images as there are."""

    def __next__(self) -> tuple[Tensor, Tensor]:
        return next(self.endless)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.endless if self.per_loop is None else islice(self.endless, self.per_loop)

    def of(self, criterion: str, scorer: Callable[..., Scores], keywords: Mapping[str, object]) -> "ScoringBatches":
        """The same for a criterion: a user's own gets as many batches as its option `batches`, or one pass."""
        if criterion in TABLES["criterion"]:
            return self
        found = inspect.signature(scorer).parameters.get("batches")
        count = keywords.get("batches", None if found is None else found.default)
        return ScoringBatches(self.endless, self.per_pass, count if isinstance(count, int) else self.per_pass)


def batches_for(checkpoint: Checkpoint, data: ImageData | None, size: int, balanced: bool, seed: int) -> ScoringBatches:
    """The batches that a scorer draws from; without data, blank images of the network's shape."""
    device = checkpoint.device
    if data is not None:
        batches = scoring_batches(data.train.to(device), checkpoint.preprocessing, device, size, seed, balanced)
        typed = ((in_type_of(checkpoint.model, images), labels) for images, labels in batches)
        return ScoringBatches(typed, -(-len(data.train) // max(size, 1)))
    blank = torch.zeros(1, *checkpoint.spec.input, device=device), torch.zeros(1, dtype=torch.int64, device=device)
    return ScoringBatches(repeat(blank), 1)


def scored(
    method: Criterion,
    unit: Unit,
    batches: ScoringBatches,
    keywords: Mapping[str, object],
    *,
    amp: bool,
    progress: float = 0.0,
) -> Scores:
    """The scores of a round. `amp` runs the network in bfloat16 where that is safe; sums stay in float32.

    The network is in eval mode, so that no scorer changes the statistics of its norms.

    Raises:
        OptionError: the scores do not fit the network's weights or nodes, or it has no backward pass.
    """
    running = _running(method, unit, amp=amp)
    with evaluating(unit.model), running, differentiated(), enough_for_batch_norm():
        scores = _as_scores(method.scorer(unit.model, batches, *unit.inputs(progress), **keywords))
    _check_fit(scores, unit, method)
    if distributed.joined():
        scores = scores.held()
        distributed.same_([*scores.values(), *_of_nodes(scores)])
    return scores


def _as_scores(found: object) -> Scores:
    """A scorer's result; a user's own scorer may also return a plain dictionary.

    Raises:
        OptionError: it is neither.
    """
    if isinstance(found, Scores):
        return found
    if isinstance(found, Mapping) and all(isinstance(score, Tensor) for score in found.values()):
        return Scores(dict(found))
    what = type(found).__name__
    raise OptionError(f"the criterion's scorer returned an object of type {what}, expected prunectl.Scores")


def _of_nodes(scores: Scores) -> list[Tensor]:
    """The scores of nodes, if there are any."""
    return [] if scores.nodes is None else [scores.nodes]


def _running(method: Criterion, unit: Unit, *, amp: bool) -> AbstractContextManager[object]:
    """Use the fastest memory layout for built-in criteria that use images; the layout does not change for others."""
    if not method.needs_data or not method.scorer.__module__.startswith("prunectl."):
        return autocast(unit.model, enabled=amp)
    return fastest(unit.model, unit.checkpoint.spec.input, amp=amp, by_weights=True)


def check_informative(scores: Scores, criterion: str) -> None:
    """Refuse scores that are all 0, with which the order of the parameters would decide.

    Raises:
        OptionError: all scores are 0.
    """
    if not any(bool(score.any()) for score in chain(scores.values(), _of_nodes(scores))):
        raise OptionError(
            f"all scores of {criterion} are 0, for example because the last layer is zero; train the network first, "
            "or use another criterion"
        )


def _check_fit(scores: Scores, unit: Unit, method: Criterion) -> None:
    """Refuse scores of a user's own criterion that do not match this network's weights or nodes."""
    wanted: dict[str, list[int]] = {}
    if method.unit != "nodes":
        wanted |= {name: list(weight.shape) for name, weight in prunable(unit.model).items()}
    if isinstance(unit, WithNodes):
        wanted["nodes"] = [unit.structure.nodes]
    found = {name: list(shape) for name, shape in scores.shapes.items()}
    if scores.nodes is not None:
        found["nodes"] = list(scores.nodes.shape)
    for name in [*wanted, *(() if method.unit == "nodes" else scores)]:
        if wanted.get(name) != found.get(name):
            expected, got = wanted.get(name, "none"), found.get(name, "none")
            raise OptionError(f"the criterion's scores of {name}: expected a tensor of shape {expected}, found {got}")
