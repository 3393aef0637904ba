"""The cost of a network without some of its nodes, in the terms of a budget."""

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.measuring.latency import Ratio, relative_latency
from prunectl.measuring.runtimes import check_available, network_in, ready
from prunectl.pruning.budget import Budget
from prunectl.structure.costs import costs_without, float32_bytes
from prunectl.structure.surgery.build import without
from prunectl.structure.trace import Analysis
from prunectl.torchtools.contexts import evaluating
from prunectl.torchtools.copies import in_type_of
from prunectl.torchtools.distributed import from_first

_NAMES = {"params": "parameters", "flops": "FLOPs", "size": "bytes", "latency": "of the dense latency"}
_ANY = 0.01
"""An ordinary value: denormal numbers would slow the arithmetic down."""


class BudgetMeter:
    """The costs of a checkpoint's network, `model`, under a budget; a latency is relative to the dense network's."""

    def __init__(self, budget: Budget, checkpoint: Checkpoint, model: nn.Module, analysis: Analysis) -> None:
        self.budget, self.checkpoint, self.model, self.analysis = budget, checkpoint, model, analysis
        if budget.kind == "latency":
            check_available(budget.runtime, checkpoint.device)

    def without(self, gone: Tensor) -> float:
        """The cost without these nodes (bool, (nodes,)); of a latency, its upper bound, as exact as the limit needs."""
        if self.budget.kind == "latency":
            return self.latency(gone, limit=self.limit).high
        costs = costs_without(self.analysis.structure, self.model, gone)
        return {"params": costs.parameters, "flops": costs.flops, "size": costs.bytes}[self.budget.kind]

    def latency(self, gone: Tensor, limit: float | None = None) -> Ratio:
        """The latency without these nodes, relative to the dense network's; `limit` is as in `relative_latency`.

        Of several processes the first one measures.
        """
        return from_first(lambda: self._measured(gone, limit))

    def _measured(self, gone: Tensor, limit: float | None) -> Ratio:
        small = without(self.model, self.analysis, gone, self.checkpoint.spec.input)
        with evaluating(small), evaluating(self.original):
            return relative_latency(self._run(small), self.dense_run, limit=limit)

    @cached_property
    def dense_run(self) -> Callable[[], object]:
        """A call that runs the dense network on an image, in the budget's runtime."""
        with evaluating(self.original):
            return self._run(self.original)

    def _run(self, network: nn.Module) -> Callable[[], object]:
        shape, runtime = self.checkpoint.spec.input, self.budget.runtime
        image = in_type_of(network, torch.full((1, *shape), 0.5, device=self.checkpoint.device))
        return ready(network_in(runtime, network, shape), runtime, image).run

    @cached_property
    def whole(self) -> float:
        """The cost of the original dense network."""
        dense = self.checkpoint.dense
        if self.budget.kind == "size":
            return sum(float32_bytes(tensor, tensor.numel()) for tensor in self.original.state_dict().values())
        return {"params": dense.parameters, "flops": dense.flops, "latency": 1}[self.budget.kind]

    @property
    def limit(self) -> float:
        """The most that the budget allows."""
        return self.budget.limit(self.whole)

    @cached_property
    def original(self) -> nn.Module:
        """A network as large as the original dense one; its values are arbitrary."""
        if sum(p.numel() for p in self.model.parameters()) == self.checkpoint.dense.parameters:
            return self.model
        network = self.checkpoint.dense_network().to(self.checkpoint.device)
        with torch.no_grad():
            for tensor in (*network.parameters(), *network.buffers()):
                tensor.fill_(_ANY if tensor.is_floating_point() else 0)
        return network

    def text(self, amount: float) -> str:
        """A cost as text with its unit."""
        number = f"{amount:.3g}" if self.budget.kind == "latency" else f"{int(amount):,}"
        return f"{number} {_NAMES[self.budget.kind]}"
