"""Optimal Brain Compression: weights are removed one by one, and the others compensate (Frantar & Alistarh 2022)."""

from functools import partial

import torch
from torch import Tensor, nn

from prunectl.criteria.base.criterion import Batches, Criterion
from prunectl.criteria.base.surgeon import layers, update
from prunectl.masks import prunable
from prunectl.scores import Scores

_ENTRIES = 1 << 22
"""Most entries of the inverse Hessians (one per row) that are changed at once."""
_AT_ONCE = 32
"""Updates of an inverse Hessian that are combined in one product."""
_SHRINK = 0.8
"""The share of remaining weights at which the others are dropped from memory."""


def trace_of_losses(model: nn.Module, data: Batches, *, images: int = 256, damp: float = 0.01) -> Scores:
    """The error of removing each weight, one after another, while the kept weights compensate.

    In every row of a layer's weight matrix, the weight with the least w² / [H⁻¹]_pp is removed repeatedly, also from
    H⁻¹, and the others move by -w_p / [H⁻¹]_pp · H⁻¹_:p. H = X Xᵀ of the layer's inputs in the current network. A score
    is the largest of these losses up to the weight's turn, so pruning the lowest scores of a layer always continues
    with the row of least loss. The kept weights get the values that the last removal leaves.
    Source: Frantar & Alistarh 2022 (arXiv:2208.11580), section 4 (ExactOBS). For every output, the time grows with the
    cube of its inputs.
    """
    found = layers(model, data, images, damp)
    scores, shapes = {}, {name: weight.shape for name, weight in prunable(model).items()}
    for name, layer in found.items():
        traces = [
            torch.cat([_traced(rows, inverse) for rows in torch.split(matrix, max(1, _ENTRIES // inverse.numel()))])
            for matrix, inverse in zip(layer.matrix, torch.linalg.inv(layer.hessian), strict=True)
        ]
        scores[name] = layer.unfolding.weight(torch.stack(traces)).reshape(shapes[name])
    return Scores(scores, update=partial(update, found, shapes=shapes))


def _traced(rows: Tensor, inverse: Tensor) -> Tensor:
    """The score of every weight in rows (R, K) with the same H⁻¹ (K, K): float32, all different within a row."""
    scores = torch.zeros_like(rows, dtype=torch.float32)
    last, still = torch.full_like(scores[:, :1], -1.0), _Remaining(rows, inverse)
    for _ in range(rows.shape[1]):
        loss, place = still.remove_()
        last = torch.maximum(loss.float(), torch.nextafter(last, torch.full_like(last, torch.inf)).clamp_min(0))
        scores.scatter_(1, place, last)
    return scores


class _Remaining:
    """The remaining weights of some rows, and the H⁻¹ of each row, whose updates are combined in products.

    H⁻¹ is `inverses` (R, L, L) minus u uᵀ for every column u of `pending` (R, L, n); `places` (R, L) are columns of the
    whole matrix. From time to time, the remaining weights are compacted.
    """

    def __init__(self, rows: Tensor, inverse: Tensor) -> None:
        self.weights, self.inverses = rows.clone(), inverse.expand(len(rows), -1, -1).clone()
        self.places = torch.arange(rows.shape[1], device=rows.device).expand(len(rows), -1)
        self.left = torch.ones_like(rows, dtype=torch.bool)
        self._begin_()

    def remove_(self) -> tuple[Tensor, Tensor]:
        """Remove the weight with the least cost from every row; returns its cost and place, both (R, 1)."""
        losses = self.weights.square() / self.diagonal.clamp_min(1e-300)
        loss, goes = losses.masked_fill(~self.left, torch.inf).min(1, keepdim=True)
        place, wide = self.places.gather(1, goes), self.weights.shape[1]
        column = self.inverses.gather(2, goes[:, :, None].expand(-1, wide, 1))  # (R, L, 1)
        if self.pending:
            before = torch.cat(self.pending, 2)  # (R, L, n)
            column = column - before @ before.gather(1, goes[:, :, None].expand(-1, 1, before.shape[2])).mT
        pivot = column.gather(1, goes[:, :, None])
        update = column / pivot.sqrt()
        self.weights -= (update * (self.weights.gather(1, goes)[:, :, None] / pivot.sqrt()))[:, :, 0]
        self.left.scatter_(1, goes, False)
        self.weights.masked_fill_(~self.left, 0)
        self.diagonal -= update[:, :, 0].square()
        self.pending.append(update)
        if len(self.pending) == _AT_ONCE:
            self._flush_()
        return loss, place

    def _begin_(self) -> None:
        self.pending: list[Tensor] = []
        self.diagonal = self.inverses.diagonal(dim1=1, dim2=2).clone()

    def _flush_(self) -> None:
        """Apply the pending updates, and compact the remaining weights if many were removed."""
        columns = torch.cat(self.pending, 2)
        self.inverses.baddbmm_(columns, columns.mT, alpha=-1)
        count = int(self.left[0].sum())
        if 0 < count <= _SHRINK * self.left.shape[1]:
            kept = torch.nonzero(self.left)[:, 1].view(-1, count)
            self.inverses = self.inverses.gather(1, kept[:, :, None].expand(-1, -1, self.left.shape[1]))
            self.inverses = self.inverses.gather(2, kept[:, None].expand(-1, count, -1))
            self.weights, self.places = self.weights.gather(1, kept), self.places.gather(1, kept)
            self.left = torch.ones_like(self.weights, dtype=torch.bool)
        self._begin_()


obc = Criterion(
    trace_of_losses,
    schedule="one-shot",
    scope="layer",
    source="Frantar & Alistarh 2022, arXiv:2208.11580, section 4",
    when="after",
)
