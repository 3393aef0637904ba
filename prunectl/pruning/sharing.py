"""Scopes that distribute the removal: which nodes are ranked together, and how many of them stay."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prunectl.masks import prunable
from prunectl.structure.nodes import FROZEN, Structure


@dataclass(frozen=True, eq=False)
class Sharing:
    """`parts` (nodes,) says which nodes are ranked together; a part keeps nodes in proportion to size · `density`."""

    parts: Tensor
    density: Tensor

    @staticmethod
    def equal(parts: Tensor) -> "Sharing":
        """Every part keeps the same share."""
        return Sharing(parts, torch.ones(int(parts.max()) + 1, dtype=torch.float64))


def sharing(scope: str, structure: Structure, model: nn.Module | None) -> Sharing | None:
    """The parts of a scope; None if all nodes are ranked together. `isomorphic` and `erk` need the `model`."""
    if scope == "layer":
        return Sharing.equal(structure.groups)
    if scope == "isomorphic" and model is not None:
        return Sharing.equal(isomorphic_parts(structure, model))
    if scope == "erk" and model is not None:
        return Sharing(structure.groups, erk_density(structure, model))
    return None


def isomorphic_parts(structure: Structure, model: nn.Module) -> Tensor:
    """The set of isomorphic groups of every node, int64 (nodes,): the same layers output and read all groups of a set.

    Two groups are isomorphic if the same kinds of layers meet on them in the same roles (output or reader, by which
    parameter and axis), equally often. Source: Isomorphic Pruning of Fang et al. 2024, arXiv:2407.04616, section 3.2.
    """
    kinds = {name: type(module).__name__ for name, module in model.named_modules()}
    parameters = {name for name, _ in model.named_parameters()}
    roles: dict[int, list[tuple[str, str, int, bool]]] = {}
    for (name, axis), classes in structure.axes.items():
        if name in parameters:
            owner, _, leaf = name.rpartition(".")
            for group in _groups_on(structure, classes).tolist():
                role = (kinds.get(owner, ""), leaf, axis, (name, axis) in structure.consumers)
                roles.setdefault(group, []).append(role)
    numbers: dict[tuple[tuple[str, str, int, bool], ...], int] = {}
    groups = range(int(structure.groups.max()) + 1)
    sets = [numbers.setdefault(tuple(sorted(roles.get(group, []))), len(numbers)) for group in groups]
    return torch.tensor(sets)[structure.groups]


def erk_density(structure: Structure, model: nn.Module) -> Tensor:
    """Σ (n_in + n_out + height + width) / Σ n_in · n_out · height · width of a group's output weights: (groups,).

    Up to a factor, this is the density of these layers by the Erdős-Rényi kernel: Evci et al. 2020 (arXiv:1911.11134),
    section 3. If no weight outputs a group, those that read it count.
    """
    count = int(structure.groups.max()) + 1
    made, read = torch.zeros(2, count, dtype=torch.float64), torch.zeros(2, count, dtype=torch.float64)
    weights = prunable(model)
    for (name, axis), classes in structure.axes.items():
        if name in weights:
            groups = _groups_on(structure, classes)
            size = torch.tensor([[sum(weights[name].shape)], [weights[name].numel()]], dtype=torch.float64)
            (read if (name, axis) in structure.consumers else made)[:, groups] += size
    sums, sizes = torch.unbind(made.where(made > 0, read))
    return (sums / sizes.clamp_min(1)).where(sums > 0, 1)


def _groups_on(structure: Structure, classes: Tensor) -> Tensor:
    """The groups of the nodes on an axis, each once."""
    found: Tensor = torch.unique(structure.groups[classes[classes != FROZEN]])
    return found
