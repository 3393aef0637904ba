"""Criteria for nodes: scores are what their papers say, counts are exact, nothing is revived or cut through."""

import copy
from functools import cache
from itertools import repeat

import pytest
import torch
from torch import nn

from prunectl.checkpoints.build import build
from prunectl.checkpoints.header import ModelSpec
from prunectl.criteria.cnip import elasticities
from prunectl.criteria.efficient_convnets import filter_norm
from prunectl.criteria.snap import elasticity
from prunectl.criteria.snip import elasticity as weight_elasticity
from prunectl.criteria.structured_random import uniform
from prunectl.errors import PrunectlError
from prunectl.pruning.prune import prune
from prunectl.pruning.rules import NodeRules
from prunectl.pruning.shrink import shrink
from prunectl.structure.node_masks import dead_nodes, node_masks
from prunectl.structure.nodes import FROZEN, Structure
from prunectl.structure.trace import trace
from tests.helpers.marks import quick_rows
from tests.helpers.networks import checkpoint_of, fresh_checkpoint, image_data, randomise_
from tests.helpers.node_networks import GATES, SHAPE, Chain, Gate, Residual


@cache
def structure_of(kind: type[nn.Module]) -> Structure:
    return trace(kind(), SHAPE)


def batch(size: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(size, *SHAPE, generator=generator), torch.arange(size) % 3


@pytest.mark.parametrize("kind", [Chain, Residual])
@pytest.mark.parametrize(("bn", "loss"), [("running", "cross-entropy"), ("batch", "nll-logits")])
def test_node_elasticity_is_what_finite_differences_of_a_gate_say(kind, bn: str, loss: str) -> None:
    model = randomise_(kind()).double()
    inputs, labels = batch()
    inputs = inputs.double()
    losses = {"cross-entropy": nn.functional.cross_entropy, "nll-logits": nn.functional.nll_loss}

    def value(width: int, gates: tuple[int, ...], channel: int, factor: float) -> float:
        probe = copy.deepcopy(model).eval()
        for module in probe.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.train(bn == "batch")
        gate = Gate(width).double()
        gate.factor[channel] = factor
        for i in gates:
            probe.gates[i] = gate
        return float(losses[loss](probe(inputs), labels).detach())

    structure = trace(model, SHAPE)
    scores = elasticity(model, repeat((inputs, labels)), structure, batches=2, bn=bn, loss=loss).nodes
    assert scores.shape == (structure.nodes,)
    for width, first, gates in GATES[kind]:
        for channel in range(width):
            above, below, step = (value(width, gates, channel, factor) for factor in (1 + 1e-6, 1 - 1e-6, 1.0))
            expected = abs((above - below) / 2e-6 / step)
            assert float(scores[first + channel]) == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_a_node_that_no_weight_reads_has_its_gate_behind_what_makes_it() -> None:
    """Logits q(x) k(x): Σ θ dL/dθ over the rows of a query (weight and bias) is the gate's c dL/dc."""

    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key, self.head = nn.Linear(2, 3), nn.Linear(2, 3, bias=False), nn.Linear(3, 3)

        def forward(self, x: torch.Tensor, factor: float = 1.0) -> torch.Tensor:
            x = x.flatten(1)
            return self.head(self.query(x) * torch.tensor([1, factor, 1], dtype=x.dtype) * self.key(x))

    model, nodes = randomise_(Product()).double(), torch.arange(3)
    axes = {("query.weight", 0): nodes, ("query.bias", 0): nodes, ("query.weight", 1): torch.tensor([FROZEN] * 2)}
    structure = Structure(axes, 3, consumers=frozenset({("query.weight", 1)}))
    inputs, labels = torch.randn(6, 1, 1, 2, generator=torch.Generator().manual_seed(0)).double(), torch.arange(6) % 3
    above, below, now = (
        float(nn.functional.cross_entropy(model(inputs, factor), labels).detach()) for factor in (1 + 1e-6, 1 - 1e-6, 1)
    )
    score = elasticity(model, repeat((inputs, labels)), structure).nodes[1]
    assert float(score) == pytest.approx(abs((above - below) / 2e-6 / now), rel=1e-4)


def test_weights_and_nodes_of_cnip_are_those_of_snip_and_snap_on_the_same_batches() -> None:
    model = randomise_(Residual())
    structure = trace(model, SHAPE)
    both = elasticities(model, repeat(batch()), structure)
    weights, nodes = weight_elasticity(model, repeat(batch())), elasticity(model, repeat(batch()), structure)
    assert all(torch.allclose(both[name], weights[name]) for name in weights)
    assert torch.allclose(both.nodes, nodes.nodes)


def linears(first: list[list[float]], second: list[list[float]]) -> nn.Sequential:
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, len(first)), nn.ReLU(), nn.Linear(len(first), len(second)))
    model.append(nn.ReLU()).append(nn.Linear(len(second), 3))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor(first))
        model[3].weight.copy_(torch.tensor(second))
        model[1].bias.fill_(100)  # a filter's norm is that of its weights
    return model


def test_efficient_convnets_sums_magnitudes_and_takes_the_same_share_of_each_layer() -> None:
    model = linears([[1, -1], [3, 0], [0, 0.5], [-2, -2]], [[1, 1, 1, 1], [0, 0, 0, -3]])
    shape = (1, 1, 2)
    structure = trace(model, shape)
    assert filter_norm(model, iter(()), structure).nodes.tolist() == [2, 3, 0.5, 4, 4, 3]
    pruned = prune(checkpoint_of(model, shape), None, criterion="efficient-convnets", sparsity=0.5, scope="layer")
    assert dead_nodes(structure, pruned.masks, model).tolist() == [True, False, True, False, False, True]


def test_coupled_filters_are_added_up() -> None:
    model = Residual()
    for parameter in model.parameters():
        nn.init.constant_(parameter, -2)
    norms = filter_norm(model, iter(()), trace(model, SHAPE)).nodes
    assert norms.tolist() == [2.0 * (9 + 81)] * 6 + [2.0 * 54] * 9


@pytest.mark.parametrize("kind", [Chain, Residual])
@pytest.mark.parametrize(
    ("name", "sparsity", "scope"),
    quick_rows(
        [
            *(("snap", *asked) for asked in ((0.3, None), (0.5, "layer"), (0.8, "global"))),
            *(("snapit", *asked) for asked in ((0.3, None), (0.5, "layer"), (0.8, "global"))),
        ],
        chosen=(0, 4),
    ),
)
def test_nodes_go_in_exact_number_and_stay_gone_and_leave_one_on_every_axis(kind, name, sparsity, scope) -> None:
    start, data = fresh_checkpoint(kind, SHAPE, randomise_), image_data()
    before = {key: tensor.clone() for key, tensor in start.model.state_dict().items()}
    once = prune(start, data, criterion=name, sparsity=sparsity / 2, scope=scope, batch_size=16)
    more = prune(once, data, criterion=name, sparsity=sparsity, scope=scope, batch_size=16, options={}, steps=1)
    structure = structure_of(kind)
    gone_once, gone = (dead_nodes(structure, each.masks, each.model) for each in (once, more))
    assert int(gone.sum()) == round(sparsity * structure.nodes)
    assert not (gone_once & ~gone).any()
    assert all(not gone[classes].all() for classes in structure.axes.values() if (classes != FROZEN).all())
    assert all(bool((more.model.get_parameter(n)[~mask] == 0).all()) for n, mask in more.masks.items())
    assert all(torch.equal(tensor, before[key]) for key, tensor in start.model.state_dict().items())
    assert more.history[-1].result["node_sparsity"] == pytest.approx(int(gone.sum()) / structure.nodes)
    again = prune(once, data, criterion=name, sparsity=sparsity, scope=scope, batch_size=16, steps=1)
    assert all(torch.equal(again.masks[n], more.masks[n]) for n in more.masks)


@pytest.mark.parametrize("kind", [Chain, Residual])
@pytest.mark.parametrize(("name", "sparsity"), quick_rows([("cnipit", 0.3), ("cnipit", 0.97), ("cnip", 0.97)], {1}))
def test_both_reach_the_exact_weight_sparsity_with_the_weights_of_removed_nodes(kind, name, sparsity) -> None:
    start, data = fresh_checkpoint(kind, SHAPE, randomise_), image_data()
    once = prune(start, data, criterion=name, sparsity=sparsity / 2, batch_size=16)
    pruned = prune(once, data, criterion=name, sparsity=sparsity, batch_size=16)
    total = start.dense.weights
    assert pruned.masks.kept(pruned.model) == total - round(sparsity * total)
    assert not any(bool((pruned.masks[n] & ~once.masks[n]).any()) for n in once.masks)
    structure = structure_of(kind)
    gone = dead_nodes(structure, pruned.masks, pruned.model)
    assert all(not gone[classes].all() for classes in structure.axes.values() if (classes != FROZEN).all())
    small = shrink(pruned)
    assert small.history[-1].result["parameters"] <= pruned.history[-1].result["parameters"]


def test_both_prune_the_lowest_of_one_ranking(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one row: node 0 (0.5) with its 5 weights, weights 1 and 2; node 1 (2.5) is too big for the one left."""
    from prunectl.criteria import cnip
    from prunectl.criteria.base.criterion import Criterion
    from prunectl.scores import Scores

    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3))
    first = torch.tensor([[9.0, 9.0], [1.0, 8.0], [7.0, 2.0]])
    second = torch.tensor([[9.0, 3.0, 8.0], [9.0, 8.0, 4.0], [9.0, 8.0, 8.0]])
    scores = Scores({"1.weight": first, "3.weight": second}, torch.tensor([0.5, 2.5, 6.0]))
    fixed = Criterion(lambda *_: scores, schedule="one-shot", scope="global", source="test", unit="both")
    monkeypatch.setattr(cnip, "cnip", fixed)
    start = checkpoint_of(model, (1, 1, 2))
    pruned = prune(start, image_data(shape=(1, 1, 2)), criterion="cnip", sparsity=8 / 15)
    assert pruned.masks["1.weight"].tolist() == [[False, False], [False, True], [True, False]]
    assert pruned.masks["3.weight"].tolist() == [[False, False, True]] + [[False, True, True]] * 2
    assert pruned.masks["1.bias"].tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("model", "size"),
    [
        pytest.param("resnet18", 12, marks=pytest.mark.long),
        ("conv6", 16),
        pytest.param("vgg16", 16, marks=pytest.mark.slow),
    ],
)
def test_built_in_networks_shrink_exactly(model: str, size: int) -> None:
    data = image_data(32, (3, size, size))
    with torch.device("meta"):
        network = build(ModelSpec(model, (3, size, size), 3))
    start = checkpoint_of(randomise_(network.to_empty(device="cpu")), (3, size, size))
    pruned = prune(start, data, criterion="snap", sparsity=0.9, batch_size=8, options={"batches": "1"})
    small = shrink(pruned)
    result, proof = pruned.history[-1].result, small.history[-1].result["proof"]
    assert proof["float64"] < 1e-10 and proof["float32"] < 1e-5
    assert sum(p.numel() for p in small.model.parameters()) == result["parameters"] < 0.2 * start.dense.parameters
    assert not small.masks


def test_outer_layers_let_channels_of_the_image_go_but_the_last() -> None:
    model, shape = Chain(), (4, 8, 8)
    model.conv1 = nn.Conv2d(4, 6, 3, padding=1)
    start = checkpoint_of(model, shape)
    with torch.no_grad():
        model.conv1.weight[:, 1:] = 0  # three channels are not read
    rules = NodeRules(outer_layers=True)
    data = image_data(shape=shape)
    pruned = prune(start, data, criterion="snap", sparsity=3 / 24, rules=rules, batch_size=16)
    assert pruned.masks["conv1.weight"].flatten(2).any(2).any(0).tolist() == [True, False, False, False]
    assert pruned.history[-1].result["node_sparsity"] == pytest.approx(3 / 24)  # image channels do not count
    most = prune(start, data, criterion="snap", sparsity=24 / 28, rules=rules, batch_size=16)
    structure = trace(model, shape, outer=True)
    assert int(dead_nodes(structure, most.masks, most.model)[structure.image].sum()) == 3
    small = shrink(most)
    assert small.model.conv1.weight.shape[1] == 1
    images = torch.randn(3, *shape)
    assert torch.allclose(small.model.eval()(images), most.model.eval()(images), atol=1e-6)  # it takes the full image


def transposed() -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(1, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def test_axes_of_any_number_are_read_where_the_structure_says() -> None:
    """A transposed convolution makes nodes along axis 1 and reads them along axis 0."""
    model, nodes, frozen = randomise_(transposed()).double(), torch.arange(4), torch.full((3,), FROZEN)
    axes = {("0.weight", 0): frozen[:1], ("0.weight", 1): nodes, ("0.bias", 0): nodes}
    axes |= {("2.weight", 0): nodes, ("2.weight", 1): frozen, ("2.bias", 0): frozen}
    structure = Structure(axes, 4, frozenset({("0.weight", 0), ("2.weight", 0)}))
    assert torch.allclose(filter_norm(model, iter(()), structure).nodes, model[0].weight.abs().sum((0, 2, 3)).float())
    inputs, labels = batch()

    def value(factor: float) -> float:
        probe = copy.deepcopy(model)
        probe[1] = nn.Sequential(nn.ReLU(), Gate(4).double())
        probe[1][1].factor[2] = factor
        return float(nn.functional.cross_entropy(probe(inputs.double()), labels).detach())

    expected = abs((value(1 + 1e-6) - value(1 - 1e-6)) / 2e-6 / value(1))
    scores = elasticity(model, repeat((inputs.double(), labels)), structure).nodes
    assert float(scores[2]) == pytest.approx(expected, rel=1e-4)
    masks = node_masks(structure, nodes == 2, model)
    assert sorted(masks) == ["0.bias", "0.weight", "2.weight"]
    assert masks["0.weight"][0].flatten(1).any(1).tolist() == [True, True, False, True]


def test_scores_of_nodes_that_overflow_are_refused() -> None:
    model = Chain()
    nn.init.constant_(model.head.weight, float("inf"))
    with pytest.raises(PrunectlError, match="the scores of the nodes are not all finite"):
        elasticity(model, repeat(batch()), trace(model, SHAPE))


def test_random_scores_follow_the_seed() -> None:
    model = Chain()
    structure = trace(model, SHAPE)
    torch.manual_seed(1)
    first = uniform(model, iter(()), structure).nodes
    assert first.shape == (24,) and not torch.equal(first, uniform(model, iter(()), structure).nodes)
