"""`auto`: several criteria, each repaired and measured on held-out training images; the best is kept."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import prunectl
from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.header import read_header
from prunectl.checkpoints.options.pruning import StandalonePruning
from prunectl.data.images import ImageData, Images, Preprocessing
from prunectl.data.load import load_data
from prunectl.errors import OptionError, PrunectlError
from prunectl.measuring.accuracy import Accuracy
from prunectl.models.fresh import fresh
from prunectl.pruning.budget import Budget
from prunectl.pruning.candidates import CANDIDATES, Candidate
from prunectl.pruning.prune import prune
from prunectl.pruning.smallest import LAST, MOST_TRIALS, Search, level_of, share
from prunectl.pruning.trials import MOST_HELD_OUT, Trial, Trials, check_trained, held_out
from prunectl.training.recipe import Recipe
from prunectl.training.train import train


class Unreadable:
    """Test images that nothing may look at."""

    def __getattribute__(self, name):
        raise AssertionError(f"the test images were asked for {name}")


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_data("digits", image_size=8)


@pytest.fixture(scope="module")
def dense(data) -> Checkpoint:
    return train(fresh("mlp5", data, source="digits", options={"hidden": 24}), data, Recipe(epochs=8, lr=5e-3))


@pytest.fixture(scope="module")
def untested(data) -> ImageData:
    return replace(data, test=Unreadable())


@pytest.fixture(scope="module")
def by_sparsity(dense, untested) -> Checkpoint:
    return prune(dense, untested, criterion="auto", sparsity=0.9)


@pytest.fixture(scope="module")
def by_accuracy(dense, untested) -> Checkpoint:
    return prune(dense, untested, criterion="auto", min_accuracy=0.8)


def _tried(checkpoint: Checkpoint) -> list[dict]:
    return checkpoint.history[-1].result["tried"]


def _share_right(checkpoint: Checkpoint, data: ImageData) -> float:
    """On the fifth of the training images that `--tuning` holds out."""
    images = data.tuning().test
    with torch.no_grad():
        guesses = checkpoint.model.eval()(checkpoint.preprocessing(images.pixels)).argmax(1)
    return float((guesses == images.labels).double().mean())


def test_the_best_of_the_table_is_kept(by_sparsity, data) -> None:
    tried = _tried(by_sparsity)
    assert [row["candidate"] for row in tried] == [str(each) for each in CANDIDATES["weights"]]
    (kept,) = [row for row in tried if row["kept"]]
    assert (kept["repaired"], -kept["loss"]) == max((row["repaired"], -row["loss"]) for row in tried)
    assert kept["repaired"] == pytest.approx(_share_right(by_sparsity, data), abs=1e-12)
    assert by_sparsity.masks.kept(by_sparsity.model) == by_sparsity.dense.weights - round(
        0.9 * by_sparsity.dense.weights
    )


def test_one_command_is_in_the_history(by_sparsity, dense, data) -> None:
    entry = by_sparsity.history[-1]
    assert len(by_sparsity.history) == len(dense.history) + 1
    assert {key: entry.options[key] for key in ("criterion", "sparsity", "unit", "repair", "data")} == {
        "criterion": "auto",
        "sparsity": 0.9,
        "unit": "weights",
        "repair": "refit",
        "data": {"name": "digits"},
    }
    assert (entry.result["held_out"], entry.result["dense_accuracy"]) == (288, _share_right(dense, data))


@pytest.mark.long
def test_a_budget_prunes_nodes(dense, untested) -> None:
    found = prune(dense, untested, criterion="auto", budget=Budget.read("flops", "3x"))
    assert [row["candidate"] for row in _tried(found)] == [str(each) for each in CANDIDATES["nodes"]]
    assert found.history[-1].result["flops"] <= found.dense.flops / 3


@pytest.mark.long
def test_the_same_seed_makes_the_same_network(by_sparsity, dense, untested) -> None:
    again = prune(dense, untested, criterion="auto", sparsity=0.9)
    assert again.history[-1] == by_sparsity.history[-1]
    theirs = again.model.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in by_sparsity.model.state_dict().items())


@pytest.mark.long
def test_the_smallest_network_reaches_the_accuracy_and_a_smaller_one_does_not(by_accuracy, data) -> None:
    tried = _tried(by_accuracy)
    (kept,) = [row for row in tried if row["kept"]]
    assert _share_right(by_accuracy, data) == pytest.approx(kept["repaired"], abs=1e-12)
    assert kept["repaired"] >= 0.8
    smaller = [row for row in tried if float(row["params"][:-1]) < float(kept["params"][:-1])]
    assert smaller and all(row["repaired"] < 0.8 for row in smaller)
    next_one = max(float(row["params"][:-1]) for row in smaller)
    assert next_one == pytest.approx(float(kept["params"][:-1]) * share(1), rel=1e-3)
    assert by_accuracy.history[-1].result["parameters"] <= float(kept["params"][:-1]) * by_accuracy.dense.parameters


@pytest.mark.long
def test_a_pruned_network_is_searched_from_where_it_is(dense, by_sparsity, by_accuracy, untested) -> None:
    """A tenth of the weights is left at levels up to 26, as 2^(-27 / 8) = 0.096."""

    def level(checkpoint: Checkpoint, unit: str) -> int:
        options = StandalonePruning(criterion="auto", unit=unit)
        return level_of(Trials(checkpoint, untested, options), CANDIDATES[unit][0], unit)

    assert (level(dense, "weights"), level(dense, "nodes"), level(by_sparsity, "weights")) == (0, 0, 26)
    left = by_accuracy.history[-1].result["parameters"] / by_accuracy.dense.parameters
    assert share(level(by_accuracy, "nodes") + 1) < left <= share(level(by_accuracy, "nodes"))


@pytest.mark.long
def test_the_command_line_prints_the_table_of_the_history(raw, cli, tmp_path) -> None:
    cli("train", "--model", "mlp5", "-M", "hidden=16", "--image-size", 8, "--epochs", 3, "-o", "d.safetensors")
    ran = raw("prune", "d.safetensors", "-c", "auto", "-s", 0.8, "-o", "p.safetensors")
    assert (ran.code, ran.out) == (0, "p.safetensors\n")
    told = ran.err.splitlines()  # a slow machine tells how far it is before the table
    first = next(i for i, line in enumerate(told) if line.startswith("candidate"))
    head, *lines = told[first : first + 6]
    assert head.split() == ["candidate", "at", "once", "repaired"]
    tried = read_header(tmp_path / "p.safetensors")[0].history[-1].result["tried"]
    for line, row in zip(lines, tried, strict=True):
        cells = [row["candidate"], f"{row['at_once']:.2%}", f"{row['repaired']:.2%}", "kept" * row["kept"]]
        assert line.split() == " ".join(cells).split()
    assert "prune --criterion auto --sparsity 0.8 --unit weights --repair refit" in cli("log", "p.safetensors")
    (row,) = json.loads(cli("report", "p.safetensors", "--json"))
    assert row["criterion"] == "auto"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sparsity": 0.5, "normalize": "mean"}, "auto chooses `normalize` itself"),
        ({"sparsity": 0.5, "options": {"batches": 2}}, "no criterion options"),
        ({"sparsity": 0.5, "min_accuracy": 0.5}, "one target.*got sparsity and min_accuracy"),
        ({"sparsity": 0.5, "unit": "both"}, "no unit named 'both'"),
        ({"sparsity": 0.5, "repair": "magic"}, "no repair named 'magic'"),
        ({"flops": "2x", "unit": "weights"}, "`flops` is a target for criteria that prune nodes"),
        ({"min_accuracy": 0}, "above 0 and at most 1"),
        ({"min_accuracy": 0.9, "criterion": "snip"}, "`min_accuracy` is a target for `criterion` auto"),
        ({}, "got none"),
    ],
)
def test_what_auto_cannot_do_is_refused(options, said, dense, data) -> None:
    with pytest.raises(PrunectlError, match=said):
        prunectl.prune(dense, data, **{"criterion": "auto", **options})


def test_a_network_that_guesses_is_refused(data) -> None:
    begun = fresh("mlp5", data, source="digits", options={"hidden": 8})
    with pytest.raises(OptionError, match=r"classifies .* of 288 held-out training images.*train it first"):
        prune(begun, data, criterion="auto", sparsity=0.5)


def test_no_images_are_refused(dense) -> None:
    with pytest.raises(OptionError, match="measures candidates on training images; pass `data`"):
        prune(dense, None, criterion="auto", sparsity=0.5)


def test_an_accuracy_out_of_reach_is_refused(dense, data) -> None:
    labels = data.train.labels
    half = replace(data, train=data.train.relabel((labels + torch.arange(len(labels)) % 2) % 10))
    with pytest.raises(OptionError, match="`min_accuracy` 1 is above the accuracy before pruning"):
        prune(dense, half, criterion="auto", min_accuracy=1.0)


def test_training_refuses_auto(refused) -> None:
    said = refused("train", "--model", "lenet300", "-c", "auto")
    assert "--criterion auto compares candidates on a trained network: train first" in said


@pytest.mark.parametrize(("right", "refused"), [(10, True), (17, True), (18, False), (100, False)])
def test_guessing_is_two_standard_errors_above_the_most_frequent_class(right, refused) -> None:
    """Of 100 images in ten classes, a share of 0.1 + 2 sqrt(0.1 0.9 / 100) = 0.16 is guessed."""
    confusion = torch.full((10, 10), 0)
    confusion[:, 0] = 10
    found = Accuracy(0.0, (right - 1) / 100, 1.0, confusion)
    if refused:
        with pytest.raises(OptionError, match="train it first"):
            check_trained(found)
    else:
        check_trained(found)


@pytest.mark.parametrize(("count", "held"), [(100, 20), (1_009, 201), (30_000, MOST_HELD_OUT)])
def test_a_fixed_fifth_is_held_out(count, held) -> None:
    images = Images(torch.zeros(count, 1, 1, 1, dtype=torch.uint8), torch.arange(count))
    data = ImageData("counted", images, Unreadable(), ("a",), Preprocessing((0.0,), (1.0,)))
    split = held_out(data)
    assert (len(split.test), len(split.train)) == (held, count - int(count * 0.2))
    assert torch.equal(split.test.labels, data.tuning().test.labels[:held])
    assert not torch.isin(split.test.labels, split.train.labels).any()


def test_few_images_are_refused() -> None:
    images = Images(torch.zeros(99, 1, 1, 1, dtype=torch.uint8), torch.zeros(99, dtype=torch.int64))
    data = ImageData("few", images, images, ("a",), Preprocessing((0.0,), (1.0,)))
    with pytest.raises(OptionError, match="expected 100 or more, few has 99"):
        held_out(data)


@given(st.lists(st.integers(0, LAST + 5), min_size=1, max_size=5), st.integers(1, LAST))
def test_the_search_ends_between_a_level_that_passes_and_one_that_fails(limits, first) -> None:
    """Candidate i reaches the accuracy 0.5 up to level limits[i], and is better the higher that is."""
    tried = list[tuple[int, int]]()

    def trial(candidate: Candidate, level: int) -> Trial:
        i = int(candidate.criterion)
        tried.append((i, level))
        return Trial(candidate, None, {"level": level}, Accuracy(0.0, 0.5 + (limits[i] - level) / 200, 1.0, None))

    kept = Search(trial, 0.5, first).run([Candidate(str(i)) for i in range(len(limits))])
    assert len(tried) == len(set(tried)) <= MOST_TRIALS
    assert all(first <= level <= LAST for _, level in tried)
    level = first - 1 if kept is None else kept.row["level"]
    passed = [at for i, at in tried if at <= limits[i]]
    assert level == max(passed, default=first - 1)
    if len(tried) < MOST_TRIALS:
        assert level >= min(limits[0], LAST) or level == first - 1
        assert level == LAST or any(at == level + 1 and at > limits[i] for i, at in tried)
    if len(limits) == 1:
        assert level == max(first - 1, min(limits[0], LAST))


def test_a_candidate_that_does_not_fit_is_a_row_with_its_reason(dense, data) -> None:
    trials = Trials(dense, held_out(data), StandalonePruning(criterion="auto", repair="bn"))
    assert trials.run(Candidate("n:m"), sparsity=0.5) is None
    (row,) = trials.rows
    assert row.keys() == {"candidate", "sparsity", "refused"}
    assert "use one target" in row["refused"]
