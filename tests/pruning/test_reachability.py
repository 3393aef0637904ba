"""What an image sends through a network is followed to the end, whatever the network computes."""

import weakref
from collections.abc import Callable

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from prunectl.masks import Masks, prunable
from prunectl.pruning.connected import select_connected, unreached_classes
from prunectl.pruning.reachability import Reachability
from prunectl.scores import Scores
from prunectl.training.frozen_channels import frozen_entries
from tests.helpers.criterion_networks import SHAPE
from tests.helpers.marks import quick
from tests.helpers.networks import randomise_

T, X = True, False
FLAT = (1, 1, 2)


class Function(nn.Module):
    """A function of tensors as a layer."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.function(*tensors)


def between(*layers: nn.Module) -> nn.Sequential:
    """A network whose layer 1 makes four nodes, and whose last has two classes."""
    return nn.Sequential(nn.Flatten(), nn.Linear(2, 4), *layers, nn.Linear(4, 2))


def halves(function: Callable[[Tensor, Tensor], Tensor]) -> nn.Sequential:
    """A network that computes something of the first and the last two nodes, which are equal for an image of ones."""
    return between(Function(lambda a: torch.cat([F.relu(function(1 * a[:, :2], 1 * a[:, 2:]))] * 2, 1)))


def elu(nodes: Tensor) -> Tensor:
    return torch.where(nodes > 0, nodes, nodes.exp() - 1)


CANCELLED = {
    "a-b": halves(lambda a, b: a - b),
    "torch.sub": halves(torch.sub),
    "torch.subtract": halves(torch.subtract),
    "sub": halves(lambda a, b: a.sub(b, alpha=1)),
    "alpha": halves(lambda a, b: a.sub(b, alpha=-1)),
    "subtract": halves(lambda a, b: a.subtract(b)),
    "sub_": halves(lambda a, b: a.sub_(b)),
    "subtract_": halves(lambda a, b: a.subtract_(b)),
    "-a": halves(lambda a, _: -a),
    "torch.neg": halves(lambda a, _: torch.neg(a)),
    "torch.negative": halves(lambda a, _: torch.negative(a)),
    "negative": halves(lambda a, _: a.negative()),
    "neg_": halves(lambda a, _: a.neg_()),
    "negative_": halves(lambda a, _: a.negative_()),
    "log_softmax": nn.Sequential(between(nn.ReLU()), nn.LogSoftmax(1)),
    "torch.log_softmax": nn.Sequential(between(), Function(lambda a: torch.log_softmax(a, 1))),
    "Tensor.log_softmax": nn.Sequential(between(), Function(lambda a: a.log_softmax(1, dtype=torch.float64))),
    "layer-norm": between(nn.LayerNorm(4)),
    "written-to": between(nn.LayerNorm(4, elementwise_affine=False), nn.ReLU(inplace=True)),
    "group-norm": between(nn.GroupNorm(2, 4)),
    "instance-norm": between(nn.Unflatten(1, (2, 2)), nn.InstanceNorm1d(2, affine=True), nn.Flatten()),
    "batch-norm": between(nn.BatchNorm1d(4, track_running_stats=False)),
    "attention": between(nn.Unflatten(1, (2, 2)), nn.TransformerEncoderLayer(2, 1, 8, batch_first=True), nn.Flatten()),
    "elu": between(Function(elu), nn.Linear(4, 4), Function(elu)),
}
"""Networks in which an image of ones could come to nothing, or a constant stand for it."""


@pytest.mark.parametrize("name", CANCELLED)
def test_nothing_is_lost_on_the_way(name: str) -> None:
    model = CANCELLED[name].eval()
    weights = prunable(model)
    first, *_, last = weights
    flow = Reachability(model, FLAT)
    assert bool((flow.logits(Masks.dense()) > 0).all())
    assert not flow.reaches(Masks({first: torch.zeros_like(weights[first], dtype=torch.bool)}))
    second_class = torch.zeros_like(weights[last], dtype=torch.bool)
    second_class[1] = True
    assert unreached_classes(model, FLAT, Masks({last: second_class})) == [0]
    torch.manual_seed(0)
    scores = Scores({name: torch.rand_like(weight) for name, weight in weights.items()})
    assert flow.reaches(select_connected(model, FLAT, scores, Masks.dense(), len(scores)))


def test_biases_and_statistics_do_not_count_as_paths() -> None:
    model = randomise_(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3)))
    masks = Masks({"0.weight": torch.zeros(2, 1, 3, 3, dtype=torch.bool)})
    assert not Reachability(model, SHAPE).reaches(masks)
    assert Reachability(model, SHAPE).reaches(Masks.dense())


def test_what_activations_bound_is_on_a_path() -> None:
    """They have no slope beyond their bounds."""
    model = between(nn.BatchNorm1d(4), nn.ReLU6(), nn.BatchNorm1d(4), nn.Hardtanh(), nn.BatchNorm1d(4), nn.Softshrink())
    for norm in model[2:8:2]:
        norm.running_var.fill_(1e-4)
    assert all(bool(on.all()) for on in Reachability(model, FLAT).on_paths(Masks.dense()).values())


class Embedding(nn.Module):
    """Puts two constants beside two nodes."""

    def __init__(self, join: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.join, self.values = join, nn.Parameter(torch.zeros(1, 2))

    def forward(self, nodes: Tensor) -> Tensor:
        return self.join(nodes, self.values.expand(1, 2))


def adding(join: Callable[[Tensor, Tensor], Tensor]) -> nn.Sequential:
    """A network that takes in two constants beside its two nodes."""
    return nn.Sequential(nn.Flatten(), nn.Linear(2, 2), Embedding(join), nn.Linear(2, 2))


CONSTANTS = {
    "a+b": adding(lambda a, b: a + b),
    "b+a": adding(lambda a, b: b + a),
    "torch.add": adding(torch.add),
    "add_": adding(lambda a, b: (1 * a).add_(b)),
    "cat": adding(lambda a, b: torch.cat([a, b]).sum(0, keepdim=True)),
    "concat": adding(lambda a, b: torch.concat([b, a]).sum(0, keepdim=True)),
    "concatenate": adding(lambda a, b: torch.concatenate((b, a)).sum(0, keepdim=True)),
    "stack": adding(lambda a, b: torch.stack([b, a]).sum(0)),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_are_no_path_but_make_channels_live(name: str) -> None:
    flow = Reachability(CONSTANTS[name], FLAT)
    cut = Masks({"1.weight": torch.zeros(2, 2, dtype=torch.bool)})
    assert flow.reaches(Masks.dense())
    assert not flow.reaches(cut)
    inputs, outputs = flow.arrives(cut)
    assert inputs["3.weight"].tolist() == outputs["3.weight"].tolist() == [T, T]


def test_a_vision_transformer_keeps_a_path_beside_its_class_token_and_embeddings() -> None:
    model = (
        randomise_(VisionTransformer(8, 4, embed_dim=8, depth=2, num_heads=2, mlp_ratio=2, num_classes=3))
        .eval()
        .double()
    )
    weights = prunable(model)
    for seed in range(5):
        torch.manual_seed(seed)
        scores = Scores({name: torch.rand_like(weight) for name, weight in weights.items()})
        kept = select_connected(model, (3, 8, 8), scores, Masks.dense(), 2 * len(weights))
        assert Reachability(model, (3, 8, 8)).reaches(kept)
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(kept[name] * torch.randn_like(weight))
        images = torch.randn(1, 3, 8, 8, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(model(images).sum(), images)
        assert slope.any()


def test_a_norm_of_layers_and_groups_gives_all_that_it_norms() -> None:
    """One node of four arrives: every place of its layer or group depends on it, and none of another group."""
    kept = Masks({"1.weight": torch.tensor([[T, T], [X, X], [X, X], [X, X]])})
    for norm, there in ((nn.LayerNorm(4), [T, T, T, T]), (nn.GroupNorm(2, 4), [T, T, X, X])):
        inputs, _ = Reachability(between(norm), FLAT).arrives(kept)
        assert inputs["3.weight"].tolist() == there


@pytest.mark.parametrize(
    ("norm", "reaches"),
    [
        (nn.BatchNorm2d(1), False),
        (nn.InstanceNorm2d(1, track_running_stats=True), False),
        (nn.InstanceNorm2d(1), True),
        (nn.BatchNorm2d(1, track_running_stats=False), True),
    ],
)
def test_norms_by_their_own_statistics_stay_at_their_place(norm: nn.Module, reaches: bool) -> None:
    """Each convolution reads from the upper left alone: two leave nothing of 2 x 2 pixels, unless one spreads it."""
    model = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), norm, nn.Conv2d(1, 1, 3, padding=1), nn.Flatten()).eval()
    corner = torch.zeros(1, 1, 3, 3, dtype=torch.bool)
    corner[..., 0, 0] = True
    assert Reachability(model, (1, 2, 2)).reaches(Masks({"0.weight": corner}))
    assert Reachability(model, (1, 2, 2)).reaches(Masks({"0.weight": corner, "2.weight": corner})) is reaches


LAYERS: dict[str, tuple[nn.Module, Callable[[], nn.Module], Callable[[int], nn.Module]]] = {
    "linear": (nn.Flatten(), lambda: nn.Linear(2, 2), nn.BatchNorm1d),
    "conv1d": (nn.Flatten(2), lambda: nn.Conv1d(2, 2, 1), nn.BatchNorm1d),
    "conv2d": (nn.Identity(), lambda: nn.Conv2d(2, 2, 1), nn.BatchNorm2d),
    "conv3d": (nn.Unflatten(1, (2, 1)), lambda: nn.Conv3d(2, 2, 1), nn.BatchNorm3d),
    "conv_transpose1d": (nn.Flatten(2), lambda: nn.ConvTranspose1d(2, 2, 1), nn.BatchNorm1d),
    "conv_transpose2d": (nn.Identity(), lambda: nn.ConvTranspose2d(2, 2, 1), nn.BatchNorm2d),
    "conv_transpose3d": (nn.Unflatten(1, (2, 1)), lambda: nn.ConvTranspose3d(2, 2, 1), nn.BatchNorm3d),
}
"""What makes an image of two channels and one pixel their input, the layers, and their norm."""


@pytest.mark.parametrize("variance", [1e-4, 1e4])
@pytest.mark.parametrize("kind", quick(LAYERS, ["linear", "conv2d"]))
def test_no_depth_is_too_deep(kind: str, variance: float) -> None:
    """A hundred layers, each of which multiplies by a hundred, or divides."""
    prepare, layer, norm = LAYERS[kind]
    deep = nn.Sequential(prepare, *(make for _ in range(100) for make in (layer(), norm(2))))
    for batch_norm in deep[2::2]:
        batch_norm.running_var.fill_(variance)
    weights = prunable(deep)
    one, both = torch.tensor([[T, X], [X, X]]), torch.eye(2) > 0
    kept = Masks({f"{i}.weight": m.view(weights[f"{i}.weight"].shape) for i, m in ((1, one), (3, both))})
    flow = Reachability(deep, (2, 1, 1))
    assert flow.reaches(kept)
    inputs, outputs = flow.arrives(kept)
    assert outputs["3.weight"].tolist() == [T, X]
    assert all(outputs[f"{i}.weight"].tolist() == [T, T] for i in range(5, 200, 2))
    assert inputs["5.weight"].tolist() == [T, X]
    assert [bool(m.any()) for m in flow.on_paths(kept).values()] == [T] * 100


class Residual(nn.Module):
    """What comes in, and what a layer makes of it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layer(x)


@pytest.mark.parametrize("kind", LAYERS)
def test_no_residual_network_is_too_deep(kind: str) -> None:
    """Of two hundred blocks each gives twice what it takes; one node is dead in all but the last."""
    prepare, layer, _ = LAYERS[kind]
    deep = nn.Sequential(prepare, layer(), *(Residual(layer()) for _ in range(200)))
    weights = prunable(deep)
    one = torch.tensor([[T, X], [X, X]])
    kept = Masks({name: one.view(weight.shape) for name, weight in list(weights.items())[:-1]})
    _, outputs = Reachability(deep, (2, 1, 1)).arrives(kept)
    assert list(map(Tensor.tolist, outputs.values())) == [[T, X]] * 200 + [[T, T]]


def test_types_of_few_bits_and_of_several_in_one_network() -> None:
    """Sums over 64 x 64 pixels of 64 channels are beyond a float16; a norm often stays in float32."""
    head = (nn.Conv2d(64, 8, 1), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    model = nn.Sequential(nn.Conv2d(3, 64, 1), nn.GroupNorm(1, 64), *head)
    read = torch.ones(8, 64, 1, 1, dtype=torch.bool)
    read[:, 0] = False
    for mixed in (False, True):
        model.bfloat16() if mixed else model.half()
        model[1].float() if mixed else None
        assert Reachability(model, (3, 64, 64)).reaches(Masks({"2.weight": read}))
        assert frozen_entries(model, Masks({"2.weight": read}), (3, 64, 64)) == {}


def test_a_large_network_is_not_copied_one_weight_is_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made, most = list[weakref.ref[Tensor]](), 0
    weight = Reachability._weight

    def watched(self: Reachability, name: str, masks: Masks) -> Tensor:
        nonlocal most
        found = weight(self, name, masks)
        made.append(weakref.ref(found))
        most = max(most, sum(each() is not None for each in made))
        return found

    monkeypatch.setattr(Reachability, "_weight", watched)
    model = nn.Sequential(nn.Flatten(), *[nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU()) for _ in "abcd"])
    flow = Reachability(model, (1, 2, 2))
    assert flow.reaches(Masks.dense()) and (len(made), most) == (4, 1)
    assert all(not weight.untyped_storage().nbytes() > 4 for weight in flow.weights.values())


class OwnUse(nn.Module):
    """Uses its weights by functions of its own: one alone, one transposed beside another, one by its size."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(4, 3, bias=False), nn.Linear(2, 3, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        both = torch.cat([self.one.weight.T, self.other.weight.T])
        assert self.one.weight.shape == (3, 4) and self.one.weight.dtype == torch.float32
        inputs = images.flatten(1)
        return torch.cat([inputs, inputs[:, : self.other.in_features]], 1) @ both


def test_weights_that_a_network_uses_by_itself_have_their_values() -> None:
    flow = Reachability(OwnUse(), (1, 2, 2))
    none = {"one.weight": torch.zeros(3, 4, dtype=torch.bool), "other.weight": torch.zeros(3, 2, dtype=torch.bool)}
    first = none["other.weight"].clone()
    first[1, 0] = True
    assert flow.reaches(Masks.dense()) and not flow.reaches(Masks(none))
    assert (flow.logits(Masks({**none, "other.weight": first})) > 0).tolist() == [[False, True, False]]
    on = flow.on_paths(Masks({**none, "other.weight": first}))
    assert torch.equal(on["other.weight"], first) and not on["one.weight"].any()
