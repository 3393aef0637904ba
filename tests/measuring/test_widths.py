"""Odd widths, and the line that says what they cost."""

from itertools import pairwise

import pytest
from torch import nn

from prunectl.measuring.widths import hint, odd_widths


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
        "1 of 2 layers have widths that are not a multiple of 8, which ONNX Runtime may run slower than the dense "
        "network; prune with `--multiple-of auto`"
    )


def test_shrink_and_eval_say_it_where_widths_are_odd(net, tmp_path, raw):
    said = "hint: 2 of 3 layers have widths that are not a multiple of 8"
    assert said in raw("shrink", "net.prune.safetensors", "-o", "small.safetensors").err
    assert said in raw("eval", "net.prune.shrink.safetensors", "--no-latency").err
    assert "hint: " not in raw("eval", "net.prune.safetensors", "--no-latency").err  # not shrunk
