"""`eval --against`: two networks on the same images and in turns, and what cannot be compared."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import prunectl
from prunectl.checkpoints.record_checks import check_result
from prunectl.errors import OptionError
from prunectl.measuring.runtimes import Ready
from prunectl.measuring.side_by_side import check_alike, evaluate_beside, timings_beside
from tests.helpers.networks import checkpoint_of, image_data

SHAPE = (1, 8, 8)
KEYS = {"runtime", "batch", "median_s", "low_s", "high_s", "iqr_s", "runs"}
RATIO = {"ratio", "ratio_low", "ratio_high"}


def names(bias: float) -> nn.Sequential:
    """A network that names class 0 or class 1 for every image."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    with torch.no_grad():
        network[1].weight.zero_()
        network[1].bias.copy_(torch.tensor([bias, -bias, -9.0]))
    return network


def test_the_ratio_is_that_of_this_network_to_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def takes(seconds: float) -> Ready:
        return Ready(lambda: clock.__setitem__(0, clock[0] + seconds))

    monkeypatch.setattr("prunectl.measuring.latency.perf_counter", lambda: clock[0])
    ours, theirs = timings_beside(lambda _, batch: (takes(0.01 * batch), takes(0.04 * batch)), ["eager"])
    assert [each["median_s"] for each in ours] == pytest.approx([0.01, 0.64])
    assert [each["median_s"] for each in theirs] == pytest.approx([0.04, 2.56])
    assert [each[key] for each in theirs for key in sorted(RATIO)] == pytest.approx([0.25] * 6)


def test_both_classify_the_same_images(quick_timing: None) -> None:
    data = image_data()
    one, other = (checkpoint_of(names(bias), SHAPE) for bias in (1.0, -1.0))
    record, theirs = evaluate_beside(one, other, data, runtimes=("eager",))
    assert theirs["accuracy"] == record["against"]["accuracy"]
    shares = [float((data.test.labels == label).float().mean()) for label in (0, 1)]
    assert (record["accuracy"], record["against"]["accuracy"]) == (pytest.approx(shares[0]), pytest.approx(shares[1]))
    assert record["against"]["accuracy_difference"] == pytest.approx(shares[0] - shares[1])
    assert [set(each) for each in record["latency"]] == [KEYS] * 2
    assert [set(each) for each in record["against"]["latency"]] == [KEYS | RATIO] * 2
    check_result(json.loads(json.dumps({"command": "eval", **record})))


def test_each_network_has_its_own_order_of_the_classes(quick_timing: None) -> None:
    data, one = image_data(), checkpoint_of(names(1.0), SHAPE)
    data = replace(data, test=data.test.take((data.test.labels == 0).nonzero().flatten()))
    swapped = (data.classes[1], data.classes[0], *data.classes[2:])
    other = replace(checkpoint_of(names(-1.0), SHAPE), names=swapped)  # its class 1 is class 0 of the data
    record, theirs = evaluate_beside(one, other, data, with_latency=False)
    assert record["accuracy"] == theirs["accuracy"] == record["against"]["accuracy"] == 1


def test_networks_of_different_tasks_are_refused() -> None:
    line = "^`against` compares networks of one task, found images of 1x8x8 and 3 classes, against images of 3"
    with pytest.raises(OptionError, match=line):
        check_alike(((1, 8, 8), 3), ((3, 8, 8), 3))
    with pytest.raises(OptionError, match="one task"):
        evaluate_beside(checkpoint_of(names(1), SHAPE), checkpoint_of(names(1), SHAPE, classes=4), image_data())


def test_python_compares_two_networks(quick_timing: None) -> None:
    record = prunectl.evaluate(names(1.0), image_data(), against=names(1.0))
    assert record["against"]["accuracy_difference"] == 0
    assert [each["runtime"] for each in record["against"]["latency"]] == ["eager"] * 2
    assert "latency" not in prunectl.evaluate(names(1.0), image_data(), against=names(1.0), latency=False)["against"]


def test_eval_prints_a_table_that_fits_80_columns_and_records_it(net: Path, raw, quick_timing: None) -> None:
    ran = raw("eval", net.name, "--against", "net.prune.safetensors")
    assert ran.code == 0, ran.err
    before = "against net.prune.safetensors, on the same images, in turns, with 95 % intervals:\n"
    _, _, table = ran.err.partition(before)
    rows = table.splitlines()[:4]
    assert rows[0].split() == ["this", "other", "difference"]
    assert [row[:16].strip() for row in rows[1:]] == ["accuracy", "1 image, eager", "64 images, eager"]
    assert rows[1].endswith(" points") and all(len(row) <= 80 for row in rows)
    (line,) = net.with_name("net.results.jsonl").read_text().splitlines()[-1:]
    assert set(json.loads(line)["against"]) == {"checkpoint", "accuracy", "accuracy_difference", "latency"}
    other = json.loads(net.with_name("net.prune.results.jsonl").read_text().splitlines()[-1])
    assert (other["command"], other["checkpoint"]) == ("eval", json.loads(line)["against"]["checkpoint"])
    assert other["accuracy"] == json.loads(line)["against"]["accuracy"]
    assert [set(each) & {"ratio", "batch"} for each in other["latency"]] == [{"batch"}, {"batch"}]
