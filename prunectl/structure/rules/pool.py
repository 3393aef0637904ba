"""Pooling and resizing: channels pass, the image's sides stay."""

from torch import Tensor, fx

from prunectl.structure.labels import Value
from prunectl.structure.operations import Arguments, Liveness, Result, operation
from prunectl.structure.propagation import Propagation

_SIDES = {"1d": 1, "2d": 2, "3d": 3}


@operation(
    *("max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d"),
    *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool2d"),
    *("upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d"),
    liveness=Liveness.PASSES,
)
@operation(
    *("max_pool3d", "avg_pool3d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool3d"),
    *("max_pool2d_with_indices", "_adaptive_avg_pool2d"),
    *("upsample_nearest1d", "upsample_linear1d", "upsample_nearest3d", "upsample_trilinear3d"),
    *("_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "_upsample_nearest_exact2d"),
)
def pool(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """(..., C, H, W) to (..., C, H', W')."""
    x = flow.value(node.args[0])
    sides = next((n for text, n in _SIDES.items() if text in str(node.target)), 2)
    lead = len(x.shape) - sides
    for axis in range(lead, len(x.shape)):
        flow.freeze(x.rows[axis], node, "pooled or resized over")
    made = [
        Value(shape, (*x.rows[:lead], *(None,) * sides), (*x.zero[:lead], *(False,) * sides), x.image)
        for shape in flow.shapes(node)
    ]
    return made[0] if isinstance(node.meta["val"], Tensor) else made


@operation("grid_sampler", "grid_sampler_2d", "grid_sampler_3d")
def sample(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """Sample entries at the positions of a grid (B, H', W', 2)."""
    flow.freeze(flow.value(a["grid"]), node, "positions to sample at")
    return pool(flow, node, a)
