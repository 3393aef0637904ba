"""Networks with odd constructors, as users write them: each function takes (shape, classes) and builds one.

`KEPT` are written and read without a difference; `REFUSED` are refused before the first step, with the words given.
"""

import functools
import random
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize

Shape = tuple[int, int, int]
Build = Callable[[Shape, int], nn.Module]


class Small(nn.Module):
    """Two convolutions and a linear layer; the networks here differ from it in one place."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(shape[0], 8, 3), nn.BatchNorm2d(8)
        self.more = nn.Conv2d(8, 8, 3, stride=2)
        self.head = nn.Linear(8, classes)

    def features(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.conv(x)))
        return functional.relu(self.more(x)).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def looks(change: Callable[[Any], None]) -> Build:
    """A network whose constructor ends with `change`, and whose features are multiplied by `scale` and `shift`."""

    class Looks(Small):
        def __init__(self, shape: Shape, classes: int) -> None:
            super().__init__(shape, classes)
            self.scale, self.shift = 1.0, 0.0
            change(self)

        def features(self, x: Tensor) -> Tensor:
            return super().features(x) * self.scale + self.shift

    return Looks


# constructors that look at values


def by_item(net: Any) -> None:
    net.scale = torch.tensor(2.0).item()


def by_float(net: Any) -> None:
    net.scale = float(torch.linspace(0, 1, 5)[3])


def by_list(net: Any) -> None:
    net.scale = torch.linspace(0.5, 1.5, 8).tolist()[2]


def by_numpy(net: Any) -> None:
    net.scale = torch.arange(8).numpy().sum() / 10.0


def by_nonzero(net: Any) -> None:
    net.shift = float(len(torch.eye(3).nonzero()))


def by_branch(net: Any) -> None:
    net.scale = 0.1 if net.conv.weight.std() > 10 else 3.0


def by_format(net: Any) -> None:
    net.scale = len(f"{torch.ones(3)}") / 10


def by_caught_error(net: Any) -> None:
    try:
        net.scale = torch.tensor(2.5).item()
    except RuntimeError:
        net.scale = 1.0


def by_bool_mask(net: Any) -> None:
    values = torch.arange(6.0)
    net.scale = len(values[values > 2])


def by_unique(net: Any) -> None:
    net.scale = len(torch.tensor([1, 1, 2, 3]).unique())


def by_assert_on_forward(net: Any) -> None:
    with torch.no_grad():
        assert net.eval()(torch.zeros(1, 1, 28, 28)).isfinite().all()
    net.train()


def by_assert_equal(net: Any) -> None:
    assert torch.equal(net.conv.weight, net.conv.weight.clone())


def by_max_index(net: Any) -> None:
    net.scale = [0.5, 1.5, 2.5][torch.tensor([1, 9, 3]).argmax()]


def by_numpy_function(net: Any) -> None:
    net.shift = float(np.asarray(torch.ones(4)).mean())


# tensors in odd places


def tensor_attribute(net: Any) -> None:
    net.scale = torch.linspace(0.5, 1.5, 8)


def unstored_buffer(net: Any) -> None:
    net.register_buffer("gains", torch.linspace(0.5, 1.5, 8), persistent=False)
    del net.scale
    net.register_buffer("scale", net.gains * 2, persistent=False)


class InContainers(Small):
    """Constants in a list, a dict, a named space, a partial and a closure."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        self.listed = [torch.full((8,), 0.5)]
        self.table = {"shift": (torch.linspace(0, 1, 8),)}
        self.space = types.SimpleNamespace(gain=torch.linspace(1, 2, 8))
        self.partly = functools.partial(torch.add, other=torch.linspace(0, 3, 8))
        inner = torch.linspace(1, 3, 8)
        self.closed = lambda x: x * inner

    def features(self, x: Tensor) -> Tensor:
        x = super().features(x) * self.listed[0] + self.table["shift"][0]
        return self.closed(self.partly(x * self.space.gain))


class Hooked(Small):
    """A forward hook that adds a constant tensor."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        constant = torch.linspace(0, 1, 8)
        self.more.register_forward_hook(lambda module, inputs, output: output + constant.view(-1, 1, 1))


@dataclass(eq=False)
class Settings:
    width: int = 8
    gain: Tensor = field(default_factory=lambda: torch.linspace(1, 2, 8))


def settings_object(net: Any) -> None:
    settings = Settings()
    net.settings = settings
    net.more.register_forward_hook(lambda module, inputs, output: output * settings.gain.view(-1, 1, 1))


class Alias(Small):
    """A list that holds a parameter of the network."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        self.same = [self.more.weight]

    def features(self, x: Tensor) -> Tensor:
        return super().features(x) * self.same[0].sum()


def numpy_attribute(net: Any) -> None:
    table = np.linspace(0.5, 1.5, 8, dtype=np.float32)
    net.table = table
    net.more.register_forward_hook(lambda module, inputs, output: output * float(table[3]))


# parametrisations and other ways to a weight


def spectral(shape: Shape, classes: int) -> nn.Module:
    net = Small(shape, classes)
    parametrizations.spectral_norm(net.head)
    return net


def weight_normed(shape: Shape, classes: int) -> nn.Module:
    net = Small(shape, classes)
    parametrizations.weight_norm(net.more)
    return net


def orthogonal(shape: Shape, classes: int) -> nn.Module:
    net = Small(shape, classes)
    parametrizations.orthogonal(net.head)
    return net


class Symmetric(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.triu() + x.triu(1).mT


def symmetric(shape: Shape, classes: int) -> nn.Module:
    net = Small(shape, classes)
    last = nn.Linear(classes, classes)
    parametrize.register_parametrization(last, "weight", Symmetric())
    return nn.Sequential(net, last)


def tied(shape: Shape, classes: int) -> nn.Module:
    class Tied(Small):
        def __init__(self) -> None:
            super().__init__(shape, classes)
            self.twin = nn.Conv2d(8, 8, 3, stride=2)
            self.twin.weight = self.more.weight

        def features(self, x: Tensor) -> Tensor:
            x = functional.relu(self.norm(self.conv(x)))
            return (functional.relu(self.more(x)) - self.twin(x)).mean((2, 3))

    return Tied()


def lazy(shape: Shape, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.LazyConv2d(8, 3),
        nn.LazyBatchNorm2d(),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.LazyLinear(classes),
    )


def loads_weights(shape: Shape, classes: int) -> nn.Module:
    """Fills itself with weights of its own, as a builder with a file beside it does."""
    net = Small(shape, classes)
    values = {name: torch.full(tensor.shape, 0.5, device="cpu") for name, tensor in net.state_dict().items()}
    net.load_state_dict(values)
    return net


def assigns_weights(shape: Shape, classes: int) -> nn.Module:
    net = Small(shape, classes)
    values = {name: torch.full(tensor.shape, 0.5, device="cpu") for name, tensor in net.state_dict().items()}
    values["norm.num_batches_tracked"] = torch.tensor(3, device="cpu")
    net.load_state_dict(values, assign=True)
    return net


def data_initialised(shape: Shape, classes: int) -> nn.Module:
    """Scales its first layer by what it gives for noise."""
    net = Small(shape, classes)
    with torch.no_grad():
        net.conv.weight /= net.conv(torch.randn(4, *shape)).std().item()
    return net


def channels_last(shape: Shape, classes: int) -> nn.Module:
    return Small(shape, classes).to(memory_format=torch.channels_last)


def sized_by_forward(shape: Shape, classes: int) -> nn.Module:
    body = nn.Sequential(nn.Conv2d(shape[0], 6, 3, stride=2), nn.ReLU(), nn.Flatten())
    with torch.no_grad():
        width = body(torch.zeros(1, *shape)).shape[1]
    return nn.Sequential(body, nn.Linear(width, classes))


class Counting(Small):
    """Counts its calls, and keeps what it computed last."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        self.calls, self.last = 0, None

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.last = self.features(x).detach()
        return super().forward(x)


class CachedPositions(Small):
    """Makes a table of positions at the first forward."""

    table: Tensor | None = None

    def features(self, x: Tensor) -> Tensor:
        if self.table is None:
            self.table = torch.linspace(0, 1, 8)
        return super().features(x) + self.table


class EmptyParameter(Small):
    """A parameter set to None, one without entries, and one that nothing uses."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        self.register_parameter("absent", None)
        self.empty, self.unused = nn.Parameter(torch.zeros(0, 3)), nn.Parameter(torch.ones(2))


class FourierFilter(Small):
    """A complex parameter in the frequency domain."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        self.filter = nn.Parameter(torch.randn(1, 1, 28, 15, dtype=torch.complex64))

    def features(self, x: Tensor) -> Tensor:
        return super().features(torch.fft.irfft2(torch.fft.rfft2(x) * self.filter))


class Nested(Small):
    """Layers in a ParameterDict, a ParameterList, a ModuleDict, and a list of lists."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        self.gains = nn.ParameterDict({"a": torch.rand(8), "b": torch.rand(8)})
        self.shifts = nn.ParameterList([torch.rand(8)])
        self.blocks = nn.ModuleDict({"x": nn.ModuleList([nn.Linear(8, 8)])})

    def features(self, x: Tensor) -> Tensor:
        return self.blocks["x"][0](super().features(x) * self.gains["a"] + self.gains["b"] + self.shifts[0])  # type: ignore[index]


class RandomBuffers(Small):
    """Integer and boolean buffers."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        self.register_buffer("order", torch.randperm(8))
        self.register_buffer("on", torch.rand(8) < 0.8)

    def features(self, x: Tensor) -> Tensor:
        return super().features(x)[:, self.order] * self.on


def frozen(shape: Shape, classes: int) -> nn.Module:
    net = Small(shape, classes)
    net.conv.requires_grad_(False)
    return net


class RandomForward(Small):
    """Noise in the forward pass, in evaluation as well."""

    def features(self, x: Tensor) -> Tensor:
        return super().features(x) + 0.1 * torch.randn(8)


def python_init(shape: Shape, classes: int) -> nn.Module:
    """Weights drawn by numpy and Python, which the file holds."""
    net = Small(shape, classes)
    net.head.weight.data = torch.tensor(np.random.randn(classes, 8), dtype=torch.float32)
    net.head.bias.data = torch.tensor([random.random() for _ in range(classes)])
    return net


def stamped(net: Any) -> None:
    """A name that differs every time, which computes nothing."""
    net.run = f"run-{random.random()}"


def of_type(dtype: torch.dtype) -> Build:
    return lambda shape, classes: Small(shape, classes).to(dtype)


class Auxiliary(Small):
    """A second output in training."""

    def forward(self, x: Tensor) -> Any:
        logits = super().forward(x)
        return (logits, logits) if self.training else logits


class InPlace(Small):
    """Overwrites what the backward pass of the sigmoid needs."""

    def features(self, x: Tensor) -> Tensor:
        return super().features(torch.sigmoid(self.conv.weight.sum() + x).mul_(2))


class WithoutGradients(Small):
    """Classifies without a backward pass."""

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


def all_frozen(shape: Shape, classes: int) -> nn.Module:
    return Small(shape, classes).requires_grad_(False)


TYPES: dict[str, Build] = {
    "float16": of_type(torch.float16),
    "bfloat16": of_type(torch.bfloat16),
    "float64": of_type(torch.float64),
}
UNTRAINABLE: dict[str, tuple[Build, str]] = {
    "auxiliary": (Auxiliary, "returns a tuple in training, expected logits"),
    "in place": (InPlace, "no backward pass, as an operation in place overwrites"),
    "without gradients": (WithoutGradients, "no backward pass, as its outputs depend on no parameter"),
    "all frozen": (all_frozen, "no backward pass, as its outputs depend on no parameter"),
}
KEPT: dict[str, Build] = {
    **TYPES,
    **{name: build for name, (build, _) in UNTRAINABLE.items()},
    **{
        change.__name__: looks(change)
        for change in (
            *(by_item, by_float, by_list, by_numpy, by_nonzero, by_branch, by_format, by_caught_error, by_bool_mask),
            *(by_unique, by_assert_on_forward, by_assert_equal, by_max_index, by_numpy_function, tensor_attribute),
            *(unstored_buffer, settings_object, numpy_attribute, stamped),
        )
    },
    "in containers": InContainers,
    "hooked": Hooked,
    "alias": Alias,
    "spectral norm": spectral,
    "weight norm": weight_normed,
    "orthogonal": orthogonal,
    "symmetric": symmetric,
    "tied": tied,
    "lazy": lazy,
    "loads weights": loads_weights,
    "assigns weights": assigns_weights,
    "data initialised": data_initialised,
    "channels last": channels_last,
    "sized by forward": sized_by_forward,
    "counting": Counting,
    "cached positions": CachedPositions,
    "empty parameter": EmptyParameter,
    "complex parameter": FourierFilter,
    "nested": Nested,
    "random buffers": RandomBuffers,
    "frozen": frozen,
    "python init": python_init,
}


# what no file holds


def random_tensor(net: Any) -> None:
    net.scale = torch.rand(8)


def random_unstored_buffer(net: Any) -> None:
    del net.scale
    net.register_buffer("scale", torch.rand(8), persistent=False)


def random_number(net: Any) -> None:
    net.scale = random.random()


def random_numpy_number(net: Any) -> None:
    net.scale = float(np.random.rand())


def random_numpy_array(net: Any) -> None:
    net.table = np.random.rand(8)


def random_torch_number(net: Any) -> None:
    net.scale = torch.rand(()).item()


def from_weights(net: Any) -> None:
    net.scale = net.conv.weight.std().item()


def copy_of_weights(net: Any) -> None:
    net.scale = net.head.weight.detach().clone().sum()


def view_of_weights(net: Any) -> None:
    net.shift = net.conv.weight.detach()[:, 0, 0, 0]


class Permuted(Small):
    """A random order of the channels in a list."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        self.order = torch.randperm(8).tolist()

    def features(self, x: Tensor) -> Tensor:
        return super().features(x)[:, self.order]


class RandomList(Small):
    """Random tensors in a list."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        self.gains = [torch.rand(8), torch.rand(8)]

    def features(self, x: Tensor) -> Tensor:
        return super().features(x) * self.gains[0] + self.gains[1]


class HiddenParameter(Small):
    """A parameter in a list, which no state dict has."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        self.hidden = [nn.Parameter(torch.rand(8))]

    def features(self, x: Tensor) -> Tensor:
        return super().features(x) * self.hidden[0]


class RandomClosure(Small):
    """A random number in a lambda."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        factor = random.random()
        self.act = lambda x: functional.leaky_relu(x, factor)

    def features(self, x: Tensor) -> Tensor:
        return self.act(super().features(x) - 0.5)


def random_activation(shape: Shape, classes: int) -> nn.Module:
    net = Small(shape, classes)
    net.norm = nn.Sequential(net.norm, random.choice([nn.GELU, nn.Tanh])())  # type: ignore[assignment]
    return net


def random_width(shape: Shape, classes: int) -> nn.Module:
    net = Small(shape, classes)
    width = random.randint(1, 50)
    net.head = nn.Sequential(nn.Linear(8, width), nn.Linear(width, classes))  # type: ignore[assignment]
    return net


def random_depth(shape: Shape, classes: int) -> nn.Module:
    net = Small(shape, classes)
    net.head = nn.Sequential(*[nn.Linear(8, 8) for _ in range(random.randint(1, 8))], net.head)  # type: ignore[assignment]
    return net


_ONLY: list[nn.Module] = []


def singleton(shape: Shape, classes: int) -> nn.Module:
    if not _ONLY:
        _ONLY.append(Small(shape, classes))
    return _ONLY[0]


_HEADS: list[nn.Module] = []


def shared_layer(shape: Shape, classes: int) -> nn.Module:
    net = Small(shape, classes)
    if not _HEADS:
        _HEADS.append(net.head)
    net.head = _HEADS[0]  # type: ignore[assignment]
    return net


class ExtraState(Small):
    """A dictionary in the state dict."""

    def get_extra_state(self) -> dict[str, int]:
        return {"epoch": 3}

    def set_extra_state(self, state: dict[str, int]) -> None:
        del state


class SparseBuffer(Small):
    """A sparse tensor in the state dict."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        self.register_buffer("edges", torch.eye(8).to_sparse())


_CALLS: list[int] = []


def once_only(shape: Shape, classes: int) -> nn.Module:
    """A constructor that works once in a process."""
    _CALLS.append(1)
    if len(_CALLS) > 1:
        raise FileExistsError("lock.txt")
    return Small(shape, classes)


REFUSED: dict[str, tuple[Build, str]] = {
    **{
        change.__name__: (looks(change), words)
        for change, words in (
            (random_tensor, r"another scale .*register_buffer\('scale', tensor\)"),
            (random_unstored_buffer, r"another scale .*register_buffer\('scale', tensor\)"),
            (random_number, r"another scale .*-M.*register_buffer"),
            (random_numpy_number, "another scale"),
            (random_numpy_array, "another table"),
            (random_torch_number, "another scale"),
            (from_weights, "another scale"),
            (copy_of_weights, "another scale"),
            (view_of_weights, r"holds shift, which shares the memory of conv\.weight"),
        )
    },
    "random permutation": (Permuted, r"another order\[\d\]"),
    "random list": (RandomList, r"another gains\[0\]"),
    "hidden parameter": (HiddenParameter, r"another hidden\[0\]"),
    "random closure": (RandomClosure, r"another act\.factor"),
    "random activation": (random_activation, "GELU at norm.1 or a Tanh|Tanh at norm.1 or a GELU"),
    "random width": (random_width, r"could not be read again.*head\.\d\.\w+"),
    "random depth": (random_depth, "could not be read again"),
    "singleton": (singleton, "same module at every call"),
    "shared layer": (shared_layer, "same module at every call"),
    "extra state": (ExtraState, "dict at _extra_state"),
    "sparse buffer": (SparseBuffer, "edges"),
    "once only": (once_only, "lock.txt"),
}


def pick(shape: Shape, classes: int, *, which: str) -> nn.Module:
    """One network of the tables by its name, which a checkpoint can hold."""
    build = KEPT[which] if which in KEPT else REFUSED[which][0]
    return build(shape, classes)
