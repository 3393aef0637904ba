"""The proof: a smaller network is compared with the masked one that it came from."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn
from torch.utils._pytree import tree_leaves

from prunectl.errors import ProofError, PrunectlError, StructureError
from prunectl.torchtools.contexts import evaluating

DrawImages = Callable[[tuple[int, ...], Generator], Tensor]
"""Makes random images of a shape (B, C, H, W)."""

BATCHES = (1, 2, 8)
FEW_BATCHES = (1, 3)
"""For large networks, where the proof would take minutes."""
LARGE = 10**10
"""FLOPs per image."""


def noise(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Images of normal noise."""
    return torch.randn(shape, generator=generator)


def drawn_for(network: nn.Module, shape: tuple[int, int, int], preprocessing: Callable[[Tensor], Tensor]) -> DrawImages:
    """Normal noise, or, for a network that does not take all numbers (a logarithm), random pixels as it gets them.

    Raises:
        ProofError: it fails on both, or its outputs are not finite.
    """

    def pixels(shape: tuple[int, ...], generator: Generator) -> Tensor:
        return preprocessing(torch.randint(256, shape, generator=generator, dtype=torch.uint8))

    generator = torch.Generator().manual_seed(0)
    with evaluating(network), torch.no_grad():
        try:
            _expected(network, noise((1, *shape), generator))
        except ProofError:
            _expected(network, pixels((1, *shape), generator))
            return pixels
    return noise


def difference(
    one: nn.Module,
    other: nn.Module,
    shape: tuple[int, int, int],
    seed: int = 0,
    batches: tuple[int, ...] = BATCHES,
    draw: DrawImages = noise,
) -> float:
    """The largest difference of two networks' outputs, relative to the largest output, over several random batches.

    Both are compared in eval mode, each in the type of its parameters. `other` is a smaller network made from `one`.

    Raises:
        ProofError: `one` itself fails on the images, or its outputs are not finite.
        StructureError: `other` fails on them.
    """
    generator = torch.Generator().manual_seed(seed)
    worst = torch.zeros((), dtype=torch.float64)
    with evaluating(one), evaluating(other), torch.no_grad():
        for size in batches:
            images = draw((size, *shape), generator)
            expected, found = _expected(one, images), _outputs(other, images, "the smaller network", StructureError)
            scale = expected.abs().max().clamp_min(torch.finfo(torch.float64).tiny)
            worst = torch.maximum(worst, (expected - found).abs().max() / scale)
    return float(worst)


def _expected(network: nn.Module, images: Tensor) -> Tensor:
    """What another network has to give: as `_outputs`, and finite."""
    outputs = _outputs(network, images, "nothing can be proved: the network itself", ProofError)
    if not outputs.isfinite().all():
        raise ProofError(
            "nothing can be proved: the network's own outputs are not finite on random images; "
            "look for a logarithm, root or division in its code, or for weights that are not finite"
        )
    return outputs


def _outputs(network: nn.Module, images: Tensor, name: str, kind: type[PrunectlError]) -> Tensor:
    """All numbers that a network gives, in float64 in one row; where it fails, an error of this kind."""
    try:
        outputs = network(images.to(like_images(network)))
    except Exception as error:  # the network's own code may raise anything
        what = str(error).strip().partition("\n")[0] or type(error).__name__
        raise kind(f"{name} fails on a random batch of {len(images)}: {what}") from error
    tensors = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]
    return torch.cat([tensor.double().cpu().flatten() for tensor in tensors])


def like_images(network: nn.Module) -> Tensor:
    """A tensor of the type and place that the network wants of its images."""
    return next((p for p in network.parameters() if p.is_floating_point()), torch.empty(0))
