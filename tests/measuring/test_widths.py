"""Odd widths, and the line that says what they cost."""

from dataclasses import replace
from itertools import pairwise

import pytest
from torch import nn

from prunectl.checkpoints.checkpoint import read
from prunectl.checkpoints.history import HistoryEntry
from prunectl.measuring.widths import hint, hint_of, odd_widths


def network(*widths: int) -> nn.Module:
    """Linear layers of these widths."""
    return nn.Sequential(*(nn.Linear(inputs, outputs) for inputs, outputs in pairwise(widths)))


@pytest.mark.parametrize(
    ("widths", "odd"), [((5, 16, 24, 8), []), ((5, 13, 24, 10), ["0.weight", "2.weight"]), ((64, 7, 3), [])]
)
def test_widths_above_eight_that_are_no_multiple_of_it_are_odd(widths, odd):
    assert odd_widths(network(*widths)) == odd


def test_the_number_of_classes_is_not_what_pruning_chose():
    assert hint(network(5, 16, 10)) is None
    assert hint(network(5, 13, 10)) == (
        "1 of 2 layers has a width that is not a multiple of 8 (0: 13): ONNX Runtime may run the network slower than "
        "the dense one; to avoid that, prune with `--multiple-of auto`"
    )


def test_shrink_and_eval_say_it_where_widths_are_odd(net, tmp_path, raw):
    said = "hint: 2 of 3 layers have a width that is not a multiple of 8 ("
    assert said in raw("shrink", "net.prune.safetensors", "-o", "small.safetensors").err
    assert said in raw("eval", "net.prune.shrink.safetensors", "--no-latency").err
    assert "hint: " not in raw("eval", "net.prune.safetensors", "--no-latency").err  # not shrunk


def test_three_layers_are_named():
    assert "5 of 6 layers have a width that is not a multiple of 8 (0: 9, 1: 11, 2: 13, ...): " in str(
        hint(network(5, 9, 11, 13, 15, 17, 10))
    )


def test_a_network_that_was_pruned_to_a_latency_in_onnx_runtime_was_measured_there(net):
    small = read(net.with_name("net.prune.shrink.safetensors"))
    assert hint_of(small) is not None
    for runtime, known in (("onnx", True), ("eager", False)):
        entry = HistoryEntry("prune", {"latency": "2x", "runtime": runtime}, {"latency": 0.5})
        assert (hint_of(replace(small, history=(entry, *small.history))) is None) == known
