"""What the commands that led to a checkpoint are told as, and what differs between two."""

import json
import shutil

import pytest
import torch
from torch import nn

from prunectl.checkpoints.diff import diff
from prunectl.checkpoints.results import recorded_accuracy
from prunectl.masks import Masks
from tests.helpers.networks import checkpoint_of
from tests.helpers.running import run_without_torch


def test_the_log_of_a_chain_is_a_graph_without_torch(net, cli, tmp_path):
    cli("eval", "net.safetensors", "--no-latency")
    ran = run_without_torch(tmp_path, "log", "net.prune.shrink.safetensors")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == "o  lenet300, 1x28x28 images of 10 classes, data digits"
    assert [line for line in lines if line.startswith("*")] == [
        "*  train --model lenet300 --data digits --image-size 28 --subset 256",
        "*  prune --criterion magnitude --sparsity 0.98 --schedule one-shot",
        "*  shrink",
    ]
    assert max(len(line) for line in lines) <= 80
    files = [line.split()[-1] for line in lines if line.endswith(".safetensors")]
    assert files == ["net.safetensors", "net.prune.safetensors", "net.prune.shrink.safetensors"]
    assert sum("accuracy" in line for line in lines) == 1
    assert sum("seed 0, cpu" in line for line in lines) == 2


def test_the_log_leaves_out_the_rounds_of_one_shot(tiny, cli):
    cli("prune", tiny, "-c", "snip", "-s", "0.75", "--steps", "7", "-o", "once.safetensors")
    assert "--steps" not in cli("log", "once.safetensors")
    assert "--steps=7" in cli("log", "once.safetensors", "--json")


def test_the_log_as_json_has_whole_commands(tiny, cli):
    record = json.loads(cli("log", tiny.name, "--json"))
    (step,) = record["steps"]
    assert step["line"].startswith(
        "prunectl prune --model=logistic-regression --data=digits --image-size=4 --criterion="
    )
    assert step["line"].endswith(" --seed=0 --device=cpu")
    assert (step["command"], step["parent"], step["file"], step["accuracy"]) == (
        "prune",
        None,
        "tiny.safetensors",
        None,
    )


def test_the_same_bytes_are_the_same(tiny, cli, tmp_path):
    shutil.copy(tiny, tmp_path / "copy.safetensors")
    shutil.copy(tmp_path / "tiny.mask.safetensors", tmp_path / "copy.mask.safetensors")
    assert cli("diff", "tiny.safetensors", "copy.safetensors") == "the same bytes\n"


def test_a_changed_option_is_named(tiny, cli):
    line = "prune --model logistic-regression --image-size 4 --criterion magnitude -s 0.75 -o other.safetensors"
    cli(*line.split())
    cli("eval", "other.safetensors", "--no-latency")
    shown = cli("diff", "tiny.safetensors", "other.safetensors").splitlines()
    assert shown[0] == "step 1, prune: sparsity 0.5 -> 0.75"
    assert shown[-1].startswith("accuracy - -> ")
    assert shown[-1].endswith("; run `prunectl eval tiny.safetensors`")
    assert "1 tensor of the same shape differs: classifier.0.weight" in shown
    row = next(line.split() for line in shown if line.startswith("classifier.0 "))
    assert row[1:5] == ["10x16", "80", "40", "0.5000"]
    assert max(len(line) for line in shown) <= 80
    record = json.loads(cli("diff", "tiny.safetensors", "other.safetensors", "--json"))
    assert record["identical"] is False
    assert record["steps"] == [{"command": "prune", "at": [0, 0], "options": {"sparsity": [0.5, 0.75]}, "versions": {}}]


def test_steps_of_one_alone_and_widths(net, cli):
    shown = cli("diff", "net.safetensors", "net.prune.shrink.safetensors").splitlines()
    assert shown[:3] == ["step 1, train: the same", "step 2, prune: only in B", "step 3, shrink: only in B"]
    record = json.loads(cli("diff", "net.prune.safetensors", "net.prune.shrink.safetensors", "--json"))
    (last,) = [line.split() for line in shown if line.startswith("classifier.0 ")]
    assert last[1:5] == ["in", "100", "->", str(record["layers"][2]["shape"][1][1])]
    assert [line.split()[0] for line in shown if line.startswith(("FLOPs", "bytes"))] == ["FLOPs", "bytes"]
    assert [step["at"] for step in record["steps"]] == [[0, 0], [1, 1], [None, 2]]
    was, now = zip(*(row["shape"] for row in record["layers"]), strict=True)
    assert list(was) == [[300, 784], [100, 300], [10, 100]]
    assert now != was and (now[0][0], now[1][0]) == (now[1][1], now[2][1])
    for row in record["layers"]:  # what went with a node counts as pruned, and nothing comes back
        assert row["jaccard"] == row["kept"][1] / row["kept"][0] <= 1


@pytest.mark.parametrize(("kept", "jaccard"), [((1, 1, 0, 0), 0.5), ((0, 0, 1, 1), 0.0), ((0, 0, 0, 0), 0.0)])
def test_overlap_is_kept_by_both_of_kept_by_either(kept, jaccard):
    ours, theirs = (checkpoint_of(nn.Sequential(nn.Flatten(), nn.Linear(4, 1)), (1, 2, 2), 1) for _ in range(2))
    for checkpoint, value in ((ours, 1.0), (theirs, -2.0)):
        nn.init.constant_(checkpoint.model[1].weight, value)
        nn.init.zeros_(checkpoint.model[1].bias)
    masks = [Masks({"1.weight": torch.tensor([bits], dtype=torch.bool)}) for bits in ((1, 0, 0, 0), kept)]
    pair = [type(c)(**{**vars(c), "masks": m}) for c, m in zip((ours, theirs), masks, strict=True)]
    (row,) = diff(*pair)["layers"]
    assert row["kept"] == [1, sum(kept)]
    assert (row["jaccard"], row["largest_difference"]) == (jaccard, 3.0)
    assert diff(*pair)["largest_difference"] == {"1.weight": 3.0}
    assert diff(pair[0], pair[0])["layers"][0]["jaccard"] == 1


def test_other_networks_have_other_shapes(tiny, net, cli):
    shown = cli("diff", "tiny.safetensors", "net.safetensors").splitlines()
    assert shown[0] == "network: name logistic-regression -> lenet300"
    assert shown[1] == "network: input [1, 4, 4] -> [1, 28, 28]"
    record = json.loads(cli("diff", "tiny.safetensors", "net.safetensors", "--json"))
    assert [(row["name"], row["jaccard"]) for row in record["layers"]] == [("classifier.0.weight", None)]


def test_what_is_no_checkpoint_is_one_line(tiny, refused):
    for command in (
        ["log", "no.safetensors"],
        ["diff", "tiny.safetensors", "no.safetensors"],
        ["rerun", "no.safetensors"],
    ):
        assert "cannot read no.safetensors" in refused(*command)


def test_an_accuracy_is_that_on_the_test_images_of_its_data(tmp_path):
    records = [
        {"data": {"name": "digits"}, "accuracy": 0.9},
        {"data": {"name": "mine", "source": "imagefolder:mine"}, "accuracy": 0.8},
        {"data": {"name": "digits", "tuning": True}, "accuracy": 0.7},
        {"data": {"name": "synthetic"}, "accuracy": 0.1},
    ]
    lines = [json.dumps({"command": "eval", "checkpoint": "aa", **record}) for record in records]
    (tmp_path / "net.results.jsonl").write_text("\n".join(lines))
    found = [
        recorded_accuracy(tmp_path / "net.safetensors", "aa", data)
        for data in ("digits", "imagefolder:mine", "cifar10")
    ]
    assert found == [0.9, 0.8, None]
