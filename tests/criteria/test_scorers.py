"""Every scorer equals an independent slow computation: finite differences, or numbers that can be checked by hand."""

import copy
from itertools import repeat

import pytest
import torch
from torch import Tensor, nn

from prunectl.criteria.base.criterion import Round
from prunectl.criteria.base.growth import by_gradient
from prunectl.criteria.drop_grow import at_random
from prunectl.criteria.efficient_convnets import filter_norm
from prunectl.criteria.force import foresight
from prunectl.criteria.gate_decorators import gate_importance
from prunectl.criteria.grasp import gradient_flow, node_gradient_flow
from prunectl.criteria.hoyer import largest_of_filter
from prunectl.criteria.network_slimming import scales
from prunectl.criteria.snip import elasticity
from prunectl.criteria.synflow import synaptic_flow
from prunectl.criteria.taylor import squared_effect
from prunectl.errors import OptionError
from prunectl.masks import Masks
from prunectl.structure.nodes import Structure
from prunectl.structure.trace import trace
from prunectl.training.regularizers.hoyer import bn_scales, group_hoyer_square, hoyer_square
from tests.helpers.networks import randomise_
from tests.helpers.toys import TOYS

SHAPE = (1, 4, 4)


def network() -> nn.Sequential:
    """Nodes 0 to 2 are the channels, 3 to 6 the neurons."""
    return nn.Sequential(
        *(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten()),
        *(nn.Linear(12, 4), nn.Tanh(), nn.Linear(4, 3)),
    )


def batches(count: int = 2, size: int = 6) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    return [(torch.randn(size, *SHAPE, generator=generator).double(), torch.arange(size) % 3) for _ in range(count)]


@pytest.fixture
def model() -> nn.Module:
    return randomise_(network()).double().eval()


@pytest.fixture
def structure(model: nn.Module) -> Structure:
    return trace(model, SHAPE)


def loss_of(model: nn.Module, batch: tuple[Tensor, Tensor], temperature: float = 1.0) -> Tensor:
    return nn.functional.cross_entropy(model(batch[0]) / temperature, batch[1])


def squared_gradient(model: nn.Module, batch: tuple[Tensor, Tensor], names: list[str], temperature: float) -> float:
    grads = torch.autograd.grad(loss_of(model, batch, temperature), [model.get_parameter(name) for name in names])
    return sum(float(g.square().sum()) for g in grads)


def slope(value, change_, step: float = 1e-5) -> float:
    """The derivative of `value()` by a relative change that `change_(factor)` makes."""
    above, below = (value(change_(factor)) for factor in (1 + step, 1 - step))
    return (above - below) / (2 * step)


WEIGHTS = ["0.weight", "4.weight", "6.weight"]


@pytest.mark.parametrize("temperature", [1.0, 200.0])
def test_grasp_is_half_the_slope_of_the_squared_gradient(model: nn.Module, temperature: float) -> None:
    data = batches()
    scores = gradient_flow(model, iter(data), batches=2, temperature=temperature)
    for name, index in [("0.weight", (1, 0, 2, 1)), ("4.weight", (2, 7)), ("6.weight", (0, 3))]:

        def changed(factor: float, name: str = name, index: tuple[int, ...] = index) -> nn.Module:
            other = copy.deepcopy(model)
            with torch.no_grad():
                other.get_parameter(name)[index] *= factor
            return other

        slopes = [slope(lambda m, b=b: squared_gradient(m, b, WEIGHTS, temperature), changed) for b in data]
        assert float(scores[name][index]) == pytest.approx(sum(slopes) / 2, rel=1e-4, abs=1e-12)


def test_grasp_removes_what_raises_the_gradient_flow() -> None:
    """L = x² / 2 for x = u + v has g = (x, x), Hg = (2x, 2x): a weight against the sum has the lowest score."""
    model = nn.Linear(2, 2, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[2.0, -1.0], [0.0, 0.0]]))
    batch = torch.tensor([[1.0, 1.0]]).double(), torch.tensor([0])
    scores = gradient_flow(model, iter([batch]), batches=1, temperature=1.0)["weight"]
    before = squared_gradient(model, batch, ["weight"], 1.0)
    change = []
    for column in (0, 1):
        other = copy.deepcopy(model)
        with torch.no_grad():
            other.weight[0, column] = 0
        change.append(squared_gradient(other, batch, ["weight"], 1.0) - before)
    assert change[0] > change[1]
    assert scores[0, 0] < scores[0, 1]  # lower goes first


def test_grasp_of_nodes_scales_what_reads_them(model: nn.Module, structure: Structure) -> None:
    data = batches(1)
    scores = node_gradient_flow(model, iter(data), structure, batches=1, temperature=1.0).nodes
    for node, name, columns in [(1, "4.weight", slice(4, 8)), (5, "6.weight", slice(2, 3))]:

        def changed(factor: float, name: str = name, columns: slice = columns) -> nn.Module:
            other = copy.deepcopy(model)
            with torch.no_grad():
                other.get_parameter(name)[:, columns] *= factor
            return other

        found = slope(lambda m: squared_gradient(m, data[0], WEIGHTS, 1.0), changed)
        assert float(scores[node]) == pytest.approx(found / 2, rel=1e-4)


@pytest.mark.parametrize("scorer", [elasticity, gradient_flow])
def test_chunks_change_the_memory_alone(model: nn.Module, scorer) -> None:
    whole, parts = (scorer(model, iter(batches()), batches=2, chunk=chunk) for chunk in (0, 4))
    for name in WEIGHTS:
        assert torch.allclose(whole[name], parts[name], rtol=1e-5, atol=1e-12)


def test_chunks_have_no_batch_statistics(model: nn.Module) -> None:
    with pytest.raises(OptionError, match="bn=batch needs the statistics of whole batches"):
        elasticity(model, iter(batches()), bn="batch", chunk=2)


def test_grasp_goes_through_attention() -> None:
    """The fused kernels of attention have no second derivative."""
    build, shape = TOYS["multihead-attention"]
    images = torch.randn(4, *shape), torch.arange(4) % 3
    scores = gradient_flow(randomise_(build()), iter([images]), batches=1)
    assert all(bool(score.any()) for score in scores.values())


def test_nodes_that_no_filter_makes_go_last() -> None:
    """The channels of an image."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 3))
    structure = trace(model, (3, 4, 4), outer=True)
    for scorer in (filter_norm, largest_of_filter):
        scores = scorer(model, iter(()), structure).nodes
        lacking = structure.image
        assert len(lacking) == 3
        assert scores[lacking].min() > scores[[i for i in range(structure.nodes) if i not in lacking.tolist()]].max()


def test_synflow_casts_where_the_network_does() -> None:
    class Casts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x.flatten(1).float())

    scores = synaptic_flow(Casts(), repeat((torch.zeros(1, 1, 2, 2), torch.zeros(1))))
    assert float(scores["head.weight"].max()) == 1


def test_synflow_sums_over_paths() -> None:
    """R = Σ |w₂||w₁| over paths; a weight's score is the sum over the paths through it, here over the largest, 7."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False), nn.LeakyReLU(0.1), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0, -2.0], [-3.0, 4.0]]))
        model[3].weight.copy_(torch.tensor([[1.0, -1.0], [-2.0, 0.5]]))
    scores = synaptic_flow(model, repeat((torch.zeros(1, 1, 1, 2), torch.zeros(1))))
    paths = {"1.weight": [[3.0, 6.0], [4.5, 6.0]], "3.weight": [[3.0, 7.0], [6.0, 3.5]]}
    for name, sums in paths.items():
        assert torch.allclose(7 * scores[name], torch.tensor(sums))


def test_force_takes_the_gradient_behind_the_mask_and_the_weight_before_it(model: nn.Module) -> None:
    """The slope of the pruned network's loss along θ₀, also of a weight that is 0 now."""
    original = {name: model.get_parameter(name).detach().clone() for name in WEIGHTS}
    index = (1, 5)
    with torch.no_grad():
        model.get_parameter("4.weight")[index] = 0
    data = batches(1)
    scores = foresight(model, iter(data), Round(Masks.dense(), original, 0.0), batches=1)

    def moved(step: float) -> nn.Module:
        other = copy.deepcopy(model)
        with torch.no_grad():
            other.get_parameter("4.weight")[index] += (step - 1) * original["4.weight"][index]
        return other

    expected = abs(slope(lambda m: float(loss_of(m, data[0]).detach()), moved))
    assert expected > 0
    assert float(scores["4.weight"][index]) == pytest.approx(expected, rel=1e-5)


def test_taylor_is_the_mean_square_of_what_a_gate_does(model: nn.Module, structure: Structure) -> None:
    data = batches(3)
    scores = squared_effect(model, iter(data), structure, batches=3).nodes
    for node, name, columns in [(2, "4.weight", slice(8, 12)), (3, "6.weight", slice(0, 1))]:

        def gated(factor: float, name: str = name, columns: slice = columns) -> nn.Module:
            other = copy.deepcopy(model)
            with torch.no_grad():
                other.get_parameter(name)[:, columns] *= factor
            return other

        slopes = [slope(lambda m, b=b: float(loss_of(m, b).detach()), gated) for b in data]
        assert float(scores[node]) == pytest.approx(sum(s * s for s in slopes) / 3, rel=1e-4)


def test_gate_decorators_sum_what_the_scales_do(model: nn.Module, structure: Structure) -> None:
    """A gate multiplies what BatchNorm gives, scale and shift; it normalises by the batch; neurons without go last."""
    data = batches(2)
    scores = gate_importance(model, iter(data), structure, batches=2).nodes

    def gated(factor: float) -> nn.Module:
        other = copy.deepcopy(model)
        other[1].train()
        with torch.no_grad():
            other[1].weight[1] *= factor
            other[1].bias[1] *= factor
        return other

    slopes = [slope(lambda m, b=b: float(loss_of(m, b).detach()), gated) for b in data]
    assert float(scores[1]) == pytest.approx(sum(abs(s) for s in slopes), rel=1e-4)
    assert scores[3:].min() > scores[:3].max()


def test_scales_and_norms_of_filters(model: nn.Module, structure: Structure) -> None:
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([0.5, -2.0, 0.1]))
        model[0].weight.fill_(0.25)
        model[0].weight[2, 0, 1, 1] = -3.0
        model[4].weight.fill_(-0.5)
    assert scales(model, iter(()), structure).nodes.tolist() == pytest.approx([0.5, 2.0, 0.1, 5, 5, 5, 5])
    assert filter_norm(model, iter(()), structure).nodes.tolist() == pytest.approx([2.25, 2.25, 5.0, 6, 6, 6, 6])
    assert largest_of_filter(model, iter(()), structure).nodes.tolist() == [0.25, 0.25, 3.0, 0.5, 0.5, 0.5, 0.5]


def test_scales_need_norms(structure: Structure) -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.Linear(4, 3))
    for scorer in (scales, gate_importance):
        with pytest.raises(OptionError, match=r"has (none|one); use taylor"):
            scorer(plain, iter(()), trace(plain, SHAPE))


def test_hoyer_losses_by_hand() -> None:
    """(3 + 4)² / (9 + 16) = 1.96; rows (3, 4) and (0, 0): (5 + 0)² / 25 = 1; columns of norms 3 and 4: 49 / 25."""
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[3.0, -4.0], [0.0, 0.0]]))
    assert hoyer_square(model).item() == pytest.approx(1.96)
    assert group_hoyer_square(model).item() == pytest.approx(1 + 1.96)
    group_hoyer_square(model).backward()
    assert torch.isfinite(model.weight.grad).all()
    norm = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(1, affine=False))
    with torch.no_grad():
        norm[0].weight.copy_(torch.tensor([-0.5, 2.0]))
    assert bn_scales(norm).item() == 2.5


def drop_and_grow(scorer, progress: float, **options) -> Tensor:
    """Ten weights of one layer, five kept: |θ| = 1, 2, 3, 4, 5, the others 0."""
    model = nn.Linear(10, 1, bias=False)
    mask = torch.tensor([[True] * 5 + [False] * 5])
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -2.0, 3.0, -4.0, 5.0, 0, 0, 0, 0, 0]]))
    data = repeat((torch.arange(10.0).view(1, 10), torch.zeros(1, dtype=torch.int64)))
    wide = nn.Sequential(model, nn.Linear(1, 2, bias=False))
    now = Round(Masks({"0.weight": mask}), {}, progress)
    return scorer(wide, data, now, **options)["0.weight"][0]


def test_rigl_drops_the_smallest_and_grows_by_gradient() -> None:
    """The gradient grows with the input 0 to 9. At the start 0.4 of 5 = 2 weights move, half way 1, at the end none."""
    move = [drop_and_grow(by_gradient, progress, fraction=0.4).tolist() for progress in (0.0, 0.5, 0.99)]
    assert move[0] == [0, 0, 1, 1, 1, 0, 0, 0, 1, 1]
    assert move[1] == [0, 1, 1, 1, 1, 0, 0, 0, 0, 1]
    assert move[2] == [1, 1, 1, 1, 1, 0, 0, 0, 0, 0]


def test_set_drops_of_each_sign_the_share_closest_to_zero() -> None:
    """Ten weights of .01 to .1 and ten of -1 to -2: three of each go."""
    model = nn.Linear(20, 2, bias=False)
    values = torch.cat([torch.linspace(0.01, 0.1, 10), torch.linspace(-1, -2, 10)])
    mask = torch.tensor([[True] * 20, [False] * 20])
    with torch.no_grad():
        model.weight.copy_(torch.stack([values, torch.zeros(20)]))
    now = Round(Masks({"weight": mask}), {}, 0.0)
    stays = torch.ones(20, dtype=torch.bool).index_fill(0, torch.tensor([0, 1, 2, 10, 11, 12]), False)
    draws = [at_random(model, iter(()), now)["weight"].bool() for _ in range(8)]
    assert all(bool(draw[0][stays].all()) and int(draw.sum()) == 20 for draw in draws)
    assert torch.stack(draws)[:, 0].all(0).equal(stays)


def test_set_drops_the_smallest_and_grows_at_random() -> None:
    torch.manual_seed(0)
    grown = set()
    for _ in range(40):
        kept = drop_and_grow(at_random, 0.0, fraction=0.4)
        assert kept[2:5].tolist() == [1, 1, 1]
        assert int(kept.sum()) == 5
        grown |= {i for i in range(10) if kept[i] and i not in (2, 3, 4)}
    assert grown == {0, 1, 5, 6, 7, 8, 9}
