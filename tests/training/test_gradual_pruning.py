"""Pruning during training: rounds at their epochs, exact, for good; networks shrink, and stops change nothing."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from prunectl.checkpoints import checkpoint as files
from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.header import ModelSpec
from prunectl.checkpoints.options.pruning import GradualPruning
from prunectl.checkpoints.options.run import Run
from prunectl.checkpoints.original_shapes import nodes_present
from prunectl.errors import OptionError, PrunectlError
from prunectl.masks import prunable
from prunectl.pruning.prune import prune
from prunectl.pruning.shrink import shrink
from prunectl.reporting.rows import report
from prunectl.structure.trace import trace
from prunectl.training import resume
from prunectl.training.recipe import Recipe
from prunectl.training.resume import Paused
from prunectl.training.train import train
from prunectl.training.trainer import Trainer
from tests.helpers.dropout_network import SHAPE, four_channels, network
from tests.helpers.marks import quick, quick_rows
from tests.helpers.networks import checkpoint_of, fresh_checkpoint, image_data, randomise_
from tests.helpers.toys import TOYS

SLOWING = "tests.helpers.optimizers:Slowing"
EVERY_EPOCH = {"prune_delay": 0, "prune_every": 1}
WEIGHTS = 4 * 9 + 6 * 4 * 9 + 24 * 8 + 8 * 3


def start() -> Checkpoint:
    return fresh_checkpoint(network, SHAPE)


def recipe(criterion: str, sparsity: float, epochs: int = 6, **changes) -> Recipe:
    timing = {key: changes.pop(key) for key in list(changes) if key in GradualPruning.__dataclass_fields__}
    during = GradualPruning(criterion, sparsity, **{"steps": 1, **EVERY_EPOCH, **timing})
    return Recipe(epochs=epochs, batch_size=16, prune=during, **changes)


def records_of(trainer: Trainer) -> list[dict]:
    return [record for record in trainer.steps() if record is not None]


def test_rounds_come_after_delay_and_every_and_reach_exact_counts() -> None:
    """k_i of 0.75 with one step: 0.5, 0.625, 0.75."""
    plan = recipe("snapit-during", 0.75, epochs=8, prune_delay=1, prune_every=2)
    records = [r for r in records_of(Trainer(start(), image_data(), plan)) if "eval_loss" in r]
    assert [r["epoch"] for r in records if "pruned" in r] == [3, 5, 7]
    assert [round(18 * r["node_sparsity"]) for r in records] == [0, 0, 0, 9, 9, 11, 11, 14]
    events = [r["pruned"] for r in records if "pruned" in r]
    assert [(e["epoch"], e["nodes"]) for e in events] == [(3, 9), (5, 7), (7, 4)]
    assert records[3]["flops_per_sample"] == records[4]["flops_per_sample"] == events[0]["flops"]
    assert records[7]["flops_per_sample"] == events[2]["flops"] < 0.3 * records[0]["flops_per_sample"]
    spent = [3 * r["flops_per_sample"] * 60 for r in records]
    assert [r["training_flops"] for r in records] == [sum(spent[: i + 1]) for i in range(8)]


@pytest.mark.parametrize(
    ("criterion", "unit", "total"),
    quick_rows(
        [
            ("snipit-during", "weight", WEIGHTS),
            ("cnipit-during", "weight", WEIGHTS),
            ("snapit-during", "node", 18),
            ("magnitude", "weight", WEIGHTS),
            ("structured-random", "node", 18),
        ],
        chosen=(1, 2),
    ),
)
def test_every_criterion_reaches_its_target_and_never_revives(criterion: str, unit: str, total: int) -> None:
    plan = recipe(criterion, 0.7, opt="sgd", lr=0.05, wd=0.1)
    trainer = Trainer(start(), image_data(), plan)
    pruned = 0
    for _ in trainer.steps():
        weights = dict(trainer.model.named_parameters())
        assert all(bool((weights[name][~mask] == 0).all()) for name, mask in trainer.current.masks.items())
        now = WEIGHTS - trainer.current.masks.kept(trainer.model)
        assert now >= pruned
        pruned = now
    result = trainer.result()
    reached = result.history[-1].result[f"{unit}_sparsity"]
    kept = result.masks.kept(result.model) if unit == "weight" else result.history[-1].result["nodes"]
    assert kept == total - round(0.7 * total)
    if criterion != "cnipit-during":
        assert reached == pytest.approx(1 - kept / total)


@pytest.mark.parametrize("opt", quick(["sgd", "adam", "adamw", "rmsprop"], ["adam"]))
def test_every_parameter_of_the_smaller_network_trains_on(opt: str) -> None:
    trainer = Trainer(start(), image_data(), recipe("snapit-during", 0.7, opt=opt, lr=0.01, wd=0.1, sched="cosine"))
    before: dict[str, torch.Tensor] = {}
    widths, rates = [], []
    for _ in trainer.steps():
        now = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
        for name, value in now.items():
            if name in before and before[name].shape == value.shape:
                assert float((value - before[name]).abs().max()) > 0, name
        assert all(p in trainer.learner.optimizer.state for p in trainer.model.parameters())
        widths.append(sum(p.numel() for p in trainer.model.parameters()))
        rates.append(trainer.learner.optimizer.param_groups[0]["lr"])
        before = now
    assert len(set(widths)) == 4
    assert rates == sorted(rates, reverse=True)


def states_equal(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def named(name: str) -> Checkpoint:
    """A checkpoint whose network a file can name."""
    if name == "network":
        return replace(start(), spec=ModelSpec("tests.helpers.dropout_network:built", SHAPE, 3))
    build, shape = TOYS[name]
    begun = checkpoint_of(randomise_(build()), shape)
    return replace(begun, spec=ModelSpec("tests.helpers.toys:built", shape, 3, {"name": name}))


@pytest.mark.parametrize(  # rounds come after steps 3, 6 and 9
    ("name", "criterion", "stops", "changes"),
    quick_rows(
        [
            ("network", "snapit-during", (2, 3, 4, 9), {"ema": 0.9, "sched": "onecycle"}),
            ("network", "cnipit-during", (3, 9), {"opt": "sgd", "lr": 0.05, "clip": 0.5}),
            ("network", "snipit-during", (3, 4), {"ema": 0.9, "noise": 0.01}),
            ("network", "structured-random", (2, 9), {"opt": "rmsprop"}),
            ("encoder-layer", "snapit-during", (4,), {}),
            ("multihead-attention", "snapit-during", (4,), {"opt": "adamw", "ema": 0.9}),
            ("network", "imp", (2, 4, 9), {"rewind_to": 1, "prune_delay": 1, "steps": 2, "sched": "cosine"}),
            ("network", "rigl", (2, 4), {"opt": "sgd", "lr": 0.05}),
            ("network", "imp", (4,), {"rewind_to": 1, "prune_delay": 1, "steps": 2, "opt": SLOWING, "lr": 0.1}),
            ("network", "gate-decorators", (4, 6), {"prune_every": 2, "steps": 2, "ema": 0.9}),
            ("network", "l0", (4, 9), {"prune_every": 3, "ema": 0.9}),
            ("network", "snapit-during", (2, 5), {"prune_delay": "1s", "prune_every": "4s", "ema": 0.9}),
            ("network", "rigl", (4, 5), {"prune_every": "2s", "opt": "sgd", "lr": 0.05, "ema": 0.9}),
            ("network", "set", (2, 7), {"options": {"fraction": "0.9"}, "opt": "sgd", "lr": 0.05}),
            ("network", "granet", (3, 8), {"prune_every": "3s", "steps": None}),
            ("network", "top-kast", (2, 5), {"prune_every": 3, "opt": "adamw", "wd": 0.1, "ema": 0.9}),
            ("network", "sr-ste", (2,), {"prune_every": 3, "sparsity": None, "scope": "2:4"}),
        ],
        chosen=(7, 16),
    ),
)
def test_a_stop_anywhere_changes_nothing(name, criterion, stops, changes, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    begun = named(name)
    data = image_data(48, begun.spec.input)
    plan = recipe(criterion, **{"sparsity": 0.6, "epochs": 5, "prune_every": 1, **changes})
    whole = Trainer(begun, data, plan)
    records = records_of(whole)
    for stop in stops:
        broken = Trainer(begun, data, plan)
        running = broken.steps()
        for _ in range(stop):
            next(running)
        path = tmp_path / f"{stop}.resume.safetensors"
        resume.write(Paused(broken.current, broken.recipe, broken.state(), Run("digits", "a.safetensors")), path)
        torch.manual_seed(99)
        paused = resume.read(path)
        resumed = Trainer(paused.checkpoint, data, paused.recipe, paused.state)
        rest = records_of(resumed)
        assert states_equal(whole.result().model, resumed.result().model), stop
        assert whole.result().history == resumed.result().history
        assert whole.result().edits == resumed.result().edits
        same = [key for key in records[0] if key not in ("seconds", "memory_bytes")]
        assert [[r.get(key) for key in same] for r in rest] == [[r.get(key) for key in same] for r in records[stop:]]


@pytest.mark.parametrize("name", quick(["network", "encoder-layer"], ["network"]))
def test_the_result_loads_and_goes_through_every_other_step(name, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    begun = named(name)
    data = image_data(48, begun.spec.input)
    trained = train(begun, data, recipe("snapit-during", 0.5, outer_layers=False))
    path = tmp_path / "a.safetensors"
    files.write(trained, path)
    loaded = files.read(path)
    images = torch.randn(4, *begun.spec.input)
    assert torch.equal(loaded.model.eval()(images), trained.model.eval()(images))
    total = begun.dense.nodes
    assert nodes_present(loaded) == total - round(0.5 * total) == loaded.history[-1].result["nodes"]
    assert trace(loaded.model, begun.spec.input).nodes == nodes_present(loaded) or name != "network"
    assert report([path])[0]["flops"] == loaded.history[-1].result["flops"] < begun.dense.flops
    more = shrink(prune(loaded, data, criterion="snapit", sparsity=0.7, batch_size=16))
    assert nodes_present(more) == total - round(0.7 * total)
    again = train(more, data, recipe("snapit-during", 0.8))
    assert nodes_present(again) == total - round(0.8 * total)


def test_the_history_has_one_entry_with_every_event() -> None:
    trained = train(start(), image_data(), recipe("snapit-during", 0.6, options={"batches": "2"}, min_nodes=2))
    (entry,) = trained.history
    expected = {
        **{"criterion": "snapit-during", "sparsity": 0.6, "prune_delay": 0, "prune_every": 1, "steps": 1},
        **{"schedule": "snipit", "scope": "global", "options": {"batches": 2}, "min_nodes": 2, "steps": 24},
    }
    assert {key: entry.options[key] for key in expected} == expected
    events = entry.result["events"]
    assert [event["epoch"] for event in events] == [1, 2, 3]
    assert all(event["proof"]["float64"] <= 1e-10 for event in events)
    assert entry.result["nodes"] == events[-1]["nodes"] == 7
    assert entry.result["node_sparsity"] == pytest.approx(11 / 18)
    assert min(min(w.shape) for n, w in list(prunable(trained.model).items())[1:]) >= 2
    assert "criterion" not in train(start(), image_data(), Recipe(epochs=1, batch_size=16)).history[0].options


def test_the_average_follows_and_is_the_pruned_network() -> None:
    trainer = Trainer(start(), image_data(), recipe("snipit-during", 0.8, ema=0.99, opt="sgd"))
    for record in trainer.steps():
        if record and "pruned" in record:
            weights = dict(trainer.learner.ema.network.named_parameters())
            assert all(bool((weights[name][~mask] == 0).all()) for name, mask in trainer.current.masks.items())
    assert trainer.learner.ema.model.n_averaged == 24


def test_multiples_that_overshoot_leave_later_rounds_nothing_to_do() -> None:
    trained = train(start(), image_data(), recipe("snapit-during", 0.6, steps=4, epochs=8, multiple_of=2))
    small = trained.model
    assert (small[0].out_channels % 2, small[3].out_channels % 2, small[8].out_features % 2) == (0, 0, 0)
    assert len(trained.history[-1].result["events"]) == 6


def test_channels_of_the_image_go_too() -> None:
    shape = (4, 8, 8)
    begun = replace(
        checkpoint_of(four_channels(shape, 3), shape),
        spec=ModelSpec("tests.helpers.dropout_network:four_channels", shape, 3),
    )
    trained = train(begun, image_data(48, shape), recipe("snapit-during", 0.75, outer_layers=True))
    assert trained.history[-1].result["node_sparsity"] == pytest.approx(round(0.75 * 18) / 18)
    assert trained.model.eval()(torch.randn(2, *shape)).shape == (2, 3)


def test_pruning_begins_where_the_network_stands() -> None:
    data = image_data()
    pruned = prune(start(), data, criterion="snap", sparsity=0.6, batch_size=16)
    trained = train(pruned, data, recipe("snapit-during", 0.75))
    assert [event["nodes"] for event in trained.history[-1].result["events"]] == [
        4
    ]  # 7 = 18 - round(0.625 * 18) were there
    masked = prune(start(), data, criterion="snip", sparsity=0.3, batch_size=16)
    both = train(masked, data, recipe("snapit-during", 0.5))
    assert both.history[-1].result["node_sparsity"] == 0.5
    assert both.history[-1].result["weight_sparsity"] == pytest.approx(1 - both.masks.kept(both.model) / WEIGHTS)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (
            lambda: recipe("snapit-during", 0.98, epochs=32, prune_delay=4, prune_every=4, steps=5),
            "7 rounds .*`epochs` 33 or more, got 32",
        ),
        (lambda: recipe("snapit-during", 0.95), "node sparsity 0.95 was requested, but 0.8.* is the maximum"),
        (lambda: recipe("snipit-during", 0.999), "4 layers need at least one weight each"),
        (lambda: recipe("snipit-during", 0.5, min_nodes=2), "are for criteria of nodes"),
        (lambda: recipe("snapit-during", 0.5, options={"q": "1"}), "has no option 'q'"),
        (lambda: recipe("snapit-durin", 0.5), "did you mean 'snapit-during'"),
        (lambda: recipe("snapit-during", 1.5), "between 0 and 1"),
        (lambda: recipe("snapit-during", 0.5, prune_every=0), "`prune_every` must be 1 or more"),
    ],
)
def test_what_cannot_work_is_refused_before_training(plan, message: str) -> None:
    with pytest.raises(PrunectlError, match=message):
        Trainer(start(), image_data(), plan())


def test_a_network_that_is_there_already_is_refused() -> None:
    pruned = prune(start(), image_data(), criterion="snap", sparsity=0.6, batch_size=16)
    with pytest.raises(OptionError, match=r"already has node sparsity 0\.6111, 0\.6 was requested"):
        Trainer(pruned, image_data(), recipe("snapit-during", 0.6))
