"""Training learns, holds pruned weights at zero, and goes on after a stop as if there had been none."""

import json

import pytest
import torch
from torch import nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.data.load import load_data
from prunectl.errors import DataError, DivergedError, OptionError, PrunectlError
from prunectl.models.fresh import fresh
from prunectl.plugins.registry import TABLES
from prunectl.pruning.prune import prune
from prunectl.training.recipe import Recipe, optimizer, scheduler
from prunectl.training.state import State
from prunectl.training.train import train
from prunectl.training.trainer import Trainer
from tests.helpers.marks import quick
from tests.helpers.networks import fresh_checkpoint, image_data

SHAPE = (1, 8, 8)
RECIPES = [
    {},
    {"opt": "adamw", "sched": "onecycle", "ema": 0.9},
    {"opt": "sgd", "lr": 0.05, "sched": "cosine", "clip": 0.1},
    {"opt": "rmsprop", "noise": 0.01, "reg": "lp", "reg_options": {"p": "0.7"}, "label_smoothing": 0.1},
    {"opt": "tests.helpers.optimizers:Slowing", "lr": 0.1},
]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(4 * 36, 3)
    )


def start(sparsity: float = 0.8) -> Checkpoint:
    return prune(fresh_checkpoint(network, SHAPE), image_data(), criterion="snip", sparsity=sparsity, batch_size=16)


def states_equal(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize("opt", TABLES["optimizer"])
def test_momentum_never_revives_a_pruned_weight(opt: str) -> None:
    """Momentum is built on a dense network, then everything goes on with masks: checked after every single step."""
    pruned = start()
    recipe = Recipe(epochs=2, batch_size=16, opt=opt, lr=0.05, momentum=0.9, wd=0.1, noise=0.1)
    dense = Trainer(fresh_checkpoint(network, SHAPE), image_data(), Recipe(epochs=1, batch_size=16, opt=opt, lr=0.05))
    for _ in dense.steps():
        pass
    trainer = Trainer(pruned, image_data(), recipe)
    trainer.learner.optimizer.load_state_dict(
        {
            "state": dense.learner.optimizer.state_dict()["state"],
            "param_groups": trainer.learner.optimizer.state_dict()["param_groups"],
        }
    )
    moved = 0.0
    for _ in trainer.steps():
        weights = dict(trainer.model.named_parameters())
        assert all(bool((weights[name][~mask] == 0).all()) for name, mask in pruned.masks.items())
        moved += float((weights["5.weight"] - pruned.model.get_parameter("5.weight")).detach().abs().sum())
    assert moved > 0


@pytest.mark.parametrize("changes", RECIPES)
@pytest.mark.parametrize("stop", quick([1, 4, 5], [4]))
def test_a_resumed_training_is_bit_identical(changes: dict[str, object], stop: int) -> None:
    recipe, data, begun = Recipe(epochs=3, batch_size=16, augment=("flip", "crop"), **changes), image_data(), start()
    whole = Trainer(begun, data, recipe)
    records = [record for record in whole.steps() if record is not None]
    broken = Trainer(begun, data, recipe)
    steps = broken.steps()
    for _ in range(stop):
        next(steps)
    saved = broken.state()
    del steps
    torch.manual_seed(99)  # whatever happens in between
    state = State(saved.tensors, json.loads(json.dumps(saved.values)))
    resumed = Trainer(begun, data, recipe, state)
    rest = [record for record in resumed.steps() if record is not None]
    assert states_equal(whole.result().model, resumed.result().model)
    assert whole.result().history == resumed.result().history
    same = [key for key in records[0] if key not in ("seconds", "memory_bytes")]
    assert [[r[key] for key in same] for r in rest] == [[r[key] for key in same] for r in records[stop:]]


def test_what_an_interrupted_training_cannot_hold_is_told() -> None:
    trainer = Trainer(
        start(), image_data(), Recipe(epochs=1, batch_size=16, opt="tests.helpers.optimizers:Remembering")
    )
    next(trainer.steps())
    with pytest.raises(OptionError, match="the optimiser keeps a list as 'seen' of a parameter"):
        trainer.state()


def test_a_network_is_not_trained_on_with_what_it_has_seen_held_out() -> None:
    data = image_data()
    seen = train(start(), data, Recipe(epochs=1, batch_size=16))
    with pytest.raises(OptionError, match="`tuning` measures on training images, and this network was trained on"):
        Trainer(seen, data.tuning(), Recipe(epochs=1, batch_size=16))


@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_training_that_may_reuse_its_network_computes_the_same_without_copies(ema: float | None) -> None:
    recipe, data, begun = Recipe(epochs=2, batch_size=16, ema=ema), image_data(), start()
    expected = train(begun, data, recipe)
    trainer = Trainer(begun, data, recipe, reuse=True)
    assert trainer.model is begun.model
    for _ in trainer.steps():
        pass
    state, live = trainer.state(), trainer.state(live=True)
    assert list(state.tensors) == list(live.tensors) and state.values == live.values
    assert all(torch.equal(tensor, live.tensors[name]) for name, tensor in state.tensors.items())
    weight = next(trainer.model.parameters())
    assert live.tensors["model/0.weight"].data_ptr() == weight.data_ptr() != state.tensors["model/0.weight"].data_ptr()
    result = trainer.result(last=True)
    assert result.model is trainer.learner.evaluated()
    assert states_equal(result.model, expected.model) and result.history == expected.history
    assert result.model.training == expected.model.training


def test_draws_outside_do_not_disturb_a_running_training() -> None:
    recipe, data, begun = Recipe(epochs=1, batch_size=16), image_data(), start()
    disturbed = Trainer(begun, data, recipe)
    for _ in disturbed.steps():
        torch.rand(3)
    assert states_equal(disturbed.result().model, train(begun, data, recipe).model)


def test_training_learns_real_digits_dense_and_pruned() -> None:
    data = load_data("digits")
    dense = fresh("lenet300", data, source="digits")
    recipe = Recipe(epochs=3, batch_size=64)
    pruned = prune(dense, data, criterion="snipit", sparsity=0.9)
    for begun in (dense, pruned):
        trainer = Trainer(begun, data, recipe)
        records = [record for record in trainer.steps() if record is not None]
        assert records[-1]["eval_accuracy"] > 0.9
        assert trainer.result().masks.kept(trainer.model) == begun.masks.kept(begun.model)


def test_the_checkpoint_that_comes_in_is_not_changed() -> None:
    begun = start()
    before = {name: tensor.clone() for name, tensor in begun.model.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train(begun, image_data(), Recipe(epochs=1, batch_size=16))
    assert all(torch.equal(tensor, before[name]) for name, tensor in begun.model.state_dict().items())
    assert torch.equal(torch.rand(1), expected)


def test_pruned_weights_do_not_count_in_the_clipped_norm() -> None:
    """With weights in a pruned network set to get huge gradients, an unpruned bias must still move at full length."""
    begun, data = start(0.9), image_data()
    trainer = Trainer(begun, data, Recipe(epochs=1, batch_size=60, opt="sgd", lr=1.0, momentum=0.0, wd=0.0, clip=1e-3))
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    next(trainer.steps())
    moved = (
        sum(float((p.detach() - before[name]).square().sum()) for name, p in trainer.model.named_parameters()) ** 0.5
    )
    assert moved == pytest.approx(1e-3, rel=1e-3)


def test_ema_is_the_result_and_stays_masked() -> None:
    begun, data = start(), image_data()
    trainer = Trainer(begun, data, Recipe(epochs=2, batch_size=16, ema=0.5))
    for _ in trainer.steps():
        pass
    result = trainer.result().model
    assert not states_equal(result, trainer.model)
    weights = dict(result.named_parameters())
    assert all(bool((weights[name][~mask] == 0).all()) for name, mask in begun.masks.items())


@pytest.mark.parametrize(
    ("sched", "warmup", "expected"),
    [
        ("constant", 0, [1.0, 1.0, 1.0, 1.0]),
        ("constant", 2, [1 / 3, 2 / 3, 1.0, 1.0]),
        ("cosine", 0, [1.0, 0.8535534, 0.5, 0.1464466]),
        ("cosine", 2, [1 / 3, 2 / 3, 1.0, 0.5]),
        ("onecycle", 0, [0.04, 0.8117457, 0.2830610, 4e-6]),
    ],
)
def test_learning_rates(sched: str, warmup: int, expected: list[float]) -> None:
    recipe = Recipe(opt="sgd", lr=1.0, sched=sched)
    opt = optimizer(recipe, nn.Linear(1, 1))
    schedule = scheduler(recipe, opt, 4, warmup=warmup)
    rates = []
    for _ in range(4):
        rates.append(opt.param_groups[0]["lr"])
        opt.step()
        schedule.step()
    assert rates == pytest.approx(expected)


def test_regularisers_shrink_weights() -> None:
    begun, data = fresh_checkpoint(network, SHAPE), image_data()
    norms = {}
    for reg in (None, "l1", "lp"):
        recipe = Recipe(epochs=15, batch_size=16, wd=0.0, reg=reg, reg_weight=0.1)
        norms[reg] = float(train(begun, data, recipe).model.get_parameter("5.weight").detach().abs().sum())
    assert norms["l1"] < 0.8 * norms[None]
    assert norms["lp"] < 0.8 * norms[None]


def test_lp_closed_form() -> None:
    from prunectl.training.regularizers.lp import l1, lp

    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -4.0], [0.0, 9.0]]))
    assert l1(model).item() == 14.0
    assert lp(model, p=0.5).item() == pytest.approx(1 + 2 + 0 + 3, abs=2e-3)
    lp(model).backward()
    assert bool(torch.isfinite(model.weight.grad).all())


def test_records_tell_flops_and_progress() -> None:
    begun, data = start(), image_data(65)  # 4 batches of 16; the image left over is dropped
    trainer = Trainer(begun, data, Recipe(epochs=1, batch_size=16))
    records = [record for record in trainer.steps() if record is not None]
    assert [record["step"] for record in records] == [1, 2, 3, 4]
    macs = 4 * 9 * 36 + 144 * 3
    assert records[-1]["flops_per_sample"] == 2 * macs
    assert records[-1]["training_flops"] == 3 * 2 * macs * 64
    assert records[-1]["weight_sparsity"] == pytest.approx(0.8, abs=2e-3)
    assert "eval_accuracy" in records[-1]
    assert "eval_accuracy" not in records[0]


def test_amp_trains_in_bfloat16() -> None:
    seen = []
    begun = start()
    trainer = Trainer(begun, image_data(), Recipe(epochs=1, batch_size=16, amp=True))
    trainer.model[5].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    next(trainer.steps())
    assert seen == [torch.bfloat16]
    assert trainer.model[5].weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": -1}, "`epochs` must be between 0 and"),
        ({"lr": -0.1}, "`lr` must be between 0 and"),
        ({"lr": float("nan")}, "`lr` must be between"),
        ({"batch_size": 1}, "`batch_size` must be between 2 and"),
        ({"ema": 1.5}, "`ema` must be between 0 and 1"),
        ({"label_smoothing": 2.0}, "`label_smoothing` must be between 0 and 1"),
        ({"sched": "step"}, "no learning-rate schedule named 'step'"),
        ({"augment": ("rotate",)}, "no augmentation named 'rotate'"),
    ],
)
def test_recipes_that_cannot_work(changes: dict[str, object], message: str) -> None:
    with pytest.raises(PrunectlError, match=message):
        Recipe(**changes)


def test_trainings_that_cannot_work() -> None:
    data = image_data()
    with pytest.raises(DataError, match="network test takes 1x8x8 images of 3 classes"):
        train(fresh_checkpoint(network, SHAPE), image_data(shape=(1, 9, 9)))
    with pytest.raises(OptionError, match="without a regulariser; name it with `reg`"):
        train(start(), data, Recipe(reg_options={"p": "1"}))
    with pytest.raises(OptionError, match="regularizer lp has no option 'q'"):
        train(start(), data, Recipe(reg="lp", reg_options={"q": "1"}))
    with pytest.raises(DivergedError, match=r"the loss is nan after step .*: training diverged; lower `lr`"):
        train(start(), data, Recipe(epochs=30, opt="sgd", lr=1e3, batch_size=16, wd=1e3))


def test_restored_momentum_has_the_memory_format_of_its_weights() -> None:
    """Fused steps on a gpu, where convolutions are channels_last, refuse anything else."""
    begun, data = start(), image_data(shape=(1, 8, 8))
    trainer = Trainer(begun, data, Recipe(epochs=1, batch_size=16))
    next(trainer.steps())
    saved = trainer.state()
    resumed = Trainer(begun, data, Recipe(epochs=1, batch_size=16))
    resumed.model.to(memory_format=torch.channels_last)
    resumed.learner.load_state_dict(saved.parts)
    for parameter, slots in resumed.learner.optimizer.state.items():
        assert slots["exp_avg"].stride() == parameter.stride()
    assert torch.equal(
        resumed.learner.optimizer.state[resumed.model[0].weight]["exp_avg"],
        trainer.learner.optimizer.state[trainer.model[0].weight]["exp_avg"],
    )


def test_an_optimiser_without_a_fused_step_works() -> None:
    trained = train(start(), image_data(), Recipe(epochs=1, batch_size=16, opt="torch.optim:NAdam"))
    assert trained.history[-1].options["opt"] == "torch.optim:NAdam"


@pytest.mark.parametrize("opt", ["adam", "adamw", "sgd", "torch.optim:Adagrad"])
def test_optimisers_take_the_fused_step_that_torch_has(opt: str) -> None:
    assert optimizer(Recipe(opt=opt), network()).defaults["fused"]
