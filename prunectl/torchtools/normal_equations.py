"""Least squares from sums over rows, each output on its own support."""

from dataclasses import dataclass

import torch
from torch import Tensor

ALL = slice(None)


@dataclass(eq=False)
class NormalEquations:
    """Sums over rows x (K,) and outputs y (O,) for each of G groups, in float64.

    `xx` (G, K, K) and `xy` (G, K, O) are sums of products, `x` (G, K) and `y` (G, O) plain sums over `count` rows.
    """

    xx: Tensor
    xy: Tensor
    x: Tensor
    y: Tensor
    count: int = 0

    @staticmethod
    def empty(groups: int, outputs: int, inputs: int, device: torch.device) -> "NormalEquations":
        """Sums over no rows."""
        sizes = [(groups, inputs, inputs), (groups, inputs, outputs), (groups, inputs), (groups, outputs)]
        xx, xy, x, y = (torch.zeros(size, dtype=torch.float64, device=device) for size in sizes)
        return NormalEquations(xx, xy, x, y)

    def add_(self, rows: Tensor, outputs: Tensor) -> None:
        """Add rows (G, N, K) and their outputs (G, N, O)."""
        turned = rows.transpose(1, 2)
        self.xx.baddbmm_(turned, rows)
        self.xy.baddbmm_(turned, outputs)
        self.x += rows.sum(1)
        self.y += outputs.sum(1)
        self.count += rows.shape[1]

    def centre_(self) -> None:
        """Subtract the means from every row and output, for a fit with a free offset."""
        self.xx.baddbmm_(self.x[:, :, None], self.x[:, None, :], alpha=-1 / self.count)
        self.xy.baddbmm_(self.x[:, :, None], self.y[:, None, :], alpha=-1 / self.count)

    def uncentre_(self) -> None:
        """Undo `centre_`, up to rounding, so that more rows can be added."""
        self.xx.baddbmm_(self.x[:, :, None], self.x[:, None, :], alpha=1 / self.count)
        self.xy.baddbmm_(self.x[:, :, None], self.y[:, None, :], alpha=1 / self.count)

    def offsets(self, matrix: Tensor, outputs: slice = ALL) -> Tensor:
        """The offsets (G, O) that give the outputs of a matrix (G, O, K) the mean of the wanted ones."""
        return (self.y[:, outputs] - torch.einsum("gok,gk->go", matrix, self.x)) / self.count


def solved(sums: NormalEquations, matrix: Tensor, support: Tensor, ridge: float, outputs: slice = ALL) -> Tensor:
    """The matrix (G, O, K) that minimises |X w - y|^2 + λ |w - w0|^2 for some outputs, each on its own support.

    w0 is the row of `matrix`, which is zero off its `support` (bool, of the same shape), λ is `ridge` times the mean
    diagonal of X^T X on the support. With this w0, no output's error on the summed rows grows. An output without
    support, or whose system is not positive definite in float64, keeps its row.

    Source: the normal equations of layer-wise reconstruction (Optimal Brain Compression, arXiv:2208.11580, section 3;
    ThiNet, arXiv:1707.06342, equation 6), with the ridge around the present weights instead of zero.
    """
    found = matrix.clone()
    for group, (xx, xy) in enumerate(zip(sums.xx, sums.xy, strict=True)):
        residual = xy[:, outputs] - xx @ matrix[group].T  # (K, O)
        patterns, which = torch.unique(support[group], dim=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            chosen = torch.nonzero(pattern).flatten()
            those = torch.nonzero(which == number).flatten()
            if len(chosen):
                step = _step(xx, chosen, residual[:, those][chosen], ridge)
                if step is not None:
                    found[group, those[:, None], chosen] += step.T
    return found


def _step(xx: Tensor, chosen: Tensor, right: Tensor, ridge: float) -> Tensor | None:
    """Solve (X^T X + λ I) step = right on the chosen inputs."""
    every = len(chosen) == len(xx)
    rows = xx.mT.clone(memory_format=torch.contiguous_format) if every else xx.mT[chosen[:, None], chosen]
    system = rows.mT  # column-major for LAPACK, which would otherwise make copies as large as the sums
    diagonal = system.diagonal()
    diagonal += ridge * diagonal.mean()
    failed = torch.empty((), dtype=torch.int32, device=xx.device)
    torch.linalg.cholesky_ex(system, out=(system, failed))
    if failed:
        return None
    half: Tensor = torch.linalg.solve_triangular(system, right, upper=False)
    step: Tensor = torch.linalg.solve_triangular(system.mT, half, upper=True)
    return step
