"""explain: shows which slices of a network are coupled, the size of each group, and what must stay and why."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.original_shapes import expanded
from prunectl.structure.export import Graph, owner_of, packet
from prunectl.structure.keep import nodes_on, parameters_named
from prunectl.structure.labels import Reason
from prunectl.structure.nodes import FROZEN, Structure
from prunectl.structure.trace import analyse

_KERNEL, _MEETS = "the kernel's positions", "meets an axis that stays"
_CONVOLUTION = nn.modules.conv._ConvNd
Record = dict[str, Any]
Place = tuple[str, str, str]
"""A parameter, an operation that reads it, and the module that runs the operation."""


def explain(checkpoint: Checkpoint, *, keep: Sequence[str] = ()) -> Record:
    """One record of plain values: `model`, `shrunk`, `input`, and the values of `explain_network`.

    A shrunk network that runs swapped modules or a rewritten graph is described in its original shapes.

    Raises:
        StructureError: the network cannot be traced; the message names the place.
        UnknownName: a pattern of `keep` matches no layer.
    """
    whole = expanded(checkpoint)
    found = explain_network(whole.model, checkpoint.spec.input, outer=whole.outer, keep=keep)
    shrunk = any("kept" in edit for edit in checkpoint.edits)
    return {"model": checkpoint.spec.name, "shrunk": shrunk, "input": list(checkpoint.spec.input), **found}


def explain_network(
    model: nn.Module, shape: tuple[int, int, int], *, outer: bool = False, keep: Sequence[str] = ()
) -> Record:
    """The structure of any network that takes images (B, C, H, W); with `outer`, the images have nodes too.

    Layers that `keep` names, by shell patterns of modules or parameters, stay with all nodes on their axes.

    `groups` are nodes that share an axis: their number, the parameters that output and read them, and the share of all
    parameters and FLOPs that are removed with them; weights between two groups count for both. `frozen` are the axes of
    parameters that stay, by cause: [parameter, axis, indices that stay, indices]. Positions of kernels are left out.
    `untouchable` counts the parameters that no removal reaches, `prunable_share` is the share of all others.

    Raises:
        StructureError: the network cannot be traced; the message names the place.
        UnknownName: a pattern of `keep` matches no layer.
    """
    analysis = analyse(model, shape, outer=outer, lines=True)
    structure, parameters = analysis.structure, dict(model.named_parameters())
    total = sum(parameter.numel() for parameter in parameters.values())
    kept = nodes_on(structure, parameters_named(model, keep))
    free = structure.frozen(kept)
    stay = untouchable(free, model)
    return {
        "nodes": int((~kept).sum()),
        "parameters": total,
        "flops": structure.flops(torch.zeros(structure.nodes, dtype=torch.bool)),
        "groups": [
            group for group in _groups(free, parameters, total) if not keep or group["made_by"] or group["read_by"]
        ],
        "frozen": [
            *_frozen(structure, model, _first_readers(analysis.flow.graph, parameters)),
            *_kept(structure, parameters, kept),
        ],
        "untouchable": stay,
        "prunable_share": 1 - stay / max(total, 1),
    }


def untouchable(structure: Structure, model: nn.Module) -> int:
    """The number of entries of parameters without a removable index."""
    rows = (_rows(structure, name, parameter) for name, parameter in model.named_parameters())
    return sum(torch.Size(int((classes == FROZEN).sum()) for classes in row).numel() for row in rows)


def _groups(structure: Structure, parameters: dict[str, nn.Parameter], total: int) -> list[Record]:
    """Every group, in the order of the network."""
    group = structure.groups
    sizes = torch.bincount(group).tolist()
    makers, readers = _names(structure, parameters)
    held = flops = torch.zeros(len(sizes), dtype=torch.float64)
    for name, parameter in parameters.items():
        held = held + parameter.numel() * _share(_rows(structure, name, parameter), group, len(sizes))
    nothing = structure.gone(torch.zeros(structure.nodes, dtype=torch.bool))
    for product in structure.products:
        flops = flops + product.flops(nothing) * _share(product.axes, group, len(sizes))
    whole = max(sum(product.flops(nothing) for product in structure.products), 1)
    return [
        {
            "nodes": count,
            "made_by": makers[i],
            "read_by": readers[i],
            "parameters_share": float(held[i]) / total,
            "flops_share": float(flops[i]) / whole,
        }
        for i, count in enumerate(sizes)
    ]


def _names(structure: Structure, parameters: dict[str, nn.Parameter]) -> tuple[list[list[str]], list[list[str]]]:
    """The parameters that output the nodes of each group, and those that read them, in the order of the network.

    Vectors, such as those of norms and biases, change a node on its way; they are named if nothing else outputs it.
    """
    count = len(torch.bincount(structure.groups))
    makers, vectors, readers = ([dict[str, None]() for _ in range(count)] for _ in range(3))
    for name, parameter in parameters.items():
        vector = parameter.numel() == max(parameter.shape, default=1)
        for axis, classes in enumerate(_rows(structure, name, parameter)):
            found = readers if (name, axis) in structure.consumers else vectors if vector else makers
            for i in torch.unique(structure.groups[classes[classes != FROZEN]]).tolist():
                found[i][name] = None
    return [list(m or v) for m, v in zip(makers, vectors, strict=True)], [list(names) for names in readers]


def _rows(structure: Structure, name: str, parameter: Tensor) -> list[Tensor]:
    """The classes of every index, on every axis of a parameter."""
    stay = (torch.full((size,), FROZEN) for size in parameter.shape)
    return [structure.axes.get((name, axis), row) for axis, row in enumerate(stay)]


def _share(rows: Iterable[Tensor], group: Tensor, count: int) -> Tensor:
    """The share of the entries between some axes that each group would remove: (count,)."""
    left = torch.ones(count, dtype=torch.float64)
    for classes in rows:
        left *= 1 - torch.bincount(group[classes[classes != FROZEN]], minlength=count) / len(classes)
    return 1 - left


def _frozen(structure: Structure, model: nn.Module, readers: Collection[Place]) -> list[Record]:
    """The axes that stay, by cause and source line, in the order in which they were found."""
    causes: dict[tuple[str, str, str], Record] = {}
    parameters = {name for name, _ in model.named_parameters()}
    kernels = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, _CONVOLUTION)}
    for (name, axis), reason in structure.reasons.items():
        if name not in parameters or reason.why == _KERNEL or (name in kernels and axis > 1):
            continue
        why = _why(name, reason, readers)
        classes = structure.axes[name, axis]
        cause = causes.setdefault(
            (why, reason.operation, reason.line),
            {"why": why, "operation": reason.operation, "line": reason.line, "modules": [], "axes": []},
        )
        cause["axes"].append([name, axis, int((classes == FROZEN).sum()), len(classes)])
        cause["modules"] += [reason.module] * (reason.module not in cause["modules"])
    return list(causes.values())


def _kept(structure: Structure, parameters: Collection[str], kept: Tensor) -> list[Record]:
    """One more cause: the axes that stay because they carry nodes of kept layers."""
    held = structure.gone(kept)
    axes = [
        [name, axis, int(held[classes].sum()), len(classes)]
        for (name, axis), classes in structure.axes.items()
        if name in parameters and held[classes].any()
    ]
    return [{"why": "kept by --keep", "operation": "", "line": "", "modules": [], "axes": axes}] if axes else []


def _why(name: str, reason: Reason, readers: Collection[Place]) -> str:
    """The cause in words; channels of the image are distinguished from other axes that stay."""
    meets_image = reason.why == _MEETS and (name, reason.operation, reason.module) in readers
    return "reads the image" if meets_image else reason.why


def _first_readers(graph: Graph, parameters: Collection[str]) -> set[Place]:
    """Where parameters read the image before any other parameter has."""
    names: dict[fx.Node, set[str]] = {}
    image, mixed = set(graph.images), set[fx.Node]()
    found: set[Place] = set()
    for node in graph.nodes:
        inputs = node.all_input_nodes
        read = set().union(*(names.get(i, set()) for i in inputs), {graph.names.get(node, "")} & set(parameters))
        if not mixed.isdisjoint(inputs):
            mixed.add(node)
        elif image.isdisjoint(inputs):
            names[node] = read
        elif read:
            found |= {(name, packet(node), owner_of(node)) for name in read}
            mixed.add(node)
        elif isinstance(node.meta.get("val"), Tensor):
            image.add(node)
    return found
