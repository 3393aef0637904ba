"""Checks that a rewritten graph trains like the masked network; the proof compares only outputs."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from prunectl.structure.surgery.cut import Kept, cut
from prunectl.structure.surgery.proof import DrawImages
from prunectl.torchtools.contexts import evaluating

_ALLOWED = 1e-5


def training_doubt(
    masked: nn.Module, small: nn.Module, kept: Kept, shape: tuple[int, int, int], draw: DrawImages
) -> str | None:
    """A sentence about how a training of `small` would differ; None if no difference was found. Both are in float64.

    Gradients are compared in eval mode: an exported graph has neither the backward pass of an `autograd.Function` nor
    `no_grad`. In training mode, it only has to run.
    """
    images = draw((2, *shape), torch.Generator().manual_seed(0)).double()
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            copy.deepcopy(small).train()(images)
    except Exception as error:  # noqa: BLE001  (the network's own code may raise anything)
        return f"it cannot be trained: {str(error).partition(chr(10))[0]}"
    expected, found = cut(_gradients(masked, images), kept), _gradients(small, images)
    scale = max((float(gradient.abs().max()) for gradient in expected.values()), default=0.0)
    worst, name = max(((float((found[n] - g).abs().max()), n) for n, g in expected.items()), default=(0.0, ""))
    if worst <= _ALLOWED * scale:
        return None
    found_in_code = _gradient_changes(masked, images)
    because = f": its code has {' and '.join(found_in_code)}, which a rewritten graph lacks" if found_in_code else ""
    return f"its gradients differ from those of the masked network by {worst / scale:.0%} at {name}{because}"


def _gradient_changes(network: nn.Module, images: Tensor) -> list[str]:
    """What in a network's code changes its gradients relative to its operations, as far as a run shows it."""
    own, switches = copy.deepcopy(network).requires_grad_(True), _Switches()
    with evaluating(own), torch.enable_grad(), switches:
        outputs = [o for o in tree_leaves(own(images)) if isinstance(o, Tensor) and o.grad_fn is not None]
    functions = any(isinstance(node, BackwardCFunction) for node in _backward_nodes(outputs))
    return [*(["no_grad"] if switches.off else []), *(["an autograd.Function"] if functions else [])]


class _Switches(TorchFunctionMode):
    """Records whether gradients are switched off."""

    off = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.off |= func is torch._C._set_grad_enabled and not args[0]
        return func(*args, **(kwargs or {}))


def _backward_nodes(outputs: list[Tensor]) -> set[Any]:
    """All steps of the backward pass of some outputs."""
    seen: set[Any] = set()
    waiting: list[Any] = [output.grad_fn for output in outputs]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting.extend(step for step, _ in node.next_functions)
    return seen


def _gradients(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """The gradients of a fixed sum of all outputs by the network's parameters, zero where one is not used."""
    own = copy.deepcopy(network)
    parameters = dict(own.named_parameters())
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    with evaluating(own), torch.enable_grad():
        outputs = [o.flatten() for o in tree_leaves(own(images)) if isinstance(o, Tensor) and o.is_floating_point()]
        flat = torch.cat(outputs)
        weights = torch.randn(len(flat), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        if not flat.requires_grad:
            return {name: torch.zeros_like(p) for name, p in parameters.items()}
        found = torch.autograd.grad(
            (flat * weights).sum(), list(parameters.values()), allow_unused=True, materialize_grads=True
        )
    return dict(zip(parameters, found, strict=True))
