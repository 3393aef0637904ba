"""Prune PyTorch image classifiers before, during or after training, and shrink them with a proof of equality.

thin = prunectl.prune(model, loader, criterion="snap", sparsity=0.5)  # model takes (B, C, H, W)
small = prunectl.shrink(thin)                                         # small.model is a plain nn.Module
prunectl.save(small, "small.safetensors")
net = prunectl.load("small.safetensors", model=Net)
"""

from typing import TYPE_CHECKING, Any

from prunectl.version import __version__

if TYPE_CHECKING:
    from prunectl.api import prune, repair, save, shrink, train
    from prunectl.checkpoints.checkpoint import Checkpoint, load
    from prunectl.checkpoints.options.training import Recipe
    from prunectl.criteria.base.callback import Callback
    from prunectl.criteria.base.criterion import Criterion
    from prunectl.data.images import ImageData
    from prunectl.exchange.export import export
    from prunectl.exchange.imported import from_state_dict
    from prunectl.masks import Masks
    from prunectl.measures import attack, classify, corrupt, diff, evaluate, explain, report
    from prunectl.plugins.trust import trust
    from prunectl.scores import Scores
    from prunectl.training.hold import carry_, hold

__all__ = [
    "Callback",
    "Checkpoint",
    "Criterion",
    "ImageData",
    "Masks",
    "Recipe",
    "Scores",
    "__version__",
    "attack",
    "carry_",
    "classify",
    "corrupt",
    "diff",
    "evaluate",
    "explain",
    "export",
    "from_state_dict",
    "hold",
    "load",
    "prune",
    "repair",
    "report",
    "save",
    "shrink",
    "train",
    "trust",
]
_HOMES = {
    "Callback": "prunectl.criteria.base.callback",
    "Checkpoint": "prunectl.checkpoints.checkpoint",
    "Criterion": "prunectl.criteria.base.criterion",
    "ImageData": "prunectl.data.images",
    "Masks": "prunectl.masks",
    "Recipe": "prunectl.checkpoints.options.training",
    "Scores": "prunectl.scores",
    "export": "prunectl.exchange.export",
    "from_state_dict": "prunectl.exchange.imported",
    "load": "prunectl.checkpoints.checkpoint",
    "trust": "prunectl.plugins.trust",
    **dict.fromkeys(("prune", "repair", "save", "shrink", "train"), "prunectl.api"),
    **dict.fromkeys(("carry_", "hold"), "prunectl.training.hold"),
    **dict.fromkeys(("attack", "classify", "corrupt", "diff", "evaluate", "explain", "report"), "prunectl.measures"),
}


def __getattr__(name: str) -> Any:
    """Import a name on first access, so that `import prunectl` does not load torch."""
    if name not in __all__:
        raise AttributeError(f"module 'prunectl' has no attribute '{name}'")
    from importlib import import_module  # noqa: PLC0415

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
