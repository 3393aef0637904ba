"""Follow a network with torch.fx and find its nodes: every channel gets a label, every operation unifies labels."""

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor, fx, nn

from prunectl.errors import StructureError
from prunectl.shadow import like_parameters, on_meta
from prunectl.structure.nodes import FROZEN, Product, Structure

_STAYS = 0  # the label of what must not be removed


@dataclass
class Labels:
    """Labels of parameter axes and of activations' channels (axis 1), and the pairs that were found equal."""

    shapes: dict[fx.Node, torch.Size]
    used: int = 1
    axes: dict[tuple[str, int], Tensor] = field(default_factory=dict)
    pairs: list[Tensor] = field(default_factory=list)
    products: list[tuple[str, int]] = field(default_factory=list)

    def fresh(self, count: int) -> Tensor:
        """New labels, int64 (count,)."""
        self.used += count
        return torch.arange(self.used - count, self.used)

    def unify(self, one: Tensor, other: Tensor) -> None:
        """Declare two rows of labels equal, position by position."""
        self.pairs.append(torch.stack([one, other.expand_as(one)]))


def trace(model: nn.Module, shape: tuple[int, int, int]) -> Structure:
    """Find the nodes of a network that takes images (B, C, H, W) of this shape.

    Raises:
        StructureError: the network, or an operation of it, cannot be followed; names it.
    """
    try:
        graph = fx.symbolic_trace(on_meta(model))
    except Exception as error:  # the model's own code runs under the tracer, and may raise anything
        raise StructureError(f"the network's structure cannot be traced: {' '.join(str(error).split())}") from error
    labels = Labels(_shapes(graph, like_parameters(model, 2, *shape)))
    values: dict[fx.Node, Tensor] = {}
    for node in graph.graph.nodes:
        values[node] = _label(node, dict(graph.named_modules()), labels, values)
    return _classes(labels)


def _shapes(graph: fx.GraphModule, images: Tensor) -> dict[fx.Node, torch.Size]:
    """The shape of every tensor in the graph."""
    found: dict[fx.Node, torch.Size] = {}

    class Recorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if isinstance(value, Tensor):
                found[n] = value.shape
            return value

    with torch.no_grad():
        Recorder(graph).run(images)
    return found


def _label(node: fx.Node, modules: dict[str, nn.Module], labels: Labels, values: dict[fx.Node, Tensor]) -> Tensor:
    """Labels of the channels of what one step of the network makes."""
    inputs = [values[argument] for argument in node.all_input_nodes]
    if node.op == "placeholder":
        return torch.full((labels.shapes[node][1],), _STAYS)
    if node.op == "output":
        labels.unify(inputs[0], torch.tensor([_STAYS]))
        return inputs[0]
    if node.op == "call_module":
        module = modules[str(node.target)]
        for kind, rule in MODULE_RULES.items():
            if isinstance(module, kind):
                return rule(labels, node, str(node.target), module, inputs)
        what = f"layer '{node.target}' ({type(module).__name__})"
    elif node.op == "call_function" and node.target in FUNCTION_RULES:
        return FUNCTION_RULES[node.target](labels, node, "", None, inputs)
    else:
        what = f"operation '{node.target}'"
    raise StructureError(f"{what} cannot be followed yet; networks of conv, linear, norm, pool and additions can")


def _weighted(labels: Labels, node: fx.Node, name: str, module: Any, inputs: list[Tensor]) -> Tensor:
    """Convolution and linear: the outputs are new, the inputs are those of what comes in."""
    if getattr(module, "groups", 1) != 1 or getattr(module, "transposed", False):
        raise StructureError(f"layer '{name}': grouped and transposed convolutions cannot be followed yet")
    if (name + ".weight", 0) in labels.axes:
        raise StructureError(f"layer '{name}' is used more than once, which cannot be followed yet")
    if len(inputs[0]) != module.weight.shape[1] or (isinstance(module, nn.Linear) and len(labels.shapes[node]) != 2):
        raise StructureError(f"layer '{name}' on inputs that are not (B, features) cannot be followed yet")
    outputs = labels.fresh(module.weight.shape[0])
    labels.axes[name + ".weight", 0] = outputs
    labels.axes[name + ".weight", 1] = inputs[0]
    kernel = module.weight[0, 0].numel()
    labels.products.append((name + ".weight", kernel * labels.shapes[node][2:].numel()))
    if module.bias is not None:
        labels.axes[name + ".bias", 0] = outputs
    return outputs


def _norm(labels: Labels, node: fx.Node, name: str, module: Any, inputs: list[Tensor]) -> Tensor:
    """BatchNorm: every channel on its own."""
    for tensor in ("weight", "bias", "running_mean", "running_var"):
        if getattr(module, tensor) is not None:
            labels.axes[f"{name}.{tensor}", 0] = inputs[0]
    return inputs[0]


def _same(labels: Labels, node: fx.Node, name: str, module: Any, inputs: list[Tensor]) -> Tensor:
    """Pointwise layers and pooling: channels stay what they are."""
    return inputs[0]


def _flatten(labels: Labels, node: fx.Node, name: str, module: Any, inputs: list[Tensor]) -> Tensor:
    """(B, C, H, W) to (B, C H W): each channel becomes a run of features."""
    before, after = labels.shapes[node.all_input_nodes[0]], labels.shapes[node]
    if len(after) != 2:
        raise StructureError(f"a flatten from {tuple(before)} to {tuple(after)} cannot be followed yet")
    return inputs[0].repeat_interleave(after[1] // before[1])


def _add(labels: Labels, node: fx.Node, name: str, module: Any, inputs: list[Tensor]) -> Tensor:
    """Addition: the channels on both sides are one."""
    if len(inputs) == 2:
        if len(inputs[0]) != len(inputs[1]):
            raise StructureError("an addition that broadcasts channels cannot be followed yet")
        labels.unify(*inputs)
    return inputs[0]


Rule = Callable[[Labels, fx.Node, str, Any, list[Tensor]], Tensor]
_POINTWISE = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Hardswish)
_SPATIAL = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
_RANDOM = (nn.Dropout, nn.Dropout2d, nn.Identity)
MODULE_RULES: dict[type[nn.Module], Rule] = {
    nn.Linear: _weighted,
    nn.modules.conv._ConvNd: _weighted,
    nn.modules.batchnorm._BatchNorm: _norm,
    nn.Flatten: _flatten,
    **dict.fromkeys((*_POINTWISE, *_SPATIAL, *_RANDOM), _same),
}
FUNCTION_RULES: dict[Any, Rule] = {
    operator.add: _add,
    operator.iadd: _add,
    torch.add: _add,
    torch.flatten: _flatten,
    **dict.fromkeys((torch.relu, nn.functional.relu, nn.functional.leaky_relu, nn.functional.dropout), _same),
}


def _classes(labels: Labels) -> Structure:
    """Merge equal labels to classes, numbered in the order in which they come; what touches _STAYS is FROZEN."""
    rows, columns = torch.cat([torch.empty(2, 0, dtype=torch.int64), *labels.pairs], dim=1).numpy()
    links = coo_array((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(labels.used, labels.used))
    component = torch.from_numpy(connected_components(links, directed=False)[1]).long()
    order = torch.full((int(component.max()) + 1,), FROZEN)
    seen = [c for c in dict.fromkeys(component.tolist()) if c != int(component[_STAYS])]
    order[torch.tensor(seen, dtype=torch.int64)] = torch.arange(len(seen))
    axes = {key: order[component[value]] for key, value in labels.axes.items()}
    return Structure(
        axes,
        len(seen),
        consumers=frozenset((name, 1) for name, _ in labels.products),
        products=tuple(Product(name, factor, (axes[name, 0], axes[name, 1])) for name, factor in labels.products),
    )
