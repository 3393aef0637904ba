"""Scores are what their papers say, and pruning reaches exactly what was asked."""

import copy
from itertools import repeat
from pathlib import Path

import pytest
import torch
from torch import nn

from prunectl.criteria.base.criterion import criterion_named
from prunectl.criteria.magnitude import absolute
from prunectl.criteria.random import uniform
from prunectl.criteria.snip import elasticity
from prunectl.data.load import load_data
from prunectl.errors import OptionError, PrunectlError, UnknownName
from prunectl.masks import prunable
from prunectl.models.fresh import fresh
from prunectl.plugins.registry import TABLES
from prunectl.pruning.prune import prune
from tests.helpers.marks import quick
from tests.helpers.networks import checkpoint_of, fresh_checkpoint, image_data, randomise_

SHAPE = (1, 8, 8)


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(3 * 36, 3)
    )


def batch(size: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(size, *SHAPE, generator=generator), torch.arange(size) % 3


@pytest.mark.parametrize("bn", ["running", "batch"])
@pytest.mark.parametrize("loss", ["cross-entropy", "nll-logits"])
def test_elasticity_is_what_finite_differences_say(bn: str, loss: str) -> None:
    """The relative change of the loss for a relative change of one weight, |dL/dθ · θ / L|."""
    model = randomise_(network()).double()
    inputs, labels = batch()
    inputs = inputs.double()

    def value() -> float:
        probe = copy.deepcopy(model).eval()
        probe[1].train(bn == "batch")
        logits = probe(inputs)
        losses = {"cross-entropy": nn.functional.cross_entropy, "nll-logits": nn.functional.nll_loss}
        return float(losses[loss](logits, labels).detach())

    scores = elasticity(model, repeat((inputs, labels)), batches=2, bn=bn, loss=loss)
    for name, index in [("0.weight", (1, 0, 2, 1)), ("0.weight", (2, 0, 0, 0)), ("5.weight", (2, 17))]:
        weight, step = model.get_parameter(name), 1e-6
        with torch.no_grad():
            original = float(weight[index])
            weight[index] = original * (1 + step)
            above = value()
            weight[index] = original * (1 - step)
            below = value()
            weight[index] = original
        expected = abs((above - below) / (2 * step) / value())
        assert float(scores[name][index]) == pytest.approx(expected, rel=1e-5)


def test_elasticity_of_one_weight_in_closed_form() -> None:
    """Logits (w x, 0), label 0: L = log(1 + e^-wx), so |dL/dw · w / L| = (wx / (1 + e^wx)) / log(1 + e^-wx)."""
    model = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[2.0], [0.0]]))
    scores = elasticity(model, iter([(torch.tensor([[1.0]]), torch.tensor([0]))]), batches=1)
    assert scores["weight"][0, 0].item() == pytest.approx(0.2384058 / 0.1269280, rel=1e-5)
    assert scores["weight"][1, 0].item() == 0


def test_magnitude_and_random() -> None:
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -3.0], [0.5, 2.0]]))
    assert absolute(model, iter(()))["weight"].tolist() == [[1.0, 3.0], [0.5, 2.0]]
    torch.manual_seed(0)
    first = uniform(model, iter(()))["weight"]
    torch.manual_seed(0)
    assert torch.equal(first, uniform(model, iter(()))["weight"])


@pytest.mark.parametrize("bn", ["running", "batch"])
def test_scoring_leaves_the_model_as_it_was(bn: str) -> None:
    model = randomise_(network()).train()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    model[4].eval()
    model[5].weight.requires_grad_(False)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    scores = elasticity(model, repeat(batch()), bn=bn)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert [module.training for module in model] == [True, True, True, True, False, True]
    assert torch.equal(model[0].weight.grad, torch.ones_like(model[0].weight))
    assert model[5].weight.grad is None
    assert not model[5].weight.requires_grad
    assert float(scores["5.weight"].sum()) > 0


def test_bn_modes_differ_and_unknown_ones_are_refused() -> None:
    model = randomise_(network())
    running, within = (elasticity(model, repeat(batch()), bn=bn)["0.weight"] for bn in ("running", "batch"))
    assert not torch.allclose(running, within)
    with pytest.raises(UnknownName, match="no BatchNorm mode named 'train'"):
        elasticity(model, repeat(batch()), bn="train")
    with pytest.raises(UnknownName, match="no scoring loss named 'mse'"):
        elasticity(model, repeat(batch()), loss="mse")


def test_scores_that_overflow_are_refused() -> None:
    model = network()
    with torch.no_grad():
        model[5].weight.fill_(float("inf"))
    with pytest.raises(PrunectlError, match=r"the scores of .* are not all finite"):
        elasticity(model, repeat(batch()))


WEIGHTS = [name for name in TABLES["criterion"] if criterion_named(name).unit == "weights"]


@pytest.mark.parametrize("criterion", [name for name in WEIGHTS if not criterion_named(name).needs_training])
@pytest.mark.parametrize("sparsity", quick([0.3, 0.98], [0.98]))
@pytest.mark.parametrize("scope", quick(["global", "layer"], ["global"]))
def test_every_criterion_reaches_the_exact_count(criterion: str, sparsity: float, scope: str) -> None:
    start = fresh_checkpoint(network, SHAPE)
    before = {name: tensor.clone() for name, tensor in start.model.state_dict().items()}
    pruned = prune(start, image_data(), criterion=criterion, sparsity=sparsity, scope=scope, batch_size=16)
    total = 27 + 324
    assert pruned.masks.kept(pruned.model) == total - round(sparsity * total)
    weights = prunable(pruned.model)
    assert all(bool((weights[name][~mask] == 0).all()) for name, mask in pruned.masks.items())
    assert all(bool(mask.any()) for mask in pruned.masks.values())
    assert all(torch.equal(tensor, before[name]) for name, tensor in start.model.state_dict().items())


def test_the_same_seed_prunes_the_same_and_leaves_torch_alone() -> None:
    start, data = fresh_checkpoint(network, SHAPE), image_data()
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    for criterion in ("snipit", "random"):
        one, two, other = (
            prune(start, data, criterion=criterion, sparsity=0.8, batch_size=16, seed=seed) for seed in (0, 0, 1)
        )
        assert all(torch.equal(one.masks[name], two.masks[name]) for name in one.masks)
        assert any(not torch.equal(one.masks[name], other.masks[name]) for name in one.masks)
    assert torch.equal(torch.rand(1), expected)


def test_rounds_follow_the_schedule_and_never_revive() -> None:
    start, data = fresh_checkpoint(network, SHAPE), image_data()
    reached: list[tuple[int, int, float]] = []
    once = prune(start, data, criterion="snip", sparsity=0.5, batch_size=16)
    more = prune(
        once, data, criterion="snipit", sparsity=0.9, steps=2, batch_size=16, report=lambda *r: reached.append(r)
    )
    assert [(i, rounds) for i, rounds, _ in reached] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    expected = [1 - (351 - round(k * 351)) / 351 for k in (0.5, 0.7, 0.8, 0.9)]
    assert [now for _, _, now in reached] == pytest.approx(expected)
    assert not any(bool((more.masks[name] & ~once.masks[name]).any()) for name in once.masks)
    assert [entry.options["sparsity"] for entry in more.history] == [0.5, 0.9]


def test_targets_that_cannot_be_are_refused() -> None:
    start, data = fresh_checkpoint(network, SHAPE), image_data()
    pruned = prune(start, data, criterion="snip", sparsity=0.8, batch_size=16)
    with pytest.raises(OptionError, match=r"already has weight sparsity 0\.8006, 0\.7 was requested"):
        prune(pruned, data, criterion="snip", sparsity=0.7)
    with pytest.raises(OptionError, match="2 layers need at least one weight each, but only 1 would stay"):
        prune(start, data, criterion="magnitude", sparsity=0.998)
    with pytest.raises(OptionError, match="scores on images"):
        prune(start, None, criterion="snip", sparsity=0.7)
    assert prune(start, None, criterion="magnitude", sparsity=0.7).masks


def test_random_masks_do_not_follow_the_initial_weights_of_the_same_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch's default initialisation and the random scores are both uniform draws."""
    monkeypatch.chdir(tmp_path)
    head = "from torch import nn\ndef net(shape, classes):\n    "
    Path("net.py").write_text(head + "return nn.Sequential(nn.Flatten(), nn.Linear(784, classes))")
    begun = fresh("net.py:net", load_data("synthetic"), source="synthetic", seed=0)
    pruned = prune(begun, None, criterion="random", sparsity=0.9, seed=0)
    weight, kept = begun.model[1].weight.detach(), pruned.masks["1.weight"]
    assert abs(float(weight[kept].mean() / weight.std())) < 0.15
    assert float(weight[kept].abs().mean() / weight.abs().mean()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("criterion", ["snip", "synflow", "snap", "cnip"])
def test_a_network_whose_last_layer_is_zero_has_no_scores_to_rank_by(criterion: str) -> None:
    model = network()
    with torch.no_grad():
        model[-1].weight.zero_()
    with pytest.raises(OptionError, match=f"all scores of {criterion} are 0, for example because the last layer"):
        prune(checkpoint_of(model, SHAPE), image_data(), criterion=criterion, sparsity=0.5)


def test_grasp_takes_a_layer_of_zeros_for_one_that_trains() -> None:
    """Behind a last layer of zeros no other layer has a gradient, but the last one does."""
    model = network()
    with torch.no_grad():
        model[-1].weight.zero_()
    scores = criterion_named("grasp").scorer(model, repeat(batch()))
    assert any(bool(score.any()) for score in scores.values())


def test_two_of_four_inputs_of_a_transposed_convolution() -> None:
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ConvTranspose2d(8, 4, 3), nn.Flatten(), nn.Linear(256, 3))
    pruned = prune(checkpoint_of(model, SHAPE), None, criterion="magnitude", scope="2:4")
    mask = pruned.masks["1.weight"]  # (8, 4, 3, 3)
    assert (mask.view(2, 4, 4, 3, 3).sum(1) == 2).all()


def test_imp_is_nothing_without_a_training() -> None:
    with pytest.raises(OptionError, match="imp prunes only during training; run prunectl train --criterion imp"):
        prune(fresh_checkpoint(network, SHAPE), None, criterion="imp", sparsity=0.5)
