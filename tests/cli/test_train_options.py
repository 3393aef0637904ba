"""Every field of a training's recipe is set by the option of its name."""

import json
from dataclasses import asdict, fields, replace

import pytest

from prunectl.checkpoints.checkpoint import read
from prunectl.checkpoints.options.pruning import GradualPruning
from prunectl.training.recipe import Recipe
from prunectl.training.trainer import Trainer

RECIPE = {
    **{"epochs": 3, "batch_size": 50, "opt": "sgd", "lr": 0.25, "wd": 0.5, "momentum": 0.75, "sched": "cosine"},
    **{"clip": 2.0, "noise": 0.125, "reg": "lp", "reg_weight": 0.0625, "label_smoothing": 0.1, "ema": 0.9},
    **{
        "recalibrate": True,
        "amp": True,
        "compile": True,
        "seed": 7,
        "warmup": 1.5,
        "teacher_weight": 0.25,
        "temperature": 2.0,
    },
}
ADVERSARIAL = {"adv_eps": 0.5, "adv_steps": 2, "adv_loss": "trades", "adv_beta": 3.0}
PRUNING = {
    **{"criterion": "magnitude", "sparsity": 0.5, "prune_delay": 0, "prune_every": 2, "steps": 1},
    **{"schedule": "one-shot", "scope": "layer", "min_nodes": 2, "multiple_of": 4, "outer_layers": True},
    **{"rewind_to": 1, "unit": "nodes", "normalize": "mean", "max_pruned": 0.75},
}
FLAGS = {"batch_size": "--batch-size", "criterion": "--criterion"}


class Begun(Exception):
    """A training has its recipe."""


@pytest.fixture
def recipe_of(raw, monkeypatch):
    """The recipe of a command line, which then does not train."""

    def made(*arguments: object) -> Recipe:
        seen = []

        def begun(self, checkpoint, data, recipe, **options):
            seen.append(recipe)
            raise Begun

        monkeypatch.setattr(Trainer, "__init__", begun)
        with pytest.raises(Begun):
            raw("train", "--model", "lenet300", *arguments)
        return seen[0]

    return made


def line(values: dict) -> list[object]:
    """Options that set these fields."""
    flags = [(FLAGS.get(name, "--" + name.replace("_", "-")), value) for name, value in values.items()]
    return [part for flag, value in flags for part in ([flag] if value is True else [flag, value])]


def test_every_field_of_the_recipe(recipe_of):
    first = recipe_of(*line(RECIPE), "--mixup", "0.2", "--augment", "flip,crop", "-O", "p=0.5")
    assert first == Recipe(**RECIPE, mixup=0.2, augment=("flip", "crop"), reg_options={"p": "0.5"})
    second = recipe_of(*line(ADVERSARIAL))  # does not go with mixup
    assert second == Recipe(**ADVERSARIAL)
    changed = {
        name for made in (first, second) for name, value in asdict(made).items() if value != asdict(Recipe())[name]
    }
    assert changed == {field.name for field in fields(Recipe)} - {"prune"}


def test_every_field_of_the_pruning(recipe_of):
    made = recipe_of(*line(PRUNING), "-O", "a=1", "--keep", "layers.0", "--keep", "head")
    assert made == Recipe(prune=GradualPruning(**PRUNING, options={"a": "1"}, keep=("layers.0", "head")), amp=made.amp)
    changed = {name for name, value in asdict(made.prune).items() if value != asdict(GradualPruning())[name]}
    others = {"threshold", "params", "flops", "size"}  # one target at a time
    assert changed == {field.name for field in fields(GradualPruning)} - others


def test_what_is_left_out_is_the_recipe_s_own_default(recipe_of):
    made = recipe_of()
    assert made == replace(Recipe(), amp=made.amp)
    pruned = recipe_of("--criterion", "snapit-during")
    assert pruned.prune == GradualPruning("snapit-during")
    assert recipe_of("--criterion", "snapit-during", "--threshold", 0.1).prune.sparsity is None


@pytest.mark.parametrize("name", sorted({*PRUNING, "threshold"} - {"criterion"}))
def test_options_of_the_pruning_need_a_criterion(refused, name):
    value = {**PRUNING, "threshold": 0.5}[name]
    flag, *_ = given = line({name: value})
    assert refused("train", "--model", "lenet300", *given) == (
        f"prunectl: {flag} is for pruning during training; add a --criterion, such as snapit-during\n"
    )


@pytest.mark.parametrize(
    ("prune", "train", "said"),
    [("--subset 64", "", True), ("--subset 64", "--subset 64", False), ("", "--subset 64", False)],
)
def test_train_says_where_it_takes_other_images_than_the_step_before(prune: str, train: str, said: bool, raw) -> None:
    raw(*f"prune --model logistic-regression -c magnitude -s 0.5 -o sparse.safetensors {prune}".split())
    ran = raw(*f"train sparse.safetensors --epochs 0 {train}".split())
    assert ran.code == 0
    expected = "prune used --subset 64, this command uses 1,442 training images; add --subset 64 for the same images"
    assert (expected in ran.err) == said


def test_the_accuracy_that_is_printed_is_that_of_the_recalibrated_network(raw, cli, tmp_path):
    line = "train --model resnet20 -M width=4 --image-size 8 --subset 60 -b 30 --epochs 1 --lr 0.01 --recalibrate"
    ran = raw(*line.split(), "-o", "net.safetensors")
    assert ran.code == 0, ran.err
    cli("eval", "net.safetensors", "--no-latency")
    found = json.loads((tmp_path / "net.results.jsonl").read_text())["accuracy"]
    assert f"; recalibrated: {100 * found:.2f}%" in ran.err
    (entry,) = read(tmp_path / "net.safetensors").history
    assert entry.result == {"recalibrated_accuracy": found}
    assert f"recalibrated accuracy {100 * found:.2f}%" in cli("log", "net.safetensors")
