"""What `print(checkpoint)` shows: one line."""

from dataclasses import replace

import torch
from torch import nn

import prunectl
from prunectl.checkpoints.history import HistoryEntry
from tests.helpers.networks import checkpoint_of
from tests.helpers.own_networks import Residual, loader


def test_weights_of_a_masked_network_and_nodes_of_a_shrunk_one() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 100), nn.ReLU(), nn.Linear(100, 10))
    masked = prunectl.prune(net, input=(1, 4, 4), criterion="magnitude", sparsity=0.5)
    name = "class:torch.nn.modules.container.Sequential"
    assert repr(masked) == f"Checkpoint({name}, 1x4x4, 10 classes, masked, 1,300 of 2,600 weights)"
    torch.manual_seed(0)
    thin = prunectl.prune(Residual(), loader(), criterion="snap", sparsity=0.5)
    name = "class:tests.helpers.own_networks.Residual"
    assert repr(thin) == f"Checkpoint({name}, 3x16x16, 5 classes, masked, 6 of 12 nodes)"
    assert repr(prunectl.shrink(thin)) == f"Checkpoint({name}, 3x16x16, 5 classes, shrunk, 6 of 12 nodes)"


def test_a_dense_network_and_what_the_last_command_has_left() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 100), nn.ReLU(), nn.Linear(100, 10))
    dense = checkpoint_of(net, (1, 4, 4), 10)
    assert repr(dense) == "Checkpoint(test, 1x4x4, 10 classes, dense, 2,600 of 2,600 weights)"
    entries = [HistoryEntry("prune", result={"node_sparsity": share}) for share in (0.25, 0.75)]
    edited = replace(dense, history=(*entries, HistoryEntry("train")), edits=({"module": "0", "swap": "x"},))
    assert repr(edited) == "Checkpoint(test, 1x4x4, 10 classes, dense, 25 of 100 nodes)"
    unknown = replace(edited, dense=replace(dense.dense, nodes=None))
    assert repr(unknown) == "Checkpoint(test, 1x4x4, 10 classes, dense, 2,600 of 2,600 weights)"
