"""The operations of a graph at which a repair stops: layers with their own weight, and BatchNorms."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, fx, nn

from prunectl.structure.export import Graph, bind
from prunectl.structure.export import packet as operation_of
from prunectl.torchtools.unfolding import CONVOLUTION, LINEAR, TRANSPOSED, Unfolding

_KINDS = {
    "linear": LINEAR,
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), CONVOLUTION),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), TRANSPOSED),
}
_NORMS = ("batch_norm", "_native_batch_norm_legit_no_training")


@dataclass(frozen=True, eq=False)
class Layer:
    """A linear layer or convolution whose weight is a parameter that nothing else reads.

    `bias` is the name of its bias, None without one. `floats` says that only a BatchNorm reads its outputs, which
    removes any offset.
    """

    node: fx.Node
    input: fx.Node
    weight: str
    bias: str | None
    floats: bool
    unfolding: Unfolding

    @property
    def name(self) -> str:
        """The name of its weight."""
        return self.weight


@dataclass(frozen=True, eq=False)
class Norm:
    """A BatchNorm with running statistics, by the names of its buffers."""

    node: fx.Node
    input: fx.Node
    mean: str
    var: str

    @property
    def name(self) -> str:
        """The name of its module."""
        return self.mean.removesuffix(".running_mean")


def stops(graph: Graph, tensors: Mapping[str, Tensor]) -> list[Layer | Norm]:
    """The layers and BatchNorms of a graph, in its order."""
    readers = Counter(id(tensors[name]) for node, name in graph.names.items() for _ in node.users)
    found: list[Layer | Norm] = []
    of_image = set(graph.images)
    for node in graph.nodes:
        if node.op != "call_function" or of_image.isdisjoint(node.all_input_nodes):
            continue
        of_image.add(node)
        stop = _layer(graph, tensors, node, readers) or _norm(graph, node)
        if stop is not None and stop.input in of_image:
            found.append(stop)
    return found


def _layer(graph: Graph, tensors: Mapping[str, Tensor], node: fx.Node, readers: Counter[int]) -> Layer | None:
    kind = _KINDS.get(operation_of(node))
    if kind is None:
        return None
    a = bind(node)
    weight, bias = graph.names.get(a["weight"]), graph.names.get(a.get("bias"))  # type: ignore[arg-type]
    computed = bias is None and a.get("bias") is not None
    if weight is None or computed or not _is_own(tensors[weight], readers):
        return None
    if kind != LINEAR and a["input"].meta["val"].ndim != tensors[weight].ndim:  # a single image
        return None
    own = bias is not None and _is_own(tensors[bias], readers)
    unfolding = Unfolding.of(kind, tuple(tensors[weight].shape), a)
    return Layer(node, a["input"], weight, bias if own else None, _floats(node), unfolding)


def _is_own(tensor: Tensor, readers: Counter[int]) -> bool:
    """Whether a tensor is a parameter of only one operation."""
    return isinstance(tensor, nn.Parameter) and readers[id(tensor)] == 1


def _floats(node: fx.Node) -> bool:
    """Whether a BatchNorm over the channels is the only reader."""
    return bool(node.users) and all(
        operation_of(user) in _NORMS and bind(user)["input"] is node and not bind(user).get("training")
        for user in node.users
    )


def _norm(graph: Graph, node: fx.Node) -> Norm | None:
    if operation_of(node) not in _NORMS:
        return None
    a = bind(node)
    mean, var = graph.names.get(a["running_mean"]), graph.names.get(a["running_var"])
    if mean is None or var is None or a.get("training"):
        return None
    return Norm(node, a["input"], mean, var)
