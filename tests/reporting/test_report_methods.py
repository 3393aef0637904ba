"""Methods: which histories are one recipe, and by what words the report tells recipes apart."""

import copy
import json

from prunectl.checkpoints.history import HistoryEntry
from prunectl.reporting.history import differences, pruning_method
from tests.helpers.report_folders import sweep

SNIP = {"criterion": "snip", "sparsity": 0.9, "seed": 0}


def chain(*commands: str, sparsity: float = 0.9, epochs: tuple[int, ...] = (1, 1)) -> list[HistoryEntry]:
    """A history: prune and train in this order, the first pruning to another sparsity than the last."""
    targets, trainings = iter([0.3, 0.9] if commands.count("prune") > 1 else [sparsity]), iter(epochs)
    options = {"prune": lambda: {**SNIP, "sparsity": next(targets)}, "train": lambda: {"epochs": next(trainings)}}
    return [HistoryEntry(command, options.get(command, dict)()) for command in commands]


def test_recipes_differ_in_an_earlier_target_and_not_in_the_last():
    twice = chain("prune", "train", "prune", "train")
    earlier, later = copy.deepcopy(twice), copy.deepcopy(twice)
    earlier[0].options["sparsity"], later[2].options["sparsity"] = 0.8, 0.95
    assert pruning_method(later).recipe == pruning_method(twice).recipe != pruning_method(earlier).recipe
    assert (pruning_method(twice).target, pruning_method(later).target) == (0.9, 0.95)


def test_trainings_that_a_time_limit_stopped_share_a_recipe():
    stopped = [[HistoryEntry("train", {"steps": n, "total_steps": 900})] for n in (411, 415, 900)]
    recipes = [pruning_method(history).recipe for history in stopped]
    assert recipes[0] == recipes[1] != recipes[2]


def test_recipes_have_different_labels():
    histories = [
        *(chain("prune", "train", epochs=(n,)) for n in (1, 2)),
        chain("prune", "shrink", "train"),
        *(chain("prune", "train", "train", epochs=each) for each in ((1, 2), (2, 1))),
    ]
    words = differences([pruning_method(history).recipe for history in histories])
    assert len(set(words)) == len(words)
    assert words[0] == "prune train, train 2: epochs=1"
    assert differences([pruning_method(history).recipe for history in histories[:2]]) == ["epochs=1", "epochs=2"]


def test_a_method_is_named_by_what_it_does_and_not_by_its_files():
    own = {"file": "net.pth", "sha256": "a" * 64}
    same = [[["import", {**own, "sha256": str(i)}], ["prune", {"criterion": "snip", "lr": i}]] for i in range(2)]
    assert differences([json.dumps(recipe) for recipe in same]) == ["lr=0", "lr=1"]
    many = [[["train", {f"option{j}": i for j in range(9)}]] for i in range(2)]
    assert differences([json.dumps(recipe) for recipe in many]) == [
        f"option0={i}, option1={i}, option2={i}, 6 more differences" for i in range(2)
    ]


def test_the_terminal_has_room_for_the_names_of_methods(tmp_path, raw):
    sweep(tmp_path, criteria=("structured-efficient-grasp",), sparsities=(0.5,), seeds=(0, 1))
    shown = raw("report", ".").out.splitlines()
    assert any(line.startswith("structured-efficient-     0.5  65.50") for line in shown)
    assert "grasp" in [line.strip() for line in shown]
    assert all(len(line) <= 80 for line in shown)
