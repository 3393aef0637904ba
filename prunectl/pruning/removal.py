"""Finds what `shrink` removes from a pruned network, and the costs without it."""

from contextlib import suppress
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.original_shapes import Whole, expanded
from prunectl.errors import UnknownName
from prunectl.structure.costs import Costs, costs_without
from prunectl.structure.keep import nodes_on, parameters_named
from prunectl.structure.surgery.fold import bury_, masked_nodes, nothing_but_masked
from prunectl.structure.surgery.proof import BATCHES, FEW_BATCHES, LARGE, Reference
from prunectl.structure.trace import Analysis, analyse
from prunectl.torchtools.copies import in_type, like, with_tensors


@dataclass(frozen=True, eq=False)
class Removal:
    """The nodes to remove, `removed` (bool, (nodes,)), from a network in float64.

    `masked` is the network with its weights masked, `expected` its outputs; `working` also has constants folded into
    its biases. `whole` is the network that `analysis` traced.
    """

    whole: Whole
    masked: nn.Module
    working: nn.Module
    expected: Reference
    analysis: Analysis
    removed: Tensor

    @staticmethod
    def of(checkpoint: Checkpoint, *, constants: bool = True) -> "Removal":
        """Find the nodes to remove; `constants` is as in `shrink`.

        Raises:
            OptionError: it was shrunk with statistics over the kept channels.
            StructureError: the network cannot be traced.
            ProofError: the network fails on random images, or its outputs are not finite.
        """
        shape = checkpoint.spec.input
        whole = expanded(checkpoint.to(torch.device("cpu")))
        masked = in_type(whole.model, torch.float64)
        analysis = analyse(masked, shape, outer=whole.outer)
        working = with_tensors(masked, lambda tensor: like(tensor, tensor.detach()))  # `bury_` replaces tensors
        large = analysis.structure.flops(torch.zeros(analysis.structure.nodes, dtype=torch.bool)) > LARGE
        expected = Reference.on_fitting_images(
            masked, shape, checkpoint.preprocessing, FEW_BATCHES if large else BATCHES
        )
        if constants:
            staying = nodes_on(analysis.structure, _kept_parameters(checkpoint, whole.model))
            removed = bury_(working, analysis, whole.masks, expected.draw, staying)
        else:
            removed = masked_nodes(analysis, whole.masks, whole.model)
        return Removal(whole, masked, working, expected, analysis, removed)

    @property
    def costs(self) -> Costs:
        """The costs of the network without these nodes."""
        return costs_without(self.analysis.structure, self.whole.model, self.removed)


def with_costs(checkpoint: Checkpoint, analysis: Analysis | None = None) -> Checkpoint:
    """The checkpoint, with the costs of the network after `shrink` in the last result of its history.

    An `analysis` of its network saves the search for constants if the masks alone decide.
    """
    last = checkpoint.history[-1].result
    return checkpoint.with_result({**last, **asdict(_costs(checkpoint, analysis))})


def _costs(checkpoint: Checkpoint, analysis: Analysis | None) -> Costs:
    model, masks = checkpoint.model, checkpoint.masks
    if analysis is not None:
        staying = nodes_on(analysis.structure, _kept_parameters(checkpoint, model))
        if nothing_but_masked(model, analysis, masks, staying):
            return costs_without(analysis.structure, model, masked_nodes(analysis, masks, model))
    return Removal.of(checkpoint).costs


def _kept_parameters(checkpoint: Checkpoint, model: nn.Module) -> frozenset[str]:
    """The parameters of the layers that the last pruning kept; names that no longer exist are ignored."""
    prunings = [entry.options for entry in checkpoint.history if "criterion" in entry.options]
    found: frozenset[str] = frozenset()
    for pattern in prunings[-1].get("keep", ()) if prunings else ():
        with suppress(UnknownName):
            found |= parameters_named(model, [pattern])
    return found
