"""Shrinks of any network: by masks of weights and of nodes, one after the other, through files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import utils
from torch.nn.utils import parametrizations
from torch.nn.utils import prune as torch_prune

import prunectl
from prunectl.checkpoints.checkpoint import read, write
from prunectl.errors import OptionError, StructureError
from prunectl.pruning.prune import prune
from prunectl.pruning.rules import NodeRules
from prunectl.pruning.shrink import shrink
from prunectl.structure.surgery.build import without
from prunectl.structure.surgery.plan import Plan
from prunectl.structure.surgery.proof import difference
from prunectl.structure.trace import analyse
from tests.helpers.marks import quick
from tests.helpers.networks import checkpoint_of, image_data, randomise_
from tests.helpers.shrinking import same, toy, weight_masked
from tests.helpers.toys import TOYS

RUNS = {
    "residual": "modules",
    "grouped-4": "modules",
    "unequal-split": "modules",
    "layer-norm-2d": "modules",
    "encoder-layer": "modules",
    "group-norm-4": "modules",
    "rms-norm": "modules",
    "windows": "modules",
    "attention-fused-sdpa": "graph",
    "weight-standardised-gain": "graph",
    "response-norm": "graph",
    "lstm-bidirectional": "graph",
}
"""A toy for each way to run what is left: own code, swapped norms and attention, rewritten graph."""
KINDS = ["encoder-layer", "convnext", "prelu", "squeeze-excite", "depth-multiplier", "gru", "added-into-part"]
MARKS = {
    **dict.fromkeys(("weight-standardised-gain", "response-norm"), pytest.mark.slow),
    **dict.fromkeys(
        ("grouped-4", "layer-norm-2d", "rms-norm", "attention-fused-sdpa", "lstm-bidirectional"), pytest.mark.long
    ),
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=MARKS.get(n, ())) for n in RUNS])
def test_shrinks_follow_each_other_through_files(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    start = toy(name)
    nodes, path = start.dense.nodes or 0, tmp_path / "small.safetensors"
    seen = []
    for sparsity in (0.3, 0.5):
        masked = prune(start, None, criterion="structured-random", sparsity=sparsity)
        small = shrink(masked)
        result = small.history[-1].result
        assert result["nodes"] == nodes - round(sparsity * nodes)
        write(small, path)
        start = read(path)
        assert same(start, masked)
        assert not start.masks
        assert sum(p.numel() for p in start.model.parameters()) == result["parameters"] < masked.dense.parameters
        assert start.model.train()(torch.randn(3, *start.spec.input)).shape == (3, 3)
        start.model.eval()
        seen.append(result["runs"])
    assert RUNS[name] in seen
    assert Plan.of(start.edits).graph == (seen[-1] == "graph")


@pytest.mark.parametrize("name", KINDS)
def test_weight_masks_shrink_networks_of_any_kind(name: str) -> None:
    masked = weight_masked(toy(name), 0.85)
    small = shrink(masked)
    assert same(small, masked)
    assert small.history[-1].result["removed"] > 0 or name == "gru"
    assert small.masks.kept(small.model) <= masked.masks.kept(masked.model)


@pytest.mark.slow
@pytest.mark.parametrize("name", TOYS)
@pytest.mark.parametrize("sparsity", [0.6, 0.85, 0.95])
def test_every_toy_shrinks_by_weight_masks(name: str, sparsity: float) -> None:
    masked = weight_masked(toy(name), sparsity)
    assert same(shrink(masked), masked)


def test_norms_over_what_is_left_change_the_function_by_what_is_told() -> None:
    masked = prune(toy("encoder-layer"), None, criterion="structured-random", sparsity=0.4)
    exact, alive = shrink(masked), shrink(masked, norm="alive")
    assert same(exact, masked)
    change = difference(masked.model, alive.model, masked.spec.input)
    assert change == pytest.approx(alive.history[-1].result["change"], rel=1e-3)
    assert change > 1e-3
    assert not any(isinstance(m, nn.LayerNorm) for m in exact.model.modules())
    assert any(isinstance(m, nn.LayerNorm) for m in alive.model.modules())
    with pytest.raises(OptionError, match='shrunk with `norm` "alive" equals no masked one'):
        prune(alive, None, criterion="structured-random", sparsity=0.6)


class Twice(nn.Module):
    """One layer reads what two others make: its bias can take the constants of neither."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.both = nn.Conv2d(1, 6, 1), nn.Conv2d(1, 6, 1), nn.Conv2d(6, 6, 1)
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head((self.both(self.a(x)).relu() + self.both(self.b(x)).relu()).mean((2, 3)))


class Tokens(nn.Module):
    """Layers along an axis that carries no nodes, between others."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.mix, self.back = nn.Conv2d(1, 6, 1), nn.Linear(64, 5), nn.Linear(5, 64)
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(x).flatten(2)
        return self.head((x + self.back(self.mix(x).relu())).mean(2))


class Written(nn.Module):
    """A branch is written into a part of a tensor, and a buffer is filled part by part."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.c1, self.c2, self.c3 = (nn.Conv2d(n, m, 1) for n, m in ((1, 8), (8, 6), (6, 4), (8, 4)))
        self.last, self.head = nn.Conv2d(8, 8, 1), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        filled = x.new_zeros(x.shape)
        filled[:, :4] = self.c3(x)
        filled[:, 4:] += self.c2(self.c1(x).relu())
        return self.head(self.last(filled).relu().mean((2, 3)))


@pytest.mark.parametrize("network", [Twice, Tokens, Written])
def test_networks_that_once_lost_what_they_need(network: type[nn.Module]) -> None:
    start = checkpoint_of(network(), (1, 8, 8))
    for sparsity in (0.5, 0.7, 0.85):
        for seed in range(2):
            masked = weight_masked(replace(start, model=randomise_(network(), seed)), sparsity)
            assert same(shrink(masked), masked)
    pruned = prune(checkpoint_of(randomise_(network()), (1, 8, 8)), None, criterion="structured-random", sparsity=0.5)
    assert same(shrink(pruned), pruned)


@pytest.mark.parametrize("seed", quick(range(4), [0]))
def test_channels_of_the_image_go_and_constants_are_folded(seed: int) -> None:
    """The network begins with a convolution, behind whose input nothing else lies on the image's channels."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    begun = checkpoint_of(randomise_(model).eval(), (3, 8, 8))
    rules = NodeRules(outer_layers=True)
    small = shrink(prune(begun, None, criterion="structured-random", sparsity=0.4, rules=rules, seed=seed))
    assert small.history[-1].result["proof"]["float64"] < 1e-10
    assert small.model(torch.randn(2, 3, 8, 8)).shape == (2, 3)


class Looping(nn.Module):
    """Takes a batch image by image, behind a mean over channels, which needs the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(1, 8, 3), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(x)
        x = x / (x.mean((1, 2, 3), keepdim=True).abs() + 1)
        return torch.stack([self.head(x[i].mean((1, 2))) for i in range(x.shape[0])])


def test_a_graph_that_cannot_take_any_batch_is_told() -> None:
    masked = prune(checkpoint_of(randomise_(Looping()), (1, 8, 8)), None, criterion="structured-random", sparsity=0.5)
    with pytest.raises(StructureError, match=r"smaller network fails on .* of 1: .* its own code fails: it uses the"):
        shrink(masked)
    analysis = analyse(masked.model, (1, 8, 8))
    with pytest.raises(StructureError, match="smaller network fails on a random batch of 1: "):
        without(masked.model, analysis, torch.arange(8) < 4, (1, 8, 8))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", quick(["residual", "response-norm"], ["residual"]))
def test_every_tensor_keeps_its_type(name: str, dtype: torch.dtype) -> None:
    start = toy(name)
    start.model.to(dtype)
    masked = prune(start, None, criterion="structured-random", sparsity=0.4)
    small = shrink(masked)
    assert small.history[-1].result["runs"] == ("graph" if name == "response-norm" else "modules")
    types = {key: tensor.dtype for key, tensor in masked.model.state_dict().items()}
    assert {key: tensor.dtype for key, tensor in small.model.state_dict().items()} == types
    assert small.model(torch.randn(2, *masked.spec.input).to(dtype)).dtype == dtype
    assert difference(masked.model, small.model, masked.spec.input) < (1e-12 if dtype == torch.float64 else 0.05)


def computed(norm: Callable[..., nn.Module]) -> nn.Sequential:
    """A network in which a layer computes its weight."""
    layers = [nn.Conv2d(1, 8, 3), nn.ReLU(), norm(nn.Conv2d(8, 8, 3)), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32, 3)).eval()


@pytest.mark.parametrize("norm", [parametrizations.weight_norm, parametrizations.spectral_norm, utils.spectral_norm])
@pytest.mark.filterwarnings("ignore:.*spectral_norm.* is deprecated:FutureWarning")
def test_weights_that_are_computed_are_not_pruned_without_a_word(norm: Callable[..., nn.Module]) -> None:
    start = checkpoint_of(computed(norm), (1, 8, 8))
    for criterion in ("random", "cnip"):
        with pytest.raises(OptionError, match=r"^layer 2 computes its weight .*: torch\.nn\.utils\..*remove_.*\(layer"):
            prune(start, image_data(), criterion=criterion, sparsity=0.5)
    masked = prune(start, None, criterion="structured-random", sparsity=0.5)
    assert same(shrink(masked), masked)


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_masks_of_torch_are_to_be_removed_first(name: str) -> None:
    network = computed(lambda layer: torch_prune.l1_unstructured(layer, name, 0.5))
    message = rf"^layer 2 has a mask of torch\.nn\.utils\.prune on its {name}; .*prune\.remove\(layer, '{name}'\)$"
    with pytest.raises(OptionError, match=message):
        prunectl.prune(network, criterion="magnitude", sparsity=0.5, input=(1, 8, 8))
    torch_prune.remove(network[2], name)
    pruned = prunectl.prune(network, criterion="magnitude", sparsity=0.5, input=(1, 8, 8))
    assert pruned.masks.kept(pruned.model) == pruned.dense.weights // 2


@pytest.mark.parametrize("criterion", ["random", "structured-random"])
def test_a_network_without_a_layer_to_prune_is_refused(criterion: str) -> None:
    for network, message in ((nn.BatchNorm2d(1), "no convolution or linear layer"), (computed_alone(), "layer 1 comp")):
        with pytest.raises(OptionError, match=message):
            prune(checkpoint_of(network, (1, 8, 8)), None, criterion=criterion, sparsity=0.5)


def computed_alone() -> nn.Sequential:
    """No other layer than one that computes its weight."""
    return nn.Sequential(nn.Flatten(), parametrizations.weight_norm(nn.Linear(64, 3)))
