"""The importance of each prunable weight or node: higher = kept."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from prunectl.errors import PrunectlError

_PIECE = 1 << 20
"""Number of entries checked at once, so that intermediate tensors stay small beside a large layer."""


@dataclass(frozen=True, eq=False)
class Made(Mapping[str, Tensor]):
    """Tensors that `make` computes from `sources`, entry by entry, on every access, without storing them."""

    sources: Mapping[str, Tensor]
    make: Callable[[Tensor], Tensor]

    def __getitem__(self, name: str) -> Tensor:
        return self.make(self.sources[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.sources)

    def __len__(self) -> int:
        return len(self.sources)


@dataclass(frozen=True, eq=False)
class Scores(Mapping[str, Tensor]):
    """Parameter name -> float32 tensor of its shape, and one score for each node, (nodes,); every entry is finite.

    `unscored` (bool, (nodes,)) are nodes that a criterion does not score: they are pruned last, in any scope. `anew`
    (bool, by parameter) are weights that, if kept, are initialised like a weight that grows back. `update` computes new
    values of the kept weights, by parameter, from the selected masks. `Made` tensors follow their sources, such as the
    weights, until `held`.
    """

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    nodes: Tensor | None = None
    unscored: Tensor | None = None
    anew: Mapping[str, Tensor] = field(default_factory=dict)
    update: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] | None = None

    def __post_init__(self) -> None:
        for name in self:
            _check_finite(name, *self.source(name))
        if self.nodes is not None:
            _check_finite("the nodes", self.nodes, None)

    @property
    def shapes(self) -> dict[str, torch.Size]:
        """The shape of each tensor."""
        return {name: self.source(name)[0].shape for name in self}

    def source(self, name: str) -> tuple[Tensor, Callable[[Tensor], Tensor] | None]:
        """A tensor of the scores' shape, and the function from its entries to scores; None if it holds the scores."""
        found = self.tensors
        return (found.sources[name], found.make) if isinstance(found, Made) else (found[name], None)

    def held(self) -> "Scores":
        """A copy."""
        return replace(self, tensors=dict(self.tensors)) if isinstance(self.tensors, Made) else self

    def named(self) -> dict[str, Tensor]:
        """All scores on the cpu, under their names in a file; those of nodes, (nodes,), are called `nodes`."""
        found = {**self.tensors, **({} if self.nodes is None else {"nodes": self.nodes})}
        return {name: score.detach().float().cpu().contiguous() for name, score in found.items()}

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


def _check_finite(name: str, source: Tensor, make: Callable[[Tensor], Tensor] | None) -> None:
    parts = torch.split(source.detach().reshape(-1), _PIECE)
    if not all(bool((part if make is None else make(part)).isfinite().all()) for part in parts):
        raise PrunectlError(
            f"the scores of {name} are not all finite: the network's loss or gradients overflow; "
            "lower the learning rate it was trained with, or prune before training"
        )


def highest(row: Tensor, keep: int) -> Tensor:
    """True at the `keep` highest entries; among equal ones, earlier indices come first.

    The same as a stable descending sort, but in linear time: everything above the k-th highest value, then as many
    entries equal to it as needed.
    """
    if keep == 0:  # a layer that is already pruned completely
        return torch.zeros_like(row, dtype=torch.bool)
    threshold = _ascending(row, len(row) - keep)
    kept = row > threshold
    ties = torch.nonzero(row == threshold).flatten()
    kept[ties[: keep - int(kept.count_nonzero())]] = True
    return kept


def _ascending(row: Tensor, index: int) -> Tensor:
    """The entry at this index of the sorted row; a gpu sorts all, because its kthvalue runs in one block."""
    return row.sort().values[index] if row.is_cuda else row.kthvalue(index + 1).values
