"""The cost of a network without some of its nodes, in the terms of a budget."""

import copy
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.measuring.latency import Ratio, relative_latency
from prunectl.measuring.runtimes import check_available, network_in, ready
from prunectl.pruning.budget import Budget, in_runtime
from prunectl.pruning.latency_trials import LatencyTrials
from prunectl.structure.costs import costs_without, float32_bytes
from prunectl.structure.order import node_kinds
from prunectl.structure.surgery.build import without
from prunectl.structure.trace import Analysis
from prunectl.torchtools.copies import in_type_of
from prunectl.torchtools.distributed import from_first

_NAMES = {"params": "parameters", "flops": "FLOPs", "size": "bytes"}
_ANY = 0.01
"""An ordinary value: denormal numbers would slow the arithmetic down."""


class BudgetMeter:
    """The costs of a checkpoint's network, `model`, under a budget; a latency is relative to the dense network's."""

    def __init__(self, budget: Budget, checkpoint: Checkpoint, model: nn.Module, analysis: Analysis) -> None:
        self.budget, self.checkpoint, self.model, self.analysis = budget, checkpoint, model, analysis
        self.trials = LatencyTrials()
        if budget.kind == "latency":
            check_available(budget.runtime, checkpoint.device)

    def without(self, gone: Tensor) -> float:
        """The cost without these nodes (bool, (nodes,)), which is counted; `latency` measures."""
        costs = costs_without(self.analysis.structure, self.model, gone)
        return {"params": costs.parameters, "flops": costs.flops, "size": costs.bytes}[self.budget.kind]

    def latency(self, gone: Tensor, limit: float | None = None) -> Ratio:
        """The latency without these nodes, relative to the dense network's; `limit` is as in `relative_latency`.

        Of several processes the first one measures. The last network within the budget can be timed again at once.
        """
        return from_first(lambda: self._measured(gone, limit))

    def _measured(self, gone: Tensor, limit: float | None) -> Ratio:
        widths, trials = self.widths(gone), self.trials
        if trials.dense_run is None:
            own = self.original is self.model  # which is pruned, and may train
            trials.dense_run = self._run((copy.deepcopy(self.original) if own else self.original).eval())
        run = trials.fitting.get(widths) or self._run_without(gone)
        found = relative_latency(run, trials.dense_run, limit=limit)
        if found.high <= self.limit:
            trials.fitting = {widths: run}
        return found

    def widths(self, gone: Tensor) -> bytes:
        """Equal for networks of the same shapes, which take the same time: how many nodes of every kind are left."""
        return torch.bincount(self._kinds[~gone], minlength=1).numpy().tobytes()

    @cached_property
    def _kinds(self) -> Tensor:
        return node_kinds(self.analysis.structure)

    def is_dense(self, gone: Tensor) -> bool:
        """Whether the network without these nodes is as large as the original dense one."""
        return self.original is self.model and not gone.any()

    def flops(self, gone: Tensor) -> int:
        """FLOPs per image without these nodes."""
        return self.analysis.structure.flops(gone)

    def _run_without(self, gone: Tensor) -> Callable[[], object]:
        return self._run(without(self.model, self.analysis, gone, self.checkpoint.spec.input).eval())

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
        if self.budget.kind == "latency":
            return f"{amount:.3g} of the dense latency{in_runtime({'runtime': self.budget.runtime})}"
        return f"{int(amount):,} {_NAMES[self.budget.kind]}"
