"""Batches to score on: every class as often as any other, every image before one comes again."""

from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prunectl.data.images import Preprocessing, mixed
from prunectl.data.sampling import balanced_indices, scoring_batches
from tests.helpers.networks import random_images

LABELS = st.lists(st.integers(0, 4), min_size=2, max_size=40).map(torch.tensor)


@given(LABELS, st.integers(1, 50), st.integers(0, 3))
@settings(deadline=None)
def test_classes_are_balanced_in_every_batch_and_over_all(labels, size, seed):
    present = torch.unique(labels)
    total = torch.zeros(5, dtype=torch.int64)
    for batch in islice(balanced_indices(labels, size, seed), 5):
        counts = torch.bincount(labels[batch], minlength=5)
        assert int(counts.sum()) == size
        assert int(counts[present].max() - counts[present].min()) <= 1
        total += counts
    assert int(total[present].max() - total[present].min()) <= 1


def test_batches_as_they_come_are_not_those_of_a_training_with_the_same_seed():
    images, device = random_images(40, (1, 2, 2), 5), torch.device("cpu")
    plain = Preprocessing((0.0,), (1.0,))
    found = [y for _, y in islice(scoring_batches(images, plain, device, 20, seed=1, balanced=False), 2)]
    trained = [y for _, y in images.batches(20, seed=mixed(1, 0))]
    assert not torch.equal(torch.cat(found), torch.cat(trained))


@given(LABELS, st.integers(0, 3))
@settings(deadline=None)
def test_no_image_comes_again_before_all_of_its_class_came(labels, seed):
    times = torch.zeros(len(labels), dtype=torch.int64)
    for batch in islice(balanced_indices(labels, 7, seed), 8):
        times += torch.bincount(batch, minlength=len(labels))
        for label in torch.unique(labels):
            of_class = times[labels == label]
            assert int(of_class.max() - of_class.min()) <= 1


@pytest.mark.parametrize("balanced", [True, False])
def test_batches_are_normalised_and_seeded(balanced):
    images, how = random_images(30, (1, 4, 4)), Preprocessing((0.5,), (0.25,))

    def some(seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return list(islice(scoring_batches(images, how, torch.device("cpu"), 8, seed, balanced), 9))

    one, again, other = some(0), some(0), some(1)
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(one, again, strict=True))
    assert any(not torch.equal(a[0], b[0]) for a, b in zip(one, other, strict=True))
    assert one[0][0].dtype == torch.float32
    assert float(one[0][0].max()) <= (1 - 0.5) / 0.25


def test_a_batch_is_no_larger_than_the_images_are():
    images, how = random_images(5, (1, 4, 4)), Preprocessing((0.5,), (0.25,))
    inputs, labels = next(scoring_batches(images, how, torch.device("cpu"), 128, 0))
    assert (len(inputs), len(labels)) == (5, 5)
