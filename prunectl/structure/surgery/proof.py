"""The proof: compares a smaller network with the masked one that it came from."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Generator, Tensor, nn
from torch.utils._pytree import tree_leaves

from prunectl.errors import ProofError, PrunectlError, StructureError
from prunectl.torchtools.contexts import evaluating

DrawImages = Callable[[tuple[int, ...], Generator], Tensor]
"""Makes random images of a shape (B, C, H, W)."""

BATCHES = (1, 8)
"""Batch sizes of a proof: one image, and a number that the tracer has not seen."""
FEW_BATCHES = (1, 3)
"""For large networks, where the proof would take minutes."""
LARGE = 10**10
"""FLOPs per image."""


def noise(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Images of normal noise."""
    return torch.randn(shape, generator=generator)


@dataclass(frozen=True, eq=False)
class Reference:
    """A network to compare others with, on random batches of images; it runs once on each batch.

    Networks are compared in eval mode, each in the type of its parameters.
    """

    network: nn.Module
    shape: tuple[int, int, int]
    batches: tuple[int, ...] = BATCHES
    draw: DrawImages = noise
    seed: int = 0

    @staticmethod
    def on_fitting_images(
        network: nn.Module,
        shape: tuple[int, int, int],
        preprocessing: Callable[[Tensor], Tensor],
        batches: tuple[int, ...] = BATCHES,
    ) -> "Reference":
        """A reference on normal noise, or, if the network does not take all numbers (a logarithm), on random pixels.

        Raises:
            ProofError: it fails on both, or its outputs are not finite.
        """

        def pixels(shape: tuple[int, ...], generator: Generator) -> Tensor:
            return preprocessing(torch.randint(256, shape, generator=generator, dtype=torch.uint8))

        found = Reference(network, shape, batches)
        try:
            found.outputs  # noqa: B018  (runs the network)
        except ProofError:
            found = Reference(network, shape, batches, pixels)
            found.outputs  # noqa: B018
        return found

    def of(self, network: nn.Module) -> "Reference":
        """Another network on the same images."""
        return replace(self, network=network)

    def alone(self) -> "Reference":
        """The same outputs without the network, which can then be freed."""
        found = self.of(nn.Module())
        found.__dict__["outputs"] = self.outputs  # where `cached_property` stores them
        return found

    @property
    def images(self) -> list[Tensor]:
        """The batches, the same each time."""
        generator = torch.Generator().manual_seed(self.seed)
        return [self.draw((size, *self.shape), generator) for size in self.batches]

    @cached_property
    def outputs(self) -> list[Tensor]:
        """All numbers that the network returns for each batch, float64, in one row.

        Raises:
            ProofError: the network fails, or its outputs are not finite.
        """
        with evaluating(self.network), torch.no_grad():
            return [_expected(self.network, images) for images in self.images]

    def difference(self, other: "nn.Module | Reference") -> float:
        """The largest difference to the outputs of another network, relative to the largest output of this one.

        Raises:
            ProofError: one of two references fails, or its outputs are not finite.
            StructureError: `other`, a smaller network made from this one, fails.
        """
        expected = self.outputs
        if isinstance(other, Reference):
            found = other.outputs
        else:
            with evaluating(other), torch.no_grad():
                found = [_outputs(other, images, "the smaller network", StructureError) for images in self.images]
        worst = torch.zeros((), dtype=torch.float64)
        for ours, theirs in zip(expected, found, strict=True):
            scale = ours.abs().max().clamp_min(torch.finfo(torch.float64).tiny)
            worst = torch.maximum(worst, (ours - theirs).abs().max() / scale)
        return float(worst)


def drawn_for(network: nn.Module, shape: tuple[int, int, int], preprocessing: Callable[[Tensor], Tensor]) -> DrawImages:
    """The function that draws images for a network, see `Reference.on_fitting_images`.

    Raises:
        ProofError: it fails on both kinds, or its outputs are not finite.
    """
    return Reference.on_fitting_images(network, shape, preprocessing, (1,)).draw


def difference(one: nn.Module, other: nn.Module, shape: tuple[int, int, int], seed: int = 0) -> float:
    """The largest relative difference of two networks' outputs, see `Reference`.

    Raises:
        ProofError: `one` itself fails on the images, or its outputs are not finite.
        StructureError: `other` fails on them.
    """
    return Reference(one, shape, seed=seed).difference(other)


def _expected(network: nn.Module, images: Tensor) -> Tensor:
    """The outputs that another network must reproduce: as `_outputs`, and finite."""
    outputs = _outputs(network, images, "nothing can be proved: the network itself", ProofError)
    if not outputs.isfinite().all():
        raise ProofError(
            "nothing can be proved: the network's own outputs are not finite on random images; "
            "look for a logarithm, root or division in its code, or for weights that are not finite"
        )
    return outputs


def _outputs(network: nn.Module, images: Tensor, name: str, kind: type[PrunectlError]) -> Tensor:
    """All outputs of a network, in float64 in one row; if it fails, raises an error of this kind."""
    try:
        outputs = network(images.to(like_images(network)))
    except Exception as error:  # the network's own code may raise anything
        what = str(error).strip().partition("\n")[0] or type(error).__name__
        raise kind(f"{name} fails on a random batch of {len(images)}: {what}") from error
    tensors = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]
    return torch.cat([tensor.double().cpu().flatten() for tensor in tensors])


def like_images(network: nn.Module) -> Tensor:
    """A tensor with the type and device that the network needs for its images."""
    return next((p for p in network.parameters() if p.is_floating_point()), torch.empty(0))
