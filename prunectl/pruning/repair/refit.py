"""refit: fits the kept weights of a layer by least squares to the outputs of the dense layer."""

from collections.abc import Iterator

import torch
from torch import Tensor

from prunectl.masks import Masks
from prunectl.pruning.repair.errors_by_layer import LayerError
from prunectl.pruning.repair.layers import Layer
from prunectl.pruning.repair.walk import DENSE, PRUNED, Tensors, Walk
from prunectl.torchtools.normal_equations import NormalEquations, solved

RIDGES = (1e-6, 1e-4, 1e-2, 1.0)
"""Candidates for the ridge, in mean diagonals of X^T X; the one with the least error on held-out images is used."""
HELD_OUT = 5
"""One batch in this many is held out to choose the ridge."""
ROWS_PER_WEIGHT = 16
"""Enough rows per weight for the least squares, if an image has more positions."""
MOST_TRIED = 64
"""Outputs of a group that choose the ridge, and that are solved together."""
MOST_ENTRIES = 8 * 10**6
"""Entries of rows up to which all are used, whatever the number of weights."""
MOST_PRODUCTS = 1 << 30
"""Most bytes of a layer's input products, K² per group; solving takes twice as many in addition."""


def refit_(walk: Walk, layer: Layer, masks: Masks) -> LayerError | None:
    """Fit a layer of the pruned network in place, if that lowers its error on images held out from the fit.

    `walk` has advanced to the layer: the inputs X are the pruned network's, the wanted outputs are those of the dense
    layer on its own inputs. The kept weights of every output minimise |X w + b - y|^2 (`solved`); b is free if the
    layer has a bias or a BatchNorm removes it. The ridge is chosen on one batch in `HELD_OUT`, with `MOST_TRIED`
    outputs, then all outputs are fitted to all images. The returned error is that of these outputs on the held-out
    images before the final fit, relative to the variance of y; None for a layer without kept weights.

    Source: Optimal Brain Compression (arXiv:2208.11580), section 3, and ThiNet (arXiv:1707.06342), equation 6, on the
    inputs of the network pruned so far.
    """
    fit = _Fit(walk, layer, masks)
    if not fit.rows.any():
        return None
    fit.add_(held=False)
    tried = fit.tried()
    candidates = [fit.present(tried), *(fit.solution(ridge, tried) for ridge in RIDGES)]
    errors, variance = fit.errors(candidates, tried)
    best = errors.index(min(errors))
    if best > 0:
        fit.add_(held=True)
        fit.solve_(RIDGES[best - 1])
    return LayerError(layer.weight, errors[0] / (variance or 1.0), errors[best] / (variance or 1.0))


def too_wide(tensors: Tensors, layer: Layer, masks: Masks) -> bool:
    """Whether a layer has so many inputs with kept weights that their products take more than `MOST_PRODUCTS`."""
    groups = layer.unfolding.sizes[0]
    support = layer.unfolding.matrix(masks.of(layer.weight, tensors[layer.weight]))
    return 8 * groups * int(support.flatten(0, 1).any(0).sum()) ** 2 > MOST_PRODUCTS


class _Fit:
    """The least squares of one layer, on the inputs for which some output keeps a weight."""

    def __init__(self, walk: Walk, layer: Layer, masks: Masks) -> None:
        self.walk, self.layer = walk, layer
        tensors, unfold = walk.networks[PRUNED], layer.unfolding
        self.weight = tensors[layer.weight].detach()
        self.bias = None if layer.bias is None else tensors[layer.bias].detach()
        self.support = unfold.matrix(masks.of(layer.weight, self.weight))
        self.used = torch.nonzero(self.support.flatten(0, 1).any(0)).flatten()
        """The used inputs of a group, of its K."""
        self.rows = self.support.any(2)
        """The fitted outputs (G, O): those with kept weights, unless only their bias is pruned."""
        if layer.bias is not None and self.bias is not None:
            self.rows = self.rows & unfold.vector(masks.of(layer.bias, self.bias))
        self.free = layer.floats or self.bias is not None
        groups, outputs, _ = unfold.sizes
        self.sums = NormalEquations.empty(groups, outputs, len(self.used), self.weight.device)
        self.share = self._share()

    def _share(self) -> float:
        """The share of the positions in an image that suffices for this number of weights."""
        _, y = next(self.batches(held=False))
        available = self.layer.unfolding.outputs(y).shape[1] * self.walk.batches
        wanted = max(ROWS_PER_WEIGHT * len(self.used), MOST_ENTRIES // (len(self.sums.xx) * len(self.used)))
        return min(1.0, wanted / available)

    def add_(self, *, held: bool) -> None:
        """Add the rows of the held-out images, or of all others."""
        if self.free and self.sums.count:
            self.sums.uncentre_()
        for rows, wanted in self.pieces(held=held):
            self.sums.add_(rows, wanted)
        if self.free:
            self.sums.centre_()

    def tried(self) -> slice:
        """The outputs of each group that choose the ridge: some from the first to the last."""
        outputs = self.layer.unfolding.sizes[1]
        return slice(None, None, -(-outputs // MOST_TRIED))

    def matrix(self, outputs: slice) -> Tensor:
        """The present weights (G, O, K) of some outputs."""
        return self.layer.unfolding.matrix(self.weight)[:, outputs].index_select(2, self.used).double()

    def offset(self, outputs: slice) -> Tensor:
        """The present offsets (G, O)."""
        if self.bias is None:
            return torch.zeros_like(self.sums.y[:, outputs])
        return self.layer.unfolding.vector(self.bias)[:, outputs].double()

    def present(self, outputs: slice) -> tuple[Tensor, Tensor]:
        """The present matrix and offset, with the mean of the wanted outputs if a BatchNorm follows."""
        matrix = self.matrix(outputs)
        return matrix, self.sums.offsets(matrix, outputs) if self.layer.floats else self.offset(outputs)

    def solution(self, ridge: float, outputs: slice) -> tuple[Tensor, Tensor]:
        """Matrix (G, O, K) and offset (G, O) of some outputs from the sums so far."""
        rows = self.rows[:, outputs]
        support = self.support[:, outputs].index_select(2, self.used) & rows[:, :, None]
        matrix, offset = solved(self.sums, self.matrix(outputs), support, ridge, outputs), self.offset(outputs)
        return matrix, torch.where(rows, self.sums.offsets(matrix, outputs), offset) if self.free else offset

    def errors(self, candidates: list[tuple[Tensor, Tensor]], outputs: slice) -> tuple[list[float], float]:
        """Squared errors of some outputs on the held-out images, and the variance of the wanted outputs there."""
        total, kept = [0.0] * len(candidates), self.rows[:, outputs]
        count, one, two = 0, torch.zeros_like(candidates[0][1]), torch.zeros_like(candidates[0][1])
        for rows, every in self.pieces(held=True):
            wanted = every[:, :, outputs]
            count, one, two = count + wanted.shape[1], one + wanted.sum(1), two + wanted.square().sum(1)
            for i, (matrix, offset) in enumerate(candidates):
                found = rows @ matrix.transpose(1, 2) + offset[:, None]
                total[i] += float((found - wanted).square().sum(1)[kept].sum())
        return total, float((two - one.square() / max(count, 1))[kept].sum())

    def solve_(self, ridge: float) -> None:
        """Write the solution for all outputs into the network, some at a time."""
        matrix, count = self.layer.unfolding.matrix(self.weight).clone(), self.layer.unfolding.sizes[1]
        one_system = bool(self.support[self.rows][:, self.used].all())
        step, offsets = count if one_system else MOST_TRIED, list[Tensor]()
        for begun in range(0, count, step):
            some = slice(begun, begun + step)
            found, offset = self.solution(ridge, some)
            matrix[:, some] = matrix[:, some].index_copy(2, self.used, found.to(matrix.dtype))
            offsets.append(offset)
        self.weight.copy_(self.layer.unfolding.weight(matrix))
        if self.bias is not None:
            self.bias.copy_(torch.cat(offsets, 1).reshape(self.bias.shape))

    def pieces(self, *, held: bool) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows of the used inputs and wanted outputs, of the held-out images or of all others."""
        for i, (x, y) in enumerate(self.batches(held=held)):
            for rows, wanted in self.layer.unfolding.pieces(x, y, self.share, draw=i):
                yield rows if len(self.used) == rows.shape[2] else rows.index_select(2, self.used), wanted

    def batches(self, *, held: bool) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs of the pruned layer and outputs of the dense one, by batch."""
        layer = self.layer
        own, theirs = self.walk.values(PRUNED, layer.input), self.walk.values(DENSE, layer.input)
        for i in range(self.walk.batches):
            if (i % HELD_OUT == HELD_OUT - 1) == held:
                yield own[i], self.walk.computed(DENSE, layer.node, {layer.input: theirs[i]})
