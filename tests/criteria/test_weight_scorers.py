"""Wanda, ProsPr, NTK-SAP and PHEW: closed forms, slow computations, and what every walk is."""

import copy
from itertools import repeat

import pytest
import torch
from torch import Tensor, nn

from prunectl.criteria import phew
from prunectl.criteria.ntk_sap import tangent_spectrum
from prunectl.criteria.phew import on_walks
from prunectl.criteria.prospr import meta_gradient
from prunectl.criteria.wanda import weight_times_input
from prunectl.errors import OptionError
from prunectl.scores import Scores
from prunectl.structure.trace import trace
from tests.helpers.criterion_networks import SHAPE, Residual, depthwise
from tests.helpers.networks import randomise_
from tests.helpers.toys import TOYS


def batch(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator), torch.arange(shape[0]) % 3


def test_wanda_multiplies_by_the_norm_of_every_input() -> None:
    """Inputs (3, 1) and (4, 0) have norms 5 and 1 by feature."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0, -2.0], [0.0, 3.0]]))
    images = torch.tensor([[3.0, 1.0], [4.0, 0.0]]).view(2, 1, 1, 2)
    scores = weight_times_input(model, iter([(images, torch.zeros(2))]), images=2)
    assert scores["1.weight"].tolist() == [[5, 2], [0, 3]]


def test_wanda_takes_a_convolution_for_the_linear_layer_of_its_patches() -> None:
    conv = nn.Conv2d(2, 4, 3, padding=1, stride=2, dilation=2)
    images, labels = batch(3, 2, 8, 8)
    scores = weight_times_input(conv, iter([(images, labels)]), images=3)["weight"]
    patches = nn.functional.unfold(images, 3, padding=1, stride=2, dilation=2)  # (3, 2 · 9, places)
    norms = patches.square().sum((0, 2)).sqrt().view(1, 2, 3, 3)
    assert torch.allclose(scores, conv.weight.detach().abs() * norms, rtol=1e-4)


def test_wanda_of_grouped_and_transposed_convolutions() -> None:
    images, labels = batch(3, 4, 5, 5)
    alone, back = nn.Conv2d(4, 4, 1, groups=4), nn.ConvTranspose2d(4, 2, 3)
    norms = images.square().sum((0, 2, 3)).sqrt().view(4, 1, 1, 1)
    for layer in (alone, back):  # every weight of a channel multiplies all of its values
        scores = weight_times_input(layer, iter([(images, labels)]), images=3)["weight"]
        assert torch.allclose(scores, layer.weight.detach().abs() * norms, rtol=1e-4)


def test_wanda_sees_the_inputs_within_attention() -> None:
    build, shape = TOYS["multihead-attention"]
    scores = weight_times_input(randomise_(build()), iter([batch(4, *shape)]), images=4)
    assert all(float(score.max()) > 0 for score in scores.values())


@pytest.mark.parametrize("updates", [1, 3])
def test_prospr_is_the_slope_of_the_loss_after_steps_of_sgd(updates: int) -> None:
    """Torch's own optimiser trains from a weight that is 1e-4 larger and smaller, relatively."""
    model = randomise_(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3)))
    model = model.double()
    data = [(images.double(), labels) for images, labels in (batch(6, 1, 4, 4, seed=i) for i in range(updates + 1))]
    scores = meta_gradient(model, iter(data), updates=updates, rate=0.5)

    def loss(name: str, index: tuple[int, ...], factor: float) -> float:
        trained = copy.deepcopy(model).train()
        with torch.no_grad():
            trained.get_parameter(name)[index] *= factor
        optimiser = torch.optim.SGD(trained.parameters(), lr=0.5)
        for images, labels in data[:-1]:
            optimiser.zero_grad()
            nn.functional.cross_entropy(trained(images), labels).backward()
            optimiser.step()
        return float(nn.functional.cross_entropy(trained(data[-1][0]), data[-1][1]).detach())

    for name, index in [("0.weight", (1, 0, 2, 1)), ("4.weight", (2, 5))]:
        slope = (loss(name, index, 1 + 1e-4) - loss(name, index, 1 - 1e-4)) / 2e-4
        assert scores[name][index].item() == pytest.approx(abs(slope), rel=1e-4)


def test_prospr_leaves_pruned_weights_at_zero() -> None:
    """Where the only weight to an output is pruned, no update of it can help another."""
    model = randomise_(nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False), nn.Linear(2, 3))).double()
    with torch.no_grad():
        model[1].weight[0] = 0
    images, labels = batch(6, 1, 2, 2)
    scores = meta_gradient(model, repeat((images.double(), labels)), updates=2, rate=1.0)
    assert scores["1.weight"][0].tolist() == [0.0] * 4
    assert scores["2.weight"][:, 0].tolist() == [0.0] * 3
    with pytest.raises(OptionError, match=r"updates must be 1 or more and rate above 0, got 0 and 0\.1"):
        meta_gradient(model, repeat((images, labels)), updates=0)


def test_ntk_sap_of_a_linear_layer_is_known() -> None:
    """‖(Δ m) x‖² has the derivative 2 Σ (Δ x)_i Δ_ij x_j, whatever the weights are."""
    images, found = torch.zeros(1, 1, 1, 3), []
    for seed in (1, 2):
        model = randomise_(nn.Sequential(nn.Flatten(), nn.Linear(3, 2)), seed)
        torch.manual_seed(0)
        found.append(tangent_spectrum(model, repeat((images, images)), images=5, draws=1, epsilon=0.1)["1.weight"])
    torch.manual_seed(0)
    x = torch.randn(5, 1, 1, 3).flatten(1)
    nn.init.kaiming_normal_(torch.empty(2, 3))
    delta = 0.1 * torch.randn(2, 3)
    expected = (2 * (x @ delta.T).T @ x * delta).abs()
    assert torch.allclose(found[0], expected, rtol=1e-4, atol=1e-6)
    assert torch.allclose(found[0], found[1], rtol=1e-4, atol=1e-6)


def test_ntk_sap_knows_pruned_weights_as_zeros() -> None:
    """Behind a layer that is pruned but for one weight, only the node that it reaches has influence."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 2, bias=False), nn.ReLU(), nn.Linear(2, 3))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[0.0, 0, 0], [0, 0.7, 0]]))
    images = torch.zeros(1, 1, 1, 3)
    torch.manual_seed(0)
    scores = tangent_spectrum(model, repeat((images, images)), images=20)
    assert scores["3.weight"][:, 0].tolist() == [0.0] * 3
    assert scores["3.weight"][:, 1].min() > 0
    with pytest.raises(OptionError, match="epsilon above 0, got 20, 1 and 0"):
        tangent_spectrum(model, repeat((images, images)), images=20, epsilon=0)


def walks_of(model: nn.Module, shape: tuple[int, int, int], walks: int, seed: int = 0) -> Scores:
    torch.manual_seed(seed)
    return on_walks(model, repeat((torch.zeros(1, *shape), torch.zeros(1))), walks=walks)


@pytest.mark.parametrize("walks", [1, 2])
def test_a_walk_takes_one_weight_of_every_layer_and_they_follow_each_other(walks: int) -> None:
    """The first from the image's channel 0, the second, back, from output 0."""
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.Flatten(), nn.Linear(20, 3))
    scores = walks_of(model, (2, 6, 6), walks)
    weight = 2 - walks / (walks + 1)
    one, two, three = (torch.nonzero(score == score.new_tensor(weight))[0].tolist() for score in scores.values())
    assert two[1] == one[0]
    assert three[1] // 4 == two[0]  # each channel is flattened to four features
    assert (one[1] == 0) if walks == 1 else (three[0] == 0)
    assert all(int((score > 1).sum()) <= walks for score in scores.values())


def test_walks_prefer_large_weights() -> None:
    """100 weights of 9 and 300 of 1: of 40 walks from the image, 30 ± 3 take a large one."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 400, bias=False), nn.Linear(400, 1, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([9.0] * 100 + [-1.0] * 300).view(400, 1))
    scores = walks_of(model, (1, 1, 1), 80)["1.weight"].flatten()
    numbers = ((2 - scores) * 81 - 1).round()
    forth = torch.nonzero((scores > 1) & (numbers % 2 == 0)).flatten()
    assert 30 <= len(forth) <= 40
    assert 0.6 <= float((forth < 100).float().mean()) <= 0.9


def test_walks_leave_out_blocks_of_a_residual_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the stem a walk takes the first block, the second, both or none, each with probability 1/4."""
    seen, structure = set(), trace(Residual(), SHAPE)
    monkeypatch.setattr(phew, "trace", lambda *_: structure)
    for seed in range(40):
        scores = walks_of(Residual(), SHAPE, 1, seed)
        on = {name: int((score > 1).sum()) for name, score in scores.items()}
        assert on["stem.0.weight"] == on["head.weight"] == 1
        blocks = tuple(on[f"blocks.{i}.{layer}.weight"] for i in (0, 1) for layer in (0, 3))
        assert blocks[0] == blocks[1]
        assert blocks[2] == blocks[3]
        seen.add((blocks[0], blocks[2]))
    assert seen == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_walks_stay_in_their_channel_in_a_depthwise_convolution() -> None:
    scores = walks_of(depthwise(), SHAPE, 1)
    one, own, two, head = (torch.nonzero(score > 1)[0].tolist() for score in scores.values())
    assert own[0] == one[0] == two[1]
    assert head[1] == two[0]


def test_what_is_on_no_walk_ranks_by_its_share_of_the_layer() -> None:
    """There are no more walks when half of the six weights are on one; a weight of 0 never is."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 3, bias=False), nn.Linear(3, 1, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0], [0.0], [3.0]]))
    scores = walks_of(model, (1, 1, 1), 1)
    below = [score for score in scores["1.weight"].flatten().tolist() if score <= 1]
    assert len(below) == 2
    assert set(below) <= {0.0, 0.25, 0.75}
    assert walks_of(model, (1, 1, 1), 10_000)["1.weight"][1].item() == 0
    with pytest.raises(OptionError, match="walks must be 1 or more, got 0"):
        walks_of(model, (1, 1, 1), 0)


def test_layers_follow_each_other_as_they_are_called() -> None:
    """Not as the network holds them."""

    class Reversed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.hidden, self.first = nn.Linear(4, 3), nn.Linear(5, 4), nn.Linear(2, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.relu(self.hidden(torch.relu(self.first(x.flatten(1))))))

    scores = walks_of(Reversed(), (1, 1, 2), 1)
    first, hidden, head = (torch.nonzero(scores[f"{name}.weight"] > 1)[0] for name in ("first", "hidden", "head"))
    assert (hidden[1], head[1]) == (first[0], hidden[0])


def test_walks_pass_layers_that_mix_tokens() -> None:
    build, shape = TOYS["token-mixer"]
    scores = walks_of(build(), shape, 20)
    assert all(bool((score > 1).any()) for score in scores.values())


def test_wanda_of_a_weight_that_is_used_transposed_too() -> None:
    """(1, 2) is read by rows, and (3, 4, 5), what comes out, by columns."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(self.layer(x.flatten(1)), self.layer.weight.T)

    model = Tied()
    with torch.no_grad():
        model.layer.weight.copy_(torch.tensor([[1.0, 1], [2, 1], [1, 2]]))
    scores = weight_times_input(model, iter([(torch.tensor([1.0, 2]).view(1, 1, 1, 2), torch.zeros(1))]), images=1)
    norms = torch.tensor([[1.0, 4]]) + torch.tensor([[9.0], [16], [25]])
    assert torch.allclose(scores["layer.weight"], model.layer.weight.detach() * norms.sqrt())


def test_wanda_is_the_size_of_a_weight_whose_inputs_nothing_shows() -> None:
    build, shape = TOYS["weight-standardised"]
    model = randomise_(build())
    scores = weight_times_input(model, iter([batch(4, *shape)]), images=4)
    assert torch.equal(scores["body.0.weight"], model.get_parameter("body.0.weight").detach().abs())
