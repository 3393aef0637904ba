"""Checks an exported file against the network before the file gets its name."""

from collections.abc import Callable

import torch
from torch import Tensor

from prunectl.errors import ProofError, first_line
from prunectl.structure.surgery.proof import DrawImages

BATCHES = (1, 7)
"""One image, and a batch size that the tracer has not seen."""


def worst_difference(
    expected: Callable[[Tensor], Tensor], run: Callable[[Tensor], Tensor], shape: tuple[int, int, int], draw: DrawImages
) -> float:
    """The largest difference of outputs relative to the largest output, over batches of 1 and 7 random images.

    Raises:
        ProofError: the exported network fails on one of them.
    """
    generator, worst = torch.Generator().manual_seed(0), torch.zeros((), dtype=torch.float64)
    for size in BATCHES:
        images = draw((size, *shape), generator)
        with torch.no_grad():
            outputs = expected(images).double()
        try:
            with torch.no_grad():
                found = run(images).double()
        except Exception as error:  # runtimes raise errors of any type
            what = first_line(error)
            raise ProofError(f"the exported network fails on a batch of {size}: {what}; nothing was written") from error
        if found.shape != outputs.shape:
            raise ProofError(
                f"the exported network returns {tuple(found.shape)} for a batch of {size}, expected "
                f"{tuple(outputs.shape)}; nothing was written"
            )
        scale = outputs.abs().max().clamp_min(torch.finfo(torch.float64).tiny)
        worst = torch.maximum(worst, (outputs - found).abs().max() / scale)  # nan stays
    return float(worst)


def check_close(found: float, allowed: float, what: str) -> None:
    """Refuse a difference above the allowed one.

    Raises:
        ProofError: it is above, or not a number.
    """
    if not found <= allowed:
        raise ProofError(
            f"{what} differs from the network by {found:.2g} of the largest output, above the allowed {allowed:.0e}; "
            "nothing was written"
        )
