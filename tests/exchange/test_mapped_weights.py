"""Weights that are mapped from a file and copied into a network."""

import os
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from prunectl.errors import CheckpointError
from prunectl.exchange.filling import fill_
from prunectl.exchange.matching import Matched
from prunectl.exchange.state_dict import read_weights
from prunectl.torchtools.mapped_pages import CopiedOut

MB = 1 << 20


def mapped_bytes() -> int:
    """Bytes of files that are mapped and resident."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssFile:"))


def test_pages_of_a_file_leave_memory_when_they_are_copied(tmp_path: Path) -> None:
    values = torch.arange(8 * MB).float()
    with (tmp_path / "net.pt").open("wb") as file:
        torch.save({"weight": values}, file)
        file.flush()
        os.fsync(file.fileno())  # pages that are still to be written stay
    mapped, into = read_weights(tmp_path / "net.pt").content["weight"], torch.empty(8 * MB)
    if sys.platform == "linux":
        before = mapped_bytes()
        with CopiedOut():
            assert into.copy_(mapped) is into
        assert mapped_bytes() - before < 8 * MB
        into.copy_(mapped)
        assert mapped_bytes() - before > 30 * MB
    assert torch.equal(into, values) and torch.equal(mapped, values)


@pytest.mark.parametrize(
    "other",
    [
        torch.arange(6.0).view(3, 2).T,
        torch.arange(3.0),
        torch.arange(6, dtype=torch.float64).view(2, 3),
        torch.arange(6, dtype=torch.int8).view(2, 3),
    ],
    ids=["transposed", "broadcast", "double", "bytes"],
)
def test_other_layouts_and_types_are_copied_as_ever(other: torch.Tensor) -> None:
    into = torch.empty(2, 3)
    with CopiedOut():
        into.copy_(other)
    assert torch.equal(into, other.float().expand(2, 3))


@pytest.mark.parametrize("value", [torch.tensor([[torch.nan]]), torch.tensor([[1e300]], dtype=torch.float64)])
def test_a_weight_that_is_not_finite_in_the_network_is_refused(value: torch.Tensor) -> None:
    matched = Matched("", {"weight": value, "bias": torch.zeros(1)}, {}, {})
    with pytest.raises(CheckpointError, match=r"net.pt: weight has values that are not finite; use an earlier file"):
        fill_(nn.Linear(1, 1), matched, [], "net.pt", mapped=True)
