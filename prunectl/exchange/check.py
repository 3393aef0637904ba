"""The check of an exported file: it is run beside the network before it takes its name."""

from collections.abc import Callable

import torch
from torch import Tensor

from prunectl.errors import ProofError, first_line
from prunectl.structure.surgery.proof import DrawImages

BATCHES = (1, 7)
"""One image, and a number of them that no tracer has seen."""


def worst_difference(
    expected: Callable[[Tensor], Tensor], run: Callable[[Tensor], Tensor], shape: tuple[int, int, int], draw: DrawImages
) -> float:
    """The largest difference of outputs relative to the largest output, over batches of 1 and 7 random images.

    Raises:
        ProofError: what was exported fails on one of them.
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
    """Refuse a difference above what is allowed.

    Raises:
        ProofError: it is, or it is not a number.
    """
    if not found <= allowed:
        raise ProofError(
            f"{what} differs from the network by {found:.2g} of the largest output, at most {allowed:.0e} is allowed; "
            "nothing was written"
        )
