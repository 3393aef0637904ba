"""Criteria that explore during training: what starts anew, uniform starts, GraNet, Top-KAST and SR-STE."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from prunectl.criteria.sr_ste import SparseRefined
from prunectl.criteria.top_kast import AlwaysSparse
from prunectl.data.sampling import scoring_batches
from prunectl.masks import prunable
from prunectl.torchtools.rng import seed_for
from prunectl.training.pruning_rounds import PruningRounds
from prunectl.training.train import train
from prunectl.training.trainer import Trainer
from tests.helpers.gradual_pruning import recipe, start
from tests.helpers.networks import image_data


@pytest.mark.parametrize("criterion", ["set", "rigl"])
def test_what_is_dropped_and_redrawn_in_a_round_starts_anew(criterion: str) -> None:
    """With a fraction of 1, SET drops every weight, and RigL nearly all in its first rounds."""
    plan = recipe(criterion, 0.5, epochs=8, opt="sgd", lr=0.05, ema=0.5, options={"fraction": "1"})
    trainer = Trainer(start(), image_data(), plan)
    redrawn, before = 0, dict[str, Tensor]()
    for record in trainer.steps():
        masks = trainer.current.masks
        if record and "pruned" in record:
            for name, returned in trainer.rounds.returned.items():
                weight = trainer.model.get_parameter(name)
                both = returned & before[name]
                redrawn += int(both.sum())
                assert bool((trainer.learner.optimizer.state[weight]["momentum_buffer"][returned] == 0).all())
                assert criterion == "set" or bool((weight[returned] == 0).all())
                assert trainer.learner.ema.network.get_parameter(name)[returned].equal(weight[returned])
                if criterion == "set":
                    assert returned.equal(masks[name])
        before = {name: mask.clone() for name, mask in masks.items()}
    assert redrawn > 100


def test_set_acts_after_all_epochs_but_the_last_by_default() -> None:
    made = train(start(), image_data(), recipe("set", 0.5, epochs=4, prune_delay=None, prune_every=None))
    assert [event["epoch"] for event in made.history[-1].result["events"]] == [0, 1, 2, 3]
    assert (made.history[-1].options["prune_delay"], made.history[-1].options["prune_every"]) == (0, 1)


def test_rigl_acts_every_hundred_steps_by_default_and_until_a_share_of_the_training() -> None:
    timing = {"prune_delay": None, "prune_every": None}
    for until, times in ((None, [0, 100, 200]), ("1", [0, 100, 200, 300])):
        options = {} if until is None else {"until": until}
        trainer = Trainer(start(), image_data(), recipe("rigl", 0.5, epochs=80, options=options, **timing))
        assert list(trainer.rounds.times) == times  # 320 steps
        assert trainer.rounds.chosen["prune_every"] == "100s"


def test_a_uniform_start_leaves_the_first_convolution_whole() -> None:
    trainer = Trainer(start(), image_data(), recipe("rigl", 0.7, epochs=4, options={"start": "uniform"}))
    next(trainer.steps())
    masks, weights = trainer.current.masks, prunable(trainer.model)
    first, *others = [float(masks.of(name, weight).float().mean()) for name, weight in weights.items()]
    assert trainer.current.masks.kept(trainer.model) == 468 - round(0.7 * 468)
    assert first == 1
    assert max(others) - min(others) < 0.03


# --- GraNet


def test_a_round_of_granet_prunes_globally_and_then_regrows_within_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recomputed weight by weight: the largest of all stay, of each layer a share goes, the largest gradients come."""
    seen, run = [], PruningRounds.run

    def watched(rounds: PruningRounds, checkpoint, scores=None):
        state = copy.deepcopy(checkpoint.model.state_dict())
        pruned = run(rounds, checkpoint, scores)
        seen.append((len(rounds.events) - 1, state, copy.deepcopy(pruned.model), pruned.masks, rounds._progress))
        return pruned

    monkeypatch.setattr(PruningRounds, "run", watched)
    plan = recipe("granet", 0.6, epochs=7, opt="sgd", lr=0.05, options={"fraction": "0.6"})
    begun, data = start(), image_data()
    made = train(begun, data, plan)
    names = list(prunable(begun.model))
    reached = [event["weight_sparsity"] for event in made.history[-1].result["events"]]
    wanted = [0.6 * (1 - (1 - i / 3) ** 3) for i in (1, 2, 3)] + [0.6] * 3
    assert reached == pytest.approx(wanted, abs=1 / 468)
    progress, pruned_before = [i / 7 for i in range(1, 7)], {name: torch.ones(0) for name in names}
    for i, state, model, masks, _ in seen:
        keep = 468 - round(wanted[i] * 468)
        ranked = sorted((float(state[n].flatten()[j].abs()), n, j) for n in names for j in range(state[n].numel()))
        top = {(n, j) for value, n, j in ranked[-keep:] if value > 0}
        share = 0.6 / 2 * (1 + math.cos(math.pi * progress[i]))
        for name in names:
            mine = sorted((float(state[name].flatten()[j].abs()), j) for n, j in top if n == name)
            stay = {j for _, j in mine[int(share * len(mine)) :]}
            kept = set(torch.nonzero(masks[name].flatten()).flatten().tolist())
            assert stay <= kept, (i, name)
            weight = model.get_parameter(name).detach().flatten()
            assert all(float(weight[j]) == 0 for j in kept - stay)
            pruned_before[name] = masks[name]
    assert len(seen) == 6


def test_granet_grows_where_gradients_are_largest() -> None:
    """The gradient is that of the network pruned so far, over the batch of the round."""
    from prunectl.criteria.base.criterion import Round
    from prunectl.criteria.granet import granet
    from prunectl.masks import Masks

    begun = start()
    masks = Masks({name: w.abs() > w.abs().median() for name, w in prunable(begun.model).items()})
    masks.apply_(begun.model)

    def batches():
        return scoring_batches(image_data().train, begun.preprocessing, torch.device("cpu"), 16, seed_for("prune", 0))

    scores = granet.regrowth(begun.model, batches(), Round(masks, {}, 0.0))
    model = copy.deepcopy(begun.model).train()
    images, labels = next(iter(batches()))
    nn.functional.cross_entropy(model(images), labels).backward()
    for name, weight in prunable(model).items():
        came = scores.anew[name]
        away = scores[name] == 0
        assert int(came.sum()) == int(0.5 * int(masks[name].sum()))
        assert weight.grad.abs()[came].min() >= weight.grad.abs()[away].max() * (1 - 1e-5)


# --- Top-KAST and SR-STE


def test_top_kast_computes_with_a_and_learns_in_b() -> None:
    """Six weights of which 2 compute and 4 learn, by hand."""
    model = nn.Linear(6, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -6.0, 2.0, 5.0, -4.0, 3.0]]))
    before = model.weight.detach().clone()
    callback = AlwaysSparse(model, None, 10, backward=1 / 3, strength=0.5)
    callback.aim_({"weight": torch.tensor([[True, True, False, False, False, False]])}, "layer")
    images = torch.arange(1.0, 7).view(1, 6)
    out = torch.func.functional_call(model, dict(callback.parametrized(model)), (images,))
    assert out.item() == -6 * 2 + 5 * 4
    (out + callback.penalty(model)).backward()
    in_a, in_b = [0, 1, 0, 1, 0, 0], [0, 1, 0, 1, 1, 1]
    decay = [0.5 * b * (1 if a else 3) for a, b in zip(in_a, in_b, strict=True)]  # D = 2 / 6
    wanted = [b * x + d * w for b, x, d, w in zip(in_b, images[0].tolist(), decay, before[0].tolist(), strict=True)]
    assert model.weight.grad[0].tolist() == pytest.approx(wanted)
    callback.after_backward(model)
    with torch.no_grad():
        model.weight.add_(0.25)
    callback.after_step(model)
    assert (model.weight - before)[0].tolist() == pytest.approx([0.25 * b for b in in_b])
    callback.fold_(model)
    assert [bool(w) for w in model.weight[0]] == [bool(a) for a in in_a]


def test_top_kast_prunes_to_the_weights_that_compute() -> None:
    trainer = Trainer(start(), image_data(), recipe("top-kast", 0.75, epochs=4, prune_every=3, opt="adamw", lr=0.05))
    moved, first = torch.zeros(0), {name: w.detach().clone() for name, w in prunable(trainer.model).items()}
    for record in trainer.steps():
        if trainer.step < 12:
            evaluated = trainer.learner.evaluated()
            kept = {name: int((w != 0).sum()) for name, w in prunable(evaluated).items()}
        if trainer.step == 1:
            moved = torch.cat([(w != first[name]).flatten() for name, w in prunable(trainer.model).items()])
        if record and "pruned" in record:
            assert {name: int(mask.sum()) for name, mask in trainer.current.masks.items()} == kept
    assert float(moved.float().mean()) == pytest.approx(0.5, abs=0.01)
    made = trainer.result()
    assert made.masks.kept(made.model) == 468 - round(0.75 * 468)


def test_sr_ste_passes_gradients_straight_through_and_decays_what_is_out() -> None:
    """The gradient at W is that at S(W), plus λ (1 - mask) W."""
    torch.manual_seed(0)
    model = nn.Conv2d(4, 3, 3)
    callback = SparseRefined(model, None, 10, strength=0.3)
    callback.aim_({"weight": torch.zeros(3, 4, 3, 3, dtype=torch.bool)}, "2:4")
    images = torch.randn(2, 4, 5, 5)
    value = torch.func.functional_call(model, dict(callback.parametrized(model)), (images,)).square().sum()
    (value + callback.penalty(model)).backward()
    mask = torch.zeros(3, 4, 3, 3)
    for o, h, w in ((o, h, w) for o in range(3) for h in range(3) for w in range(3)):
        for i in sorted(range(4), key=lambda i: -abs(model.weight[o, i, h, w].item()))[:2]:
            mask[o, i, h, w] = 1
    sparse = nn.Conv2d(4, 3, 3)
    sparse.load_state_dict({"weight": model.weight.detach() * mask, "bias": model.bias.detach()})
    loss = sparse(images).square().sum()
    loss.backward()
    assert value.item() == pytest.approx(loss.item(), rel=1e-6)
    torch.testing.assert_close(model.weight.grad, sparse.weight.grad + 0.3 * (1 - mask) * model.weight.detach())
    callback.fold_(model)
    assert torch.equal(model.weight, sparse.weight)


def test_sr_ste_ends_in_its_pattern() -> None:
    made = train(start(), image_data(), recipe("sr-ste", None, epochs=3, scope="2:4", opt="sgd", lr=0.05))
    name = "3.weight"
    assert bool((made.masks[name].unflatten(1, (-1, 4)).sum(2) == 2).all())
    assert made.history[-1].options["scope"] == "2:4"
