"""Finds layers that must stay: the parameters that patterns name, and the nodes on their axes."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from prunectl.plugins.patterns import fits
from prunectl.plugins.registry import unknown
from prunectl.structure.nodes import Structure


def parameters_named(model: nn.Module, patterns: Iterable[str]) -> frozenset[str]:
    """The parameters whose name, or whose module's name, matches one of the shell patterns.

    A tied parameter is found by each of its names, and returned by its first one.

    Raises:
        UnknownName: a pattern matches nothing.
    """
    first = {id(parameter): name for name, parameter in model.named_parameters()}
    every = {name: first[id(p)] for name, p in model.named_parameters(remove_duplicate=False)}
    found: set[str] = set()
    for pattern in patterns:
        matched = {own for name, own in every.items() if any(fits(path, [pattern]) for path in _paths(name))}
        if not matched:
            raise unknown("layer", pattern, dict.fromkeys(path for name in every for path in _paths(name)))
        found |= matched
    return frozenset(found)


def nodes_on(structure: Structure, names: Iterable[str]) -> Tensor:
    """The nodes on any axis of these parameters: bool (nodes,)."""
    wanted = frozenset(names)
    on = torch.zeros(structure.nodes + 1, dtype=torch.bool)  # the last entry stands for FROZEN
    for (name, _), classes in structure.axes.items():
        if name in wanted:
            on[classes] = True
    return on[:-1]


def _paths(name: str) -> list[str]:
    """The modules that hold a parameter, outermost first, and the parameter itself."""
    parts = name.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]
