"""Counts the costs of a network: parameters, weights, multiply-accumulates."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from prunectl.errors import OptionError, PrunectlError
from prunectl.masks import Masks, prunable
from prunectl.torchtools.contexts import full_precision, single_steps
from prunectl.torchtools.copies import like_parameters, on_meta, with_tensors
from prunectl.torchtools.storages import Storages

_Counted = tuple[dict[str, Tensor], int, dict[str, int], tuple[int, ...]]
"""The prunable weights, the FLOPs of one image, the FLOPs per weight, and the output shape."""


MOST_PARAMETERS, MOST_PIXELS = 3 * 10**7, 3 * 64 * 64
"""Limits of a network that is counted on an image: up to these, a cpu takes half the time of the meta device."""


@dataclass(frozen=True)
class LayerCost:
    """One prunable layer: its weights, the number kept, and how often each is used per image."""

    name: str
    shape: tuple[int, ...]
    kept: int
    uses: int

    @property
    def weights(self) -> int:
        """Weights in the layer, including pruned ones."""
        return torch.Size(self.shape).numel()


@dataclass(frozen=True)
class Cost:
    """FLOPs per image (2 x multiply-accumulates), with and without pruned weights."""

    parameters: int
    flops: int
    layers: tuple[LayerCost, ...]
    outputs: tuple[int, ...]
    """The output shape for one image: (1, classes) for a classifier."""

    @property
    def weights(self) -> int:
        """Prunable weights that exist in memory."""
        return sum(layer.weights for layer in self.layers)

    @property
    def kept(self) -> int:
        """Prunable weights that are not pruned."""
        return sum(layer.kept for layer in self.layers)

    @property
    def nonzero_flops(self) -> int:
        """FLOPs on hardware that skips every pruned weight: a theoretical value, not a measured one."""
        return self.flops - 2 * sum((layer.weights - layer.kept) * layer.uses for layer in self.layers)


def cost(model: nn.Module, masks: Masks, shape: tuple[int, int, int]) -> Cost:
    """Count during a run: a small network on a blank image, a large one on the meta device, without computing.

    Small networks are faster on an image, and their operations on the meta device would load torch's compiler. A
    network that reads values, or holds tensors that are not buffers, cannot run on the meta device, whatever its size.

    Raises:
        OptionError: the network does not take images (B, C, H, W), or does not return a tensor of logits.
    """
    counted = None if _is_small(model, shape) else _on_meta(model, shape)
    weights, flops, used, outputs = counted or _run(model, shape)
    return Cost(
        parameters=sum(p.numel() for p in model.parameters()),
        flops=flops,
        layers=tuple(
            LayerCost(
                name=name,
                shape=tuple(weight.shape),
                kept=masks.count(name, weight),
                uses=used.get(name, 0) // (2 * weight.numel()),
            )
            for name, weight in weights.items()
        ),
        outputs=outputs,
    )


def _is_small(model: nn.Module, shape: tuple[int, int, int]) -> bool:
    """Whether one image takes less time than the meta device, whose operations are written in Python."""
    sizes = [p.numel() for p in model.parameters() if p.device.type == "cpu"]
    return bool(sizes) and sum(sizes) <= MOST_PARAMETERS and prod(shape) <= MOST_PIXELS


def _on_meta(model: nn.Module, shape: tuple[int, int, int]) -> _Counted | None:
    """The counts on the meta device; None for a network that cannot run there."""
    try:
        return _counted(on_meta(model), shape)
    except PrunectlError:
        raise
    except Exception:  # noqa: BLE001  (the network's own code may raise anything)
        return None


def _counted(network: nn.Module, shape: tuple[int, int, int]) -> _Counted:
    """The counts from a run of one image."""
    weights = prunable(network)
    image = like_parameters(network, 1, *shape)
    network.eval()
    counted = _Flops(weights)
    try:
        with counted, torch.no_grad():
            logits = network(image)
        total = counted.total
    except Exception:  # noqa: BLE001  (what torch raises for `torch.cond` differs between its releases)
        counted = _Flops(weights)
        with counted, FlopCounterMode(display=False) as counter, torch.no_grad():
            logits = network(image)  # the counter runs all branches, and passes on their operations
        total = counter.get_total_flops()
    if not isinstance(logits, Tensor):
        raise OptionError(
            f"expected a network that returns a tensor of logits (B, classes), found {type(logits).__name__}; "
            "wrap it in a module that returns only the logits"
        )
    return weights, total, counted.by_weight, tuple(logits.shape)


def _run(model: nn.Module, shape: tuple[int, int, int]) -> _Counted:
    """The counts on the network's own device, with its values; torch's counter would miss fused operations there."""
    own = with_tensors(model, lambda tensor: tensor.detach() if isinstance(tensor, nn.Parameter) else tensor.clone())
    try:
        with single_steps(), full_precision(), torch.random.fork_rng(devices=[]):
            return _counted(own, shape)
    except PrunectlError:
        raise
    except Exception as error:
        what = str(error).strip().partition("\n")[0] or type(error).__name__
        size = ", ".join(map(str, shape))
        raise OptionError(
            f"the network does not take images (B, {size}): {what}; use another network or size"
        ) from error


class _Flops(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts FLOPs by torch's formulas: `total`, and those of the operations that multiply by each weight.

    torch's `FlopCounterMode` counts the same, and also handles branches (`torch.cond`), but loads torch's compiler,
    which takes longer than the whole count.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.weights = Storages(weights)
        self.total = 0
        self.by_weight: dict[str, int] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch's compiler is not running here; being hidden from it would load it."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, decomposed if possible, and count it if torch has a formula for it."""
        with self:
            parts = func.decompose(*args, **(kwargs or {}))
        if parts is not NotImplemented:
            return parts
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            flops = int(formula(*args, **(kwargs or {}), out_val=out))
            self.total += flops
            for name in self.weights.among(args)[:1]:
                self.by_weight[name] = self.by_weight.get(name, 0) + flops
        return out
