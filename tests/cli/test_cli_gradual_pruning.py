"""Pruning during training on the command line."""

import json

import pytest

from prunectl.checkpoints.options.data import DataOptions
from prunectl.checkpoints.options.pruning import GradualPruning
from prunectl.checkpoints.options.run import Run
from prunectl.data.load import load_data
from prunectl.models.fresh import fresh
from prunectl.training import resume
from prunectl.training.recipe import Recipe
from prunectl.training.resume import Paused
from prunectl.training.trainer import Trainer

EVERY_EPOCH = {"prune_delay": 0, "prune_every": 1}


def test_a_training_that_prunes_is_resumed_on_the_command_line(cli, tmp_path) -> None:
    data = load_data("digits").subset(300, 0)
    plan = Recipe(epochs=4, batch_size=128, prune=GradualPruning("snapit-during", 0.5, steps=1, **EVERY_EPOCH))
    trainer = Trainer(fresh("lenet300", data, source="digits"), data, plan)
    running = trainer.steps()
    for _ in range(4):
        next(running)
    run = Run("digits", "a.safetensors", DataOptions(subset=300))
    resume.write(Paused(trainer.current, plan, trainer.state(), run), tmp_path / "a.resume.safetensors")
    assert cli("train", "--resume", "a.resume.safetensors") == "a.safetensors\n"
    line = "train --model lenet300 --subset 300 --epochs 4 -c snapit-during -s 0.5 --steps 1"
    cli(*line.split(), "--prune-delay", 0, "--prune-every", 1, "-o", "whole.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert not (tmp_path / "a.mask.safetensors").exists()
    log = [json.loads(text) for text in (tmp_path / "whole.log.jsonl").read_text().splitlines()]
    assert [record["pruned"]["nodes"] for record in log if "pruned" in record] == [200]
    shown = cli("inspect", "whole.safetensors")
    assert "after epoch 1: node sparsity 0.5000, weight sparsity " in shown
    assert "train(4 snapit-during 0.5)" in cli("report", "whole.safetensors", "--csv")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("--prune-every 2", "--prune-every is for pruning during training; add a --criterion"),
        ("--sparsity 0.5", "--sparsity is for pruning during training; add a --criterion"),
        ("--outer-layers", "--outer-layers is for pruning"),
        ("-c snapit-during --prune-every 4", "needs --epochs 33 or more, got 10"),
        (
            "-c snapit-during --epochs 7 -b 8",
            "7 rounds of pruning, one after each epoch, need --epochs 8 or more, got 7; "
            "or use fewer --steps, or --prune-delay 0 and --prune-every 7s",
        ),
        (
            "-c imp --steps 1 --epochs 1 -b 64",
            "1 round of pruning, one after each epoch, needs --epochs 2 or more, got 1",
        ),
        ("-c snapit-durin", "did you mean 'snapit-during'?"),
        ("-c snip --reg l1 -O batches=2", "write reg.batches=2 or criterion.batches=2"),
        ("-c snip --reg l1 -O criterion.q=2 --epochs 9", "criterion snip has no option 'q'"),
        ("-c snip --reg lp -O reg.q=2 --epochs 9", "regularizer lp has no option 'q'"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(line: str, told: str, refused) -> None:
    assert told in refused("train", "--model", "lenet300", "--subset", 64, *line.split())


def test_options_go_to_the_criterion_and_to_the_regulariser(cli) -> None:
    line = "train --model lenet300 --subset 64 --epochs 2 -c snip -s 0.5 --prune-delay 0 --prune-every 1"
    begin = line.split()
    cli(*begin, "-O", "batches=2", "-o", "a.safetensors")
    cli(*begin, "--reg", "lp", "-O", "reg.p=0.5", "-O", "criterion.bn=batch", "-o", "b.safetensors")
    for name, own, other in (("a", {"batches": 2}, {}), ("b", {"bn": "batch"}, {"p": "0.5"})):
        options = json.loads(cli("inspect", f"{name}.safetensors", "--json"))["history"][-1]["options"]
        assert (options["options"], options["reg_options"]) == (own, other)


def test_criteria_lists_when(cli) -> None:
    rows = {row["name"]: row for row in json.loads(cli("criteria", "--json"))}
    for name in ("snipit", "snapit", "cnipit"):
        assert rows[f"{name}-during"] == {**rows[name], "name": f"{name}-during", "when": "during"}
