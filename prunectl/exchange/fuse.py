"""Folds BatchNorms into the convolution or linear layer before them, on the traced graph, with a proof."""

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn

from prunectl.errors import OptionError
from prunectl.exchange.check import check_close
from prunectl.structure.export import bind, packet
from prunectl.structure.program import program_of
from prunectl.structure.surgery.proof import DrawImages, Reference, like_images

LAYERS = {"conv1d": 0, "conv2d": 0, "conv3d": 0, "linear": 0, "conv_transpose1d": 1, "conv_transpose2d": 1}
"""Operations that a norm can be folded into, with the output axis of their weight."""
TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-5}
ROUNDING = 4.0
"""The allowed float32 difference, as a multiple of the network's own difference between float32 and float64."""


def fused(network: nn.Module, shape: tuple[int, int, int], draw: DrawImages) -> tuple[nn.Module, int, dict[str, float]]:
    """The traced network without its BatchNorms, the number folded, and the proof: relative differences by type.

    A norm stays if something else also reads the layer before it, or if layers share weights.

    Raises:
        OptionError: no BatchNorm can be folded.
        ProofError: the fused network differs by more than 1e-10 in float64, or 1e-5 in float32.
    """
    double = copy.deepcopy(network).double()
    folded, count = _folded(double, shape)
    if not count:
        raise OptionError("the network has no BatchNorm right after a convolution or linear layer; leave out `fuse`")
    expected = Reference(double, shape, draw=draw)
    exact = expected.difference(folded)
    check_close(exact, TOLERANCES[torch.float64], "the fused network in float64")
    single = expected.of(copy.deepcopy(network).float())
    small, _ = _folded(single.network, shape)
    found = single.difference(small)
    allowed = max(TOLERANCES[torch.float32], ROUNDING * expected.difference(single))
    check_close(found, allowed, "the fused network in float32")
    return small, count, {"float64": exact, "float32": found}


def _folded(network: nn.Module, shape: tuple[int, int, int]) -> tuple[nn.Module, int]:
    """The traced network with every foldable norm folded, and their number."""
    module = program_of(network, shape, like_images(network).dtype).module(check_guards=False)
    norms = [node for node in module.graph.nodes if packet(node) == "batch_norm"]
    count = sum(_fold_(module, norm) for norm in norms)
    module.graph.eliminate_dead_code()
    module.recompile()
    used = {str(node.target) for node in module.graph.nodes if node.op == "get_attr"}
    for name in [n for n, _ in (*module.named_parameters(), *module.named_buffers()) if n not in used]:
        owner, _, leaf = name.rpartition(".")
        delattr(module.get_submodule(owner), leaf)
    return module, count


def _fold_(module: fx.GraphModule, norm: fx.Node) -> bool:
    """Fold one norm into the layer that it reads; False if that would change something else."""
    given = bind(norm)
    layer = given["input"]
    statistics = [given["running_mean"], given["running_var"]]
    if given["training"] or None in statistics or packet(layer) not in LAYERS or len(layer.users) != 1:
        return False
    arguments = bind(layer)
    axis, groups = LAYERS[packet(layer)], arguments.get("groups", 1)
    rows = packet(layer) == "linear" and layer.meta["val"].ndim != 2  # the norm's channels are not the layer's outputs
    tensors = [arguments["weight"], arguments["bias"]]
    alone = all(node is None or _is_read_once(module, node) for node in tensors)
    if rows or not alone or (axis == 1 and groups != 1):
        return False
    mean, var = (_tensor(module, node).double() for node in statistics)
    gain = 1 / (var + given["eps"]).sqrt()
    gain = gain if given["weight"] is None else gain * _tensor(module, given["weight"]).double()
    shift = -mean * gain if given["bias"] is None else _tensor(module, given["bias"]).double() - mean * gain
    weight = _tensor(module, tensors[0])
    bias = 0.0 if tensors[1] is None else _tensor(module, tensors[1]).double()
    sizes = [-1 if i == axis else 1 for i in range(weight.ndim)]
    _set_(module, str(tensors[0].target), (weight.double() * gain.view(sizes)).to(weight.dtype))
    name = str(tensors[0].target) + "_folded_bias" if tensors[1] is None else str(tensors[1].target)
    _set_(module, name, (bias * gain + shift).to(weight.dtype))
    if tensors[1] is None:
        with module.graph.inserting_before(layer):
            read = module.graph.get_attr(name)
        read.meta["val"] = given["running_mean"].meta.get("val")
        position = 2
        layer.args = (*layer.args[:position], read, *layer.args[position + 1 :])
    norm.replace_all_uses_with(layer)
    return True


def _is_read_once(module: fx.GraphModule, node: Any) -> bool:
    """Whether only one operation reads a tensor of the network."""
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return False
    tensor = _tensor(module, node)
    reads = [n for n in module.graph.nodes if n.op == "get_attr" and _tensor(module, n) is tensor]
    return sum(len(read.users) for read in reads) == 1


def _tensor(module: fx.GraphModule, node: fx.Node) -> Tensor:
    owner, _, leaf = str(node.target).rpartition(".")
    found: Tensor = getattr(module.get_submodule(owner), leaf)
    return found.detach() if not isinstance(found, nn.Parameter) else found


def _set_(module: fx.GraphModule, name: str, value: Tensor) -> None:
    owner, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(owner), leaf, nn.Parameter(value.detach(), requires_grad=False))
