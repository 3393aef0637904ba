"""The batches of a loader: what size a training and a pruning use, and record."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import prunectl
from tests.helpers.own_networks import CLASSES, SHAPE, Residual


def _images() -> TensorDataset:
    random = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(60, *SHAPE, generator=random), torch.arange(60) % CLASSES)


@pytest.mark.parametrize(
    ("given", "fields", "used"),
    [(20, {}, 20), (20, {"batch_size": 30}, 30), (1, {}, 128), (None, {}, 128)],
    ids=["of the loader", "as asked for", "too small", "no DataLoader"],
)
def test_a_training_has_the_batches_of_its_loader_and_records_them(given, fields, used) -> None:
    batches = [_images()[:]] if given is None else DataLoader(_images(), batch_size=given)
    options = prunectl.train(Residual(), batches, epochs=1, **fields).history[-1].options
    assert (options["batch_size"], options["steps"]) == (used, -(-60 // used))


def test_a_pruning_draws_batches_of_its_own_and_records_them() -> None:
    seen = []
    network = Residual()
    network.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    thin = prunectl.prune(network, DataLoader(_images(), 10), criterion="snip", sparsity=0.5, batch_size=30)
    assert (thin.history[-1].options["batch_size"], {*seen} - {1, 2}) == (30, {30})


def test_a_pruning_without_images_records_no_batches() -> None:
    options = prunectl.prune(Residual(), criterion="magnitude", sparsity=0.9, input=SHAPE).history[-1].options
    assert not {"batch_size", "balanced"} & options.keys()
