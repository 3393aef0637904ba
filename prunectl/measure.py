"""What a network costs: weights, multiply-accumulates, bytes, time, memory."""

import ctypes
import resource
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from prunectl.errors import OptionError, PrunectlError
from prunectl.masks import Masks, prunable
from prunectl.modes import evaluating, single_steps
from prunectl.shadow import like_parameters, on_meta, shadow
from prunectl.storages import Storages

LATENCY_BATCHES = (1, 64)
_TIMING_SECONDS = 0.5
_Counted = tuple[dict[str, Tensor], int, dict[str, int], tuple[int, ...]]
"""The prunable weights, the FLOPs of one image, those of them that multiply by each weight, and the shape given."""
_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


@dataclass(frozen=True)
class LayerCost:
    """One prunable layer: its weights, how many of them are kept, how often each is used per image."""

    name: str
    shape: tuple[int, ...]
    kept: int
    uses: int

    @property
    def weights(self) -> int:
        """Weights in the layer, pruned ones counted."""
        return torch.Size(self.shape).numel()


@dataclass(frozen=True)
class Cost:
    """FLOPs per image (2 x multiply-accumulates), all of them and without those of pruned weights."""

    parameters: int
    flops: int
    layers: tuple[LayerCost, ...]
    outputs: tuple[int, ...]
    """The shape of what the network gives for one image: (1, classes) for a classifier."""

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
        """What hardware that skips every pruned weight would do: the theoretical speed-up, not a measured one."""
        return self.flops - 2 * sum((layer.weights - layer.kept) * layer.uses for layer in self.layers)


def cost(model: nn.Module, masks: Masks, shape: tuple[int, int, int]) -> Cost:
    """Count on the meta device, where nothing is computed; where that fails, on a blank image.

    A network that looks at values, or that holds tensors which are no buffers, cannot run on the meta device.

    Raises:
        OptionError: a network that does not take images (B, C, H, W), or does not give a tensor of logits.
    """
    try:
        weights, flops, used, outputs = _counted(on_meta(model), shape)
    except PrunectlError:
        raise
    except Exception:  # the network's own code may raise anything
        weights, flops, used, outputs = _run(model, shape)
    return Cost(
        parameters=sum(p.numel() for p in model.parameters()),
        flops=flops,
        layers=tuple(
            LayerCost(
                name=name,
                shape=tuple(weight.shape),
                kept=int(masks[name].sum()) if name in masks else weight.numel(),
                uses=used.get(name, 0) // (2 * weight.numel()),
            )
            for name, weight in weights.items()
        ),
        outputs=outputs,
    )


def _counted(network: nn.Module, shape: tuple[int, int, int]) -> _Counted:
    """The same from a run of one image."""
    weights = prunable(network)
    image = like_parameters(network, 1, *shape)
    with _ByWeight(weights) as by_weight, FlopCounterMode(display=False) as counter, torch.no_grad():
        logits = network.eval()(image)  # the counter takes operations apart, and hands on what is left of them
    if not isinstance(logits, Tensor):
        raise OptionError(
            f"expected a network that gives a tensor of logits (B, classes), found {type(logits).__name__}; "
            "wrap it in a module that returns the logits alone"
        )
    return weights, counter.get_total_flops(), by_weight.flops, tuple(logits.shape)


def _run(model: nn.Module, shape: tuple[int, int, int]) -> _Counted:
    """The same on the network's own device (where torch's counter misses what is fused), with its values."""
    own = shadow(model, lambda tensor: tensor.detach() if isinstance(tensor, nn.Parameter) else tensor.clone())
    try:
        with single_steps(), torch.random.fork_rng(devices=[]):
            return _counted(own, shape)
    except PrunectlError:
        raise
    except Exception as error:
        what = str(error).strip().partition("\n")[0] or type(error).__name__
        size = ", ".join(map(str, shape))
        raise OptionError(
            f"the network does not take images (B, {size}): {what}; take another network or size"
        ) from error


class _ByWeight(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the FLOPs of the operations that multiply by each weight."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.weights = Storages(weights)
        self.flops: dict[str, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and count it if torch has a formula for it."""
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            for name in self.weights.among(args)[:1]:
                self.flops[name] = self.flops.get(name, 0) + int(formula(*args, **(kwargs or {}), out_val=out))
        return out


def stored_bytes(model: nn.Module, masks: Masks) -> tuple[int, int]:
    """Bytes of all tensors: stored whole, and with pruned entries left out (one bit each, and the kept values)."""
    whole = packed = 0
    for name, tensor in model.state_dict().items():
        size = tensor.numel() * tensor.element_size()
        whole += size
        packed += int(masks[name].sum()) * tensor.element_size() + -(-tensor.numel() // 8) if name in masks else size
    return whole, packed


def latency(model: nn.Module, shape: tuple[int, int, int], batch: int) -> dict[str, Any]:
    """Seconds per batch on the model's device, one cpu thread: median and interquartile range."""
    from torch.utils.benchmark import Timer  # noqa: PLC0415

    device = next(model.parameters()).device
    inputs = torch.randn(batch, *shape, device=device)
    here = torch.cuda.device(device) if device.type == "cuda" else nullcontext()  # for which the timer waits
    with here, evaluating(model), torch.inference_mode():
        timer = Timer("model(inputs)", globals={"model": model, "inputs": inputs}, num_threads=1)
        taken = timer.blocked_autorange(min_run_time=_TIMING_SECONDS)
    return {"batch": batch, "median_s": taken.median, "iqr_s": taken.iqr, "runs": len(taken.times)}


def peak_memory(device: torch.device, work: Callable[[], Any]) -> tuple[Any, int]:
    """Run `work`; return its value and the peak bytes: allocated on the gpu, or resident in the process on a cpu."""
    forget_peak(device)
    return work(), memory_in_use(device)


def forget_peak(device: torch.device) -> None:
    """Let `memory_in_use` count from now on; on a cpu only Linux can, elsewhere it counts from the process's start."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # what was freed before, and kept by the allocator, is not the work's
        _CLEAR.write_text("5")  # proc(5): resets the peak resident set size


def memory_in_use(device: torch.device) -> int:
    """Peak bytes since `forget_peak`: allocated on the gpu, or resident in the process on a cpu."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError, StopIteration):
        told = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(told.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
