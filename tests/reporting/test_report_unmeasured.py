"""Pages of checkpoints of which some were not measured."""

import re

from prunectl.reporting.page.data import shown_networks
from prunectl.reporting.page.page import render
from prunectl.reporting.sources import collect
from tests.helpers.report_folders import TRAIN, checkpoint, measure


def test_a_dense_import_is_the_baseline_and_networks_without_an_accuracy_are_named(tmp_path):
    begun = ("import", {"file": "net.pth", "sha256": "a" * 64})
    pruning = ("prune", {"criterion": "taylor", "flops": "2x", "seed": 0})
    measure(checkpoint(tmp_path, "dense", begun), 0.625)
    checkpoint(tmp_path, "thin", begun, pruning, weights=50)
    small = checkpoint(tmp_path, "xsmall", begun, pruning, ("shrink", {}), weights=50)
    sources = collect([tmp_path])
    text = re.sub("<[^>]+>", "", render(sources))
    assert "No accuracy yet: thin, xsmall. Run prunectl eval on them, then prunectl report." in text
    assert "62.5" in text
    assert "- means not measured; run prunectl eval on that checkpoint" in text
    assert "no network was measured" not in text.lower()
    assert shown_networks(sources)[0].source.path == small


def test_a_step_towards_a_measured_network_needs_no_accuracy(tmp_path):
    pruning = ("prune", {"criterion": "snip", "sparsity": 0.5, "seed": 0})
    checkpoint(tmp_path, "a", pruning, weights=50)
    measure(checkpoint(tmp_path, "b", pruning, ("train", {**TRAIN, "seed": 0}), weights=50), 0.9)
    assert "No accuracy yet" not in render(collect([tmp_path]))


def test_networks_for_which_there_is_no_room_are_named(tmp_path):
    for number in range(14):
        pruning = ("prune", {"criterion": "snip", "sparsity": 0.5 + number / 100, "seed": 0})
        measure(checkpoint(tmp_path, f"n{number}", pruning, weights=50 - number), 0.9 - number / 100)
    text = re.sub("<[^>]+>", "", render(collect([tmp_path])))
    assert (
        "Not shown, because a page has room for 12: snip 0.62, Pareto front; snip 0.63, Pareto front. To see one"
        in text
    )
