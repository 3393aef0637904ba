"""The trainings that come with a criterion: penalties, rewinding, dropping and growing."""

import dataclasses
import itertools

import pytest
import torch
from torch import nn

from prunectl.checkpoints.options.pruning import GradualPruning
from prunectl.criteria import drop_grow
from prunectl.criteria.base.callback import Callback
from prunectl.criteria.base.criterion import Batches, Round
from prunectl.criteria.hoyer import Hoyer
from prunectl.errors import OptionError
from prunectl.masks import prunable
from prunectl.pruning.prune import prune
from prunectl.pruning.shrink import shrink
from prunectl.scores import Scores
from prunectl.training.train import train
from prunectl.training.trainer import Trainer
from tests.helpers.gradual_pruning import SHAPE, network, recipe, start
from tests.helpers.marks import quick
from tests.helpers.networks import checkpoint_of, image_data

# --- hoyer


@pytest.mark.parametrize("criterion", quick(["hoyer-square", "group-hoyer-square"], ["group-hoyer-square"]))
def test_a_penalty_goes_with_an_average(criterion: str) -> None:
    plain, averaged = (train(start(), image_data(), recipe(criterion, 0.5, ema=ema)) for ema in (None, 0.5))
    assert averaged.history[-1].result["events"] == plain.history[-1].result["events"]
    assert not all(
        torch.equal(a, b) for a, b in zip(averaged.model.parameters(), plain.model.parameters(), strict=True)
    )


def test_the_penalty_is_added_until_the_round() -> None:
    """Without a loss to fit, HoyerSquare alone moves the weights, and only before the trim."""
    trainer = Trainer(start(), image_data(), recipe("hoyer-square", epochs=3, options={"strength": "0.01"}))
    assert isinstance(trainer.learner.callback, Hoyer)
    assert trainer.learner.callback.strength == 0.01
    for record in trainer.steps():
        if record and "pruned" in record:
            assert type(trainer.learner.callback) is Callback


@pytest.mark.parametrize("criterion", ["hoyer-square", "group-hoyer-square"])
def test_a_threshold_trims_just_what_is_below(criterion: str) -> None:
    begun = start()
    limit = 0.15 if criterion == "hoyer-square" else 0.19
    pruned = prune(begun, None, criterion=criterion, threshold=limit)
    weights = prunable(begun.model)
    if criterion == "hoyer-square":
        for name, weight in weights.items():
            assert torch.equal(pruned.masks[name], weight.abs() > limit)
    else:
        inner = [weights[name].flatten(1).abs().amax(1) <= limit for name in ("0.weight", "3.weight", "8.weight")]
        low = sum(min(int(layer.sum()), len(layer) - 1) for layer in inner)  # the last one of a layer stays
        assert 0 < low < 18
        assert pruned.history[-1].result["node_sparsity"] == pytest.approx(low / 18)
    assert pruned.history[-1].options["threshold"] == limit


def test_thresholds_that_make_no_sense() -> None:
    with pytest.raises(OptionError, match="`threshold` is one number for all scores and needs `scope` global"):
        prune(start(), None, criterion="magnitude", threshold=0.1, scope="layer")
    with pytest.raises(OptionError, match="use one target: a sparsity, a budget, a threshold"):
        prune(start(), None, criterion="magnitude", threshold=0.1, sparsity=0.5)
    with pytest.raises(OptionError, match="use one target: a sparsity, a budget, a threshold"):
        GradualPruning("imp", 0.5, threshold=0.1)
    with pytest.raises(OptionError, match="rigl keeps one sparsity; use `sparsity`"):
        Trainer(start(), image_data(), recipe("rigl", None, threshold=0.1))


# --- rewinding


def test_rewinding_goes_back_in_every_respect() -> None:
    """After each round: weights, statistics, momentum and learning rate are those at the end of epoch 1, masked."""
    plan = recipe("imp", 0.8, epochs=7, prune_delay=1, prune_every=2, steps=2, rewind_to=1, sched="cosine", lr=0.01)
    trainer = Trainer(start(), image_data(), plan)
    rewind_point: dict[str, torch.Tensor] = {}
    rates = []
    for step, record in enumerate(trainer.steps(), 1):
        rates.append(trainer.learner.optimizer.param_groups[0]["lr"])
        state = trainer.model.state_dict()
        slots = {name: trainer.learner.optimizer.state[p] for name, p in trainer.model.named_parameters()}
        if step == 4:
            rewind_point = {name: tensor.clone() for name, tensor in state.items()}
            ema = {name: slot["exp_avg"].clone() for name, slot in slots.items()}
        if record and "pruned" in record:
            for name, tensor in state.items():
                mask = trainer.current.masks.get(name)
                assert torch.equal(tensor, rewind_point[name] if mask is None else rewind_point[name] * mask), name
            assert all(torch.equal(slot["exp_avg"], ema[name]) for name, slot in slots.items())
            assert rates[-1] == rates[3]
    assert [e["epoch"] for e in trainer.result().history[-1].result["events"]] == [3, 5]
    assert rates[-1] == pytest.approx(0.0, abs=1e-6)  # 1 + (7 - 5) epochs of the schedule: it ends with the training


def test_the_average_rewinds_too() -> None:
    trainer = Trainer(start(), image_data(), recipe("imp", 0.5, epochs=3, prune_every=2, steps=1, ema=0.9, lr=0.05))
    for record in trainer.steps():
        if record and "pruned" in record:
            for name, tensor in trainer.learner.ema.network.state_dict().items():
                mask = trainer.current.masks.get(name)
                first = network().state_dict()[name]
                assert torch.equal(tensor, first if mask is None else first * mask), name
            assert trainer.learner.ema.model.n_averaged == 0


def test_what_cannot_be_rewound() -> None:
    with pytest.raises(OptionError, match="`rewind_to` must come before the first round of pruning"):
        Trainer(start(), image_data(), recipe("imp", 0.8, epochs=9, rewind_to=3))
    with pytest.raises(OptionError, match="`rewind_to` is for criteria that rewind, such as imp; gmp does not"):
        Trainer(start(), image_data(), recipe("gmp", 0.8, epochs=20, rewind_to=1))


def test_rounds_that_a_sparse_network_has_passed_are_left_out() -> None:
    """From 0.8 to 0.9, the first three of five exponential rounds, to .37, .6 and .75, would change nothing."""
    begun = prune(start(), None, criterion="magnitude", sparsity=0.8)
    plan = recipe("imp", 0.9, epochs=6, steps=5, rewind_to=0)
    trainer = Trainer(begun, image_data(), plan)
    states = [trainer.state() for _ in trainer.steps()]
    events = trainer.result().history[-1].result["events"]
    assert [event["epoch"] for event in events] == [1, 2]
    assert [event["weight_sparsity"] for event in events] == pytest.approx([1 - 0.1**0.8, 0.9], abs=1 / 468)
    middle = states[len(states) // 2]  # between the rounds, or behind them
    again = Trainer(trainer.current, image_data(), plan, middle)
    assert again.rounds is not None
    assert again.rounds.times == (4, 8)


# --- drop and grow


@pytest.mark.parametrize(("criterion", "last"), [("rigl", 5), ("set", 7)])
def test_one_sparsity_from_the_first_step_on_and_grown_weights_start_afresh(criterion: str, last: int) -> None:
    """RigL drops and grows before three quarters of eight epochs are over, SET after all but the last."""
    plan = recipe(criterion, 0.7, epochs=8, opt="sgd", lr=0.05)
    trainer = Trainer(start(), image_data(), plan)
    kept = 468 - round(0.7 * 468)
    masks, moved = {}, 0
    for record in trainer.steps():
        assert trainer.current.masks.kept(trainer.model) == kept
        if record and "pruned" in record:
            for name, mask in trainer.current.masks.items():
                assert int(mask.sum()) == int(masks[name].sum())  # as many in every layer
                grown = mask & ~masks[name]
                moved += int(grown.sum())
                weight = trainer.model.get_parameter(name)
                momentum = trainer.learner.optimizer.state[weight]["momentum_buffer"]
                assert bool((momentum[grown] == 0).all())
                assert bool((weight[grown] == 0).all()) == (criterion == "rigl" or not grown.any())
        masks = {name: mask.clone() for name, mask in trainer.current.masks.items()}
    events = trainer.result().history[-1].result["events"]
    assert [event["epoch"] for event in events] == list(range(last + 1))
    assert moved > 50


def test_rigl_counts_its_progress_from_the_first_step_to_three_quarters(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def watched(model: nn.Module, data: Batches, now: Round) -> Scores:
        seen.append(now.progress)
        return Scores({name: (weight != 0).float() for name, weight in prunable(model).items()})

    monkeypatch.setattr(drop_grow, "rigl", dataclasses.replace(drop_grow.rigl, scorer=watched))
    train(start(), image_data(), recipe("rigl", 0.7, epochs=8, prune_delay=1, prune_every=2))
    assert seen[1:] == [3 / 6, 5 / 6]  # before the training its options are tried


@pytest.mark.parametrize("criterion", ["rigl", "set"])
@pytest.mark.parametrize("seed", quick(range(3), [0]))
def test_a_path_that_must_stay_takes_no_weight_from_another_layer(criterion: str, seed: int) -> None:
    torch.manual_seed(seed)
    sizes = (64, 20, 20, 20, 3)
    layers = [nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in itertools.pairwise(sizes)]
    begun = checkpoint_of(nn.Sequential(nn.Flatten(), *layers), SHAPE)
    trainer = Trainer(begun, image_data(), recipe(criterion, 0.985, epochs=5, seed=seed))
    counts = [[int(mask.sum()) for mask in trainer.current.masks.values()] for _ in trainer.steps()]
    assert counts == [counts[0]] * len(counts)


def test_what_cannot_move_is_refused() -> None:
    with pytest.raises(OptionError, match="rigl keeps one sparsity; leave out `schedule`"):
        Trainer(start(), image_data(), recipe("rigl", 0.5, schedule="snipit"))
    for criterion in ("rigl", "set"):
        with pytest.raises(OptionError, match="keeps the number of weights of every layer; leave out `scope`"):
            Trainer(start(), image_data(), recipe(criterion, 0.7, scope="layer"))
        with pytest.raises(OptionError, match="fraction must be a share of the weights between 0 and 1"):
            train(start(), image_data(), recipe(criterion, 0.7, options={"fraction": "2.5"}))
    with pytest.raises(
        OptionError,
        match="force regrows weights with their initial values; use it with prunectl prune, before the training",
    ):
        Trainer(start(), image_data(), recipe("force", 0.7))


def test_force_revives_nothing_of_an_earlier_pruning() -> None:
    once = prune(start(), None, criterion="random", sparsity=0.6)
    more = prune(once, image_data(), criterion="force", sparsity=0.62, steps=6, batch_size=16)
    assert not any(bool((mask & ~once.masks[name]).any()) for name, mask in more.masks.items())
    assert more.masks.kept(more.model) == 468 - round(0.62 * 468)


def test_thresholds_in_rounds_never_ask_for_less() -> None:
    pruned = prune(start(), None, criterion="synflow", threshold=0.1, steps=20)
    assert 0 < pruned.history[-1].result["weight_sparsity"] < 1


def test_a_sparse_network_is_grown_as_it_is() -> None:
    """No second pruning at the start of one that is at the target."""
    sparse = prune(start(), None, criterion="erk", sparsity=0.7)
    made = train(sparse, image_data(), recipe("rigl", 0.7, epochs=4))
    assert [event["epoch"] for event in made.history[-1].result["events"]] == [1, 2]


def test_masked_nodes_do_not_grow_back() -> None:
    nodes = prune(start(), image_data(), criterion="snap", sparsity=0.3, batch_size=16)
    with pytest.raises(OptionError, match="nodes of the network are masked; shrink it first"):
        Trainer(nodes, image_data(), recipe("rigl", 0.9))
    small = shrink(nodes)
    assert train(small, image_data(), recipe("rigl", 0.9)).history[-1].result["weight_sparsity"] > 0.89


def test_gmp_follows_the_cubic_schedule() -> None:
    made = train(start(), image_data(), recipe("gmp", 0.8, epochs=5, steps=4))
    reached = [event["weight_sparsity"] for event in made.history[-1].result["events"]]
    assert reached == pytest.approx([0.8 * (1 - (1 - i / 4) ** 3) for i in (1, 2, 3, 4)], abs=1 / 468)
    layers = [float(mask.float().mean()) for mask in made.masks.values()]
    assert max(layers) - min(layers) < 0.06  # the same share of every layer
