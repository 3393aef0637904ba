"""Gates that take part in a training: hard-concrete ones, and those in BatchNorm."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from prunectl.criteria.base.callback import Callback
from prunectl.criteria.gate_decorators import TickTock
from prunectl.criteria.l0 import HardConcrete
from prunectl.errors import OptionError, PrunectlError
from prunectl.pruning.prune import prune
from prunectl.structure.node_masks import node_masks
from prunectl.structure.trace import trace
from prunectl.training.trainer import Trainer
from tests.helpers.gradual_pruning import SHAPE, network, recipe, start
from tests.helpers.networks import checkpoint_of, image_data

OPEN = 1 / (1 + 11 ** (-2 / 3))  # the probability of a gate that is not 0 at location 0: σ(-β log(0.1 / 1.1))


# --- l0


def gates(location: float = 0.0, **options) -> tuple[nn.Module, HardConcrete]:
    model = network()
    made = HardConcrete(model, trace(model, SHAPE), 100, **options)
    with torch.no_grad():
        made.log_alpha.fill_(location)
    return model, made


def test_the_expected_number_of_weights_and_flops() -> None:
    """With every gate open with probability p: inner weights are there with p², those at image and outputs with p."""
    model, made = gates(strength=50.0)
    inner, outer = 216 + 192, 36 + 24
    expected = OPEN * outer + OPEN**2 * inner
    assert made.penalty(model).item() == pytest.approx(0.5 * expected, rel=1e-5)
    assert made.metrics(model)["expected_weights"] == pytest.approx(expected / (inner + outer), rel=1e-5)
    model, made = gates(strength=50.0, count="flops")
    flops = 2 * (64 * (36 * OPEN + 216 * OPEN**2) + 192 * OPEN**2 + 24 * OPEN)
    assert made.penalty(model).item() == pytest.approx(0.5 * flops, rel=1e-5)


def test_gates_of_test_time_and_of_training() -> None:
    """σ(0) 1.2 - 0.1 = 0.5 at test time; far out they are 0 or 1 exactly; drawn ones are in [0, 1] about the middle."""
    for location, gate in ((0.0, 0.5), (-4.0, 0.0), (4.0, 1.0)):
        model, made = gates(location)
        before = copy.deepcopy(model.state_dict())
        made.fold_(model)
        for name in ("3.weight", "8.weight", "10.weight"):
            assert torch.allclose(model.get_parameter(name), gate * before[name])
        assert torch.equal(model.get_parameter("0.weight"), before["0.weight"])
        assert bool((made.scores(model).nodes <= 0).all()) == (gate == 0)
    model, made = gates(0.0)
    torch.manual_seed(0)
    drawn = torch.stack([made.parametrized(model)["10.weight"] / model.get_parameter("10.weight") for _ in range(400)])
    assert drawn.min() == 0
    assert drawn.max() == 1
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.03)
    assert (drawn > 0).float().mean().item() == pytest.approx(OPEN, abs=0.03)


def test_gates_multiply_every_reader_of_a_node_alike() -> None:
    """A channel's gate scales the nine columns of its 2 x 2 positions, and all of its filters' slices."""
    model, made = gates(4.0)
    with torch.no_grad():
        made.log_alpha[4] = 0.0  # the first channel of the second convolution
    factors = made.parametrized(model)["8.weight"] / model.get_parameter("8.weight")
    assert (factors[:, :4] == factors[0, 0]).all()
    assert (factors[:, 4:] == 1).all()


def test_l0_learns_with_its_penalty_and_ends_in_a_mask() -> None:
    """A strong penalty closes gates, and --threshold 0 prunes just these; what is left is what was evaluated."""
    plan = recipe("l0", None, epochs=30, lr=0.05, threshold=0.0, prune_delay=25, options={"strength": "3"})
    trainer = Trainer(start(), image_data(), plan)
    shares = [r["expected_weights"] for r in trainer.steps() if r and "expected_weights" in r]
    assert shares[0] > 0.6
    assert shares[-1] < 0.5 * shares[0]
    made = trainer.result()
    assert 0 < made.history[-1].result["node_sparsity"] < 1
    assert made.history[-1].result["runs"] == "modules"


def test_a_closed_gate_is_a_removed_node() -> None:
    """The folded network without the nodes of closed gates computes what the folded network does."""
    model, made = gates(1.0)
    with torch.no_grad():
        made.log_alpha[[1, 5, 12]] = -4.0
    begun = checkpoint_of(model, SHAPE)
    model.eval()
    made.fold_(model)
    images = torch.randn(4, *SHAPE)
    expected = model(images).detach()
    masks = node_masks(trace(model, SHAPE), made.scores(model).nodes <= 0, model)
    masks.apply_(model)
    assert torch.allclose(model(images), expected, atol=1e-6)
    assert sum(int((~m).sum()) > 0 for m in masks.values()) > 0
    assert begun.dense.nodes == 18


def test_gates_are_averaged_with_the_network() -> None:
    """What is evaluated is the averaged network behind averaged gates."""
    trainer = Trainer(start(), image_data(), recipe("l0", epochs=3, prune_every=2, ema=0.5, lr=0.05))
    for step, _ in enumerate(trainer.steps(), 1):
        if step == 3:
            gates = trainer.learner.ema.callback.module
            assert not torch.equal(gates.log_alpha, trainer.learner.callback.log_alpha)
            expected = copy.deepcopy(trainer.learner.ema.network)
            gates.fold_(expected)
            found = trainer.result().model.state_dict()
            assert all(torch.equal(tensor, found[name]) for name, tensor in expected.state_dict().items())


def test_gates_train_beside_the_network_and_leave_with_the_round() -> None:
    trainer = Trainer(start(), image_data(), recipe("l0", epochs=3, prune_every=1, sched="onecycle", lr=0.01))
    first = trainer.learner.callback.log_alpha.detach().clone()
    for record in trainer.steps():
        if isinstance(trainer.learner.callback, HardConcrete):
            assert not torch.equal(trainer.learner.callback.log_alpha, first)
        if record and "pruned" in record:
            assert type(trainer.learner.callback) is Callback
            assert [len(group["params"]) for group in trainer.learner.optimizer.param_groups][1] == 0
    assert type(trainer.learner.callback) is Callback


def test_l0_refuses_what_it_does_not_know() -> None:
    with pytest.raises(OptionError, match="count weights or flops; got"):
        gates(count="nodes")
    with pytest.raises(OptionError, match="l0 prunes only during training"):
        prune(start(), image_data(), criterion="l0", sparsity=0.5)


def test_nodes_that_are_masked_away_do_not_count() -> None:
    """Of 4 + 6 + 8 nodes the first two go: half of the first layers' weights are left."""
    model, made = gates()
    whole = made.penalty(model).item()
    made.without_(torch.arange(18) < 2)
    weights = 0.5 * OPEN * 36 + 0.5 * OPEN**2 * 216 + OPEN**2 * 192 + OPEN * 24
    assert made.penalty(model).item() == pytest.approx(0.1 / 100 * weights, rel=1e-5)
    assert made.penalty(model).item() < whole
    begun = start()
    structure = trace(begun.model, SHAPE)
    masked = replace(begun, masks=node_masks(structure, torch.arange(18) < 2, begun.model))
    trainer = Trainer(masked, image_data(), recipe("l0", 0.5))
    assert trainer.learner.callback.present.tolist() == [0.0] * 2 + [1.0] * 16


@pytest.mark.parametrize("criterion", ["l0", "gate-decorators", "hoyer-square", "group-hoyer-square"])
def test_a_penalty_is_not_negative(criterion: str) -> None:
    plan = recipe(criterion, 0.5, epochs=30, options={"strength": "-1"})
    with pytest.raises(OptionError, match="strength must be 0 or more, got -1"):
        Trainer(start(), image_data(), plan)


@pytest.mark.parametrize(
    ("criterion", "options", "message"),
    [
        ("snipit-during", {"bn": "bach"}, "no BatchNorm mode named 'bach'"),
        ("snipit-during", {"batches": "0"}, "batches must be 1 or more"),
        ("taylor", {"loss": "ce"}, "no scoring loss named 'ce'"),
        ("iterative-grasp", {"temperature": "0"}, "the temperature must be above 0"),
        ("rigl", {"fraction": "1.5"}, "fraction must be a share of the weights between 0 and 1, got 1.5"),
        ("set", {"fraction": "-0.1"}, "fraction must be a share of the weights between 0 and 1, got -0.1"),
    ],
)
def test_what_the_first_round_would_refuse_is_refused_before_the_training(
    criterion: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(PrunectlError, match=message):
        Trainer(start(), image_data(), recipe(criterion, 0.5, epochs=30, options=options))


# --- tick and tock


def test_in_a_tick_no_convolution_trains_and_in_a_tock_all_do() -> None:
    """With a round after every second epoch: tock, tick, tock, tick."""
    trainer = Trainer(start(), image_data(), recipe("gate-decorators", epochs=5, prune_every=2, steps=2, opt="sgd"))
    before: dict[str, torch.Tensor] = {}
    for step, _ in enumerate(trainer.steps()):
        now = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
        moved = {
            n for n, p in now.items() if n in before and p.shape == before[n].shape and not torch.equal(p, before[n])
        }
        if step % 4 in (1, 2) and step < 16:  # the last step of an epoch may be followed by a removal
            tick = (step // 4) % 2 == 1
            assert set(now) - moved == ({"0.weight", "0.bias", "3.weight"} if tick else set()), step
        before = now
    assert all(p.requires_grad for p in trainer.result().model.parameters())


def test_a_tick_adds_up_what_gates_on_scale_and_shift_do_and_a_tock_penalises_them() -> None:
    model = network()
    nn.init.uniform_(model[1].bias)
    made = TickTock(model, trace(model, SHAPE), 100, strength=0.5)
    made.on_epoch_start(model, due=True)
    inputs, labels = torch.randn(8, *SHAPE), torch.arange(8) % 3
    loss = nn.functional.cross_entropy(model(inputs), labels)
    loss.backward()
    made.after_backward(model)
    gates = torch.ones(4, requires_grad=True)
    after = model[1].register_forward_hook(lambda module, inputs, output: output * gates.view(-1, 1, 1))
    (expected,) = torch.autograd.grad(nn.functional.cross_entropy(model(inputs), labels), gates)
    after.remove()
    assert torch.allclose(made.importance[:4], expected.abs(), atol=1e-6)
    assert made.importance[10:].tolist() == [0] * 8
    assert made.penalty(model) is None
    made.on_epoch_start(model, due=False)
    assert made.penalty(model).item() == pytest.approx(0.5 * 10)  # ten scales of 1
    made.after_backward(model)
    assert torch.allclose(made.importance[:4], expected.abs(), atol=1e-6)
    assert made.scores(model).nodes[10:].min() > made.scores(model).nodes[:10].max()


def test_gates_need_a_norm_that_trains() -> None:
    frozen = network()
    frozen[4].weight.requires_grad_(False)
    with pytest.raises(OptionError, match=r"gate decorators train the scales of BatchNorm, but 4.weight is frozen"):
        TickTock(frozen, trace(frozen, SHAPE), 100)
    outside = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 3))
    with pytest.raises(OptionError, match="but no node has one; use taylor"):
        TickTock(outside, trace(outside, SHAPE), 100)
