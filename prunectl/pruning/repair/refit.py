"""refit: the kept weights of a layer by least squares, so that its outputs come close to those of the dense layer."""

from collections.abc import Iterator

import torch
from torch import Tensor

from prunectl.masks import Masks
from prunectl.pruning.repair.errors_by_layer import LayerError
from prunectl.pruning.repair.layers import Layer
from prunectl.pruning.repair.normal_equations import NormalEquations, solved
from prunectl.pruning.repair.walk import DENSE, PRUNED, Walk

RIDGES = (1e-6, 1e-4, 1e-2, 1.0)
"""Candidates for the ridge, in mean diagonals of X^T X; the one with the least error on held-out images is taken."""
HELD_OUT = 5
"""One batch in so many is held out to choose the ridge."""


def refit_(walk: Walk, layer: Layer, masks: Masks) -> LayerError | None:
    """Fit a layer of the pruned network in place, where that lowers its error on images held out from the fit.

    `walk` has advanced to the layer: inputs X are those that the pruned network has there, the outputs wanted those of
    the dense layer on its own inputs. The kept weights of every output minimise |X w + b - y|^2 (`solved`); b is free
    where the layer has a bias, or where a BatchNorm takes it away. The ridge is chosen on one batch in `HELD_OUT`, then
    all are fitted. The error is that on the held-out images before all are, relative to the variance of y; None for a
    layer of which nothing is left.

    Source: Optimal Brain Compression (arXiv:2208.11580), section 3, and ThiNet (arXiv:1707.06342), equation 6, on the
    inputs of the network pruned so far.
    """
    fit = _Fit(walk, layer, masks)
    if not fit.rows.any():
        return None
    fit.add_(held=False)
    candidates = [fit.present(), *(fit.solution(ridge) for ridge in RIDGES)]
    errors = _errors(walk, layer, candidates)[:, fit.rows].sum(1)
    scale = float(_variance(walk, layer)[fit.rows].sum()) or 1.0
    best = int(errors.argmin())
    if best > 0:
        fit.add_(held=True)
        fit.write_(*fit.solution(RIDGES[best - 1]))
    return LayerError(layer.weight, float(errors[0]) / scale, float(errors[best]) / scale)


class _Fit:
    """The least squares of one layer."""

    def __init__(self, walk: Walk, layer: Layer, masks: Masks) -> None:
        self.walk, self.layer = walk, layer
        tensors, unfold = walk.networks[PRUNED], layer.unfolding
        self.weight = tensors[layer.weight].detach()
        self.bias = None if layer.bias is None else tensors[layer.bias].detach()
        self.matrix = unfold.matrix(self.weight).double()
        self.support = unfold.matrix(masks.of(layer.weight, self.weight))
        self.rows = self.support.any(2)
        """The outputs (G, O) that are fitted: those with kept weights, unless their bias alone is pruned."""
        self.offset = torch.zeros_like(self.matrix[:, :, 0])
        if layer.bias is not None and self.bias is not None:
            self.offset = unfold.vector(self.bias).double()
            self.rows = self.rows & unfold.vector(masks.of(layer.bias, self.bias))
        self.support = self.support & self.rows[:, :, None]
        self.free = layer.floats or self.bias is not None
        self.sums = NormalEquations.empty(*unfold.sizes, self.weight.device)

    def add_(self, *, held: bool) -> None:
        """Add the rows of the images held out, or of all others."""
        if self.free and self.sums.count:
            self.sums.uncentre_()
        for x, y in _pairs(self.walk, self.layer, held=held):
            for rows, wanted in self.layer.unfolding.pieces(x, y):
                self.sums.add_(rows, wanted)
        if self.free:
            self.sums.centre_()

    def present(self) -> tuple[Tensor, Tensor]:
        """The layer as it is, matrix and offset, with the mean of the outputs wanted where a BatchNorm sees to it."""
        return self.matrix, self.sums.offsets(self.matrix) if self.layer.floats else self.offset

    def solution(self, ridge: float) -> tuple[Tensor, Tensor]:
        """Matrix (G, O, K) and offset (G, O) by the sums so far."""
        matrix = solved(self.sums, self.matrix, self.support, ridge)
        return matrix, torch.where(self.rows, self.sums.offsets(matrix), self.offset) if self.free else self.offset

    def write_(self, matrix: Tensor, offset: Tensor) -> None:
        """Put a solution into the network."""
        self.weight.copy_(self.layer.unfolding.weight(matrix))
        if self.bias is not None:
            self.bias.copy_(offset.reshape(self.bias.shape))


def _pairs(walk: Walk, layer: Layer, *, held: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs of the pruned layer and outputs of the dense one, for the images held out or for all others."""
    own, theirs = walk.values(PRUNED, layer.input), walk.values(DENSE, layer.input)
    for i in range(walk.batches):
        if (i % HELD_OUT == HELD_OUT - 1) == held:
            yield own[i], walk.computed(DENSE, layer.node, {layer.input: theirs[i]})


def _errors(walk: Walk, layer: Layer, candidates: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Squared errors of candidates on the held-out images: (candidates, G, O)."""
    total = torch.zeros(len(candidates), *candidates[0][1].shape, dtype=torch.float64, device=candidates[0][1].device)
    for x, y in _pairs(walk, layer, held=True):
        for rows, wanted in layer.unfolding.pieces(x, y):
            for i, (matrix, offset) in enumerate(candidates):
                total[i] += (rows @ matrix.transpose(1, 2) + offset[:, None] - wanted).square().sum(1)
    return total


def _variance(walk: Walk, layer: Layer) -> Tensor:
    """The sum of squares (G, O) of the outputs wanted on the held-out images, around their mean."""
    count, one, two = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for _, y in _pairs(walk, layer, held=True):
        wanted = layer.unfolding.outputs(y).double()
        count, one, two = count + wanted.shape[1], one + wanted.sum(1), two + wanted.square().sum(1)
    return two - one.square() / max(count, 1)
