"""Images: batches are an exact, resumable, seeded partition; augmentation moves pixels and makes none."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from prunectl.data.images import ImageData, Images, Preprocessing, augmented, mixed, slices
from prunectl.errors import DataError

patient = settings(deadline=None, max_examples=50)  # a busy machine is no failure
COUNTS = st.integers(1, 40)
SIZES = st.integers(1, 12)
SEEDS = st.integers(0, 2**70)
AUGMENTS = st.sampled_from([(), ("flip",), ("crop",), ("flip", "crop")])


def numbered(count: int, labels: Tensor | None = None) -> Images:
    """Image i is 1x1x1 and holds i, as its label does."""
    number = torch.arange(count)
    return Images(number.to(torch.uint8).view(-1, 1, 1, 1), number if labels is None else labels)


def noise(count: int, side: int = 6) -> Images:
    pixels = torch.randint(0, 256, (count, 2, side, side), generator=torch.Generator().manual_seed(1))
    return Images(pixels.to(torch.uint8), torch.arange(count))


def dataset(train: int = 10, test: int = 3) -> ImageData:
    classes = tuple(str(i) for i in range(max(train, test)))
    return ImageData("numbered", numbered(train), numbered(test), classes, Preprocessing((0.0,), (1.0,)))


@patient
@given(COUNTS, SIZES, SEEDS)
def test_a_shuffled_epoch_brings_every_image_once_but_a_single_last_one(count: int, size: int, seed: int) -> None:
    seen = [int(label) for _, labels in numbered(count).batches(size, seed=seed) for label in labels]
    left_out = 1 if count > size and count % size == 1 % size else 0
    assert len(seen) == count - left_out
    assert len(set(seen)) == len(seen)


@patient
@given(COUNTS, SIZES)
def test_without_a_seed_images_come_in_order_and_all_of_them(count: int, size: int) -> None:
    batches = list(numbered(count).batches(size, augment=("flip", "crop")))
    assert torch.cat([labels for _, labels in batches]).tolist() == list(range(count))
    assert torch.cat([pixels.flatten() for pixels, _ in batches]).tolist() == list(range(count))
    assert all(len(labels) == size for _, labels in batches[:-1])


@patient
@given(COUNTS, SIZES, st.none() | SEEDS, AUGMENTS, st.integers(0, 8))
def test_start_skips_batches(count: int, size: int, seed: int | None, augment: tuple[str, ...], start: int) -> None:
    images = noise(count)
    skipped = list(images.batches(size, seed=seed, augment=augment))[start:]
    resumed = list(images.batches(size, seed=seed, augment=augment, start=start))
    assert len(resumed) == len(skipped)
    for (pixels, labels), (expected_pixels, expected_labels) in zip(resumed, skipped, strict=True):
        assert pixels.equal(expected_pixels)
        assert labels.equal(expected_labels)


@patient
@given(COUNTS, SIZES, SEEDS)
def test_order_and_augmentation_do_not_depend_on_what_the_images_show(count: int, size: int, seed: int) -> None:
    images = noise(count)
    inverted = Images(255 - images.pixels, images.labels)
    for (pixels, labels), (other, other_labels) in zip(
        images.batches(size, seed=seed, augment=("flip",)),
        inverted.batches(size, seed=seed, augment=("flip",)),
        strict=True,
    ):
        assert labels.equal(other_labels)
        assert pixels.equal(255 - other)


def test_two_epochs_differ_in_order() -> None:
    first, second = (next(numbered(40).batches(40, seed=seed))[1].tolist() for seed in (1, 2))
    assert first != second
    assert sorted(first) == sorted(second) == list(range(40))


@pytest.mark.parametrize(
    ("count", "size", "drop_single", "expected"),
    [
        (5, 2, False, [(0, 2), (2, 4), (4, 5)]),
        (5, 2, True, [(0, 2), (2, 4)]),
        (6, 2, True, [(0, 2), (2, 4), (4, 6)]),
        (1, 2, True, [(0, 1)]),  # nothing else to train on
        (0, 2, True, []),
    ],
)
def test_slices(count: int, size: int, drop_single: bool, expected: list[tuple[int, int]]) -> None:
    assert [(part.start, part.stop) for part in slices(count, size, drop_single=drop_single)] == expected


@patient
@given(st.integers(0, 2**40), st.integers(0, 2**20))
def test_mixed_seeds_fit_a_generator(seed: int, i: int) -> None:
    assert 0 <= mixed(seed, i) < 2**63
    assert mixed(seed, i) != mixed(seed, i + 1)


def test_a_flip_mirrors_columns() -> None:
    pixels = torch.tensor([[1, 2, 3], [4, 5, 6]], dtype=torch.uint8).expand(64, 1, 2, 3)
    outcomes = {tuple(image.flatten().tolist()) for image in augmented(pixels, ("flip",), 0)}
    assert outcomes == {(1, 2, 3, 4, 5, 6), (3, 2, 1, 6, 5, 4)}


def test_a_crop_shifts_by_up_to_four_and_fills_with_zeros() -> None:
    pixels = torch.zeros(400, 1, 9, 9, dtype=torch.uint8)
    pixels[:, :, 4, 4] = 7  # in the middle: no shift can lose it
    moved = augmented(pixels, ("crop",), 0)
    rows, columns = (moved[:, 0] == 7).nonzero()[:, 1:].unbind(1)
    assert sorted(set(rows.tolist())) == sorted(set(columns.tolist())) == list(range(9))
    assert moved.flatten(1).sum(1).tolist() == [7] * 400


@patient
@given(COUNTS, SEEDS, AUGMENTS)
def test_augmentation_moves_pixels_and_makes_none(count: int, seed: int, augment: tuple[str, ...]) -> None:
    pixels = noise(count).pixels
    before = pixels.clone()
    moved = augmented(pixels, augment, mixed(seed, 0))
    assert moved.shape == pixels.shape
    assert moved.dtype == torch.uint8
    assert pixels.equal(before)
    for image, original in zip(moved, pixels, strict=True):
        assert set(image.flatten().tolist()) <= {0, *original.flatten().tolist()}
    if "crop" not in augment:  # every row keeps its values
        assert moved.sort(3).values.equal(pixels.sort(3).values)


def test_channels_move_together() -> None:
    pixels = noise(50).pixels[:, :1].expand(-1, 3, -1, -1)
    moved = augmented(pixels, ("flip", "crop"), 5)
    assert moved[:, 0].equal(moved[:, 1])
    assert moved[:, 0].equal(moved[:, 2])


def test_preprocessing_by_hand() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 2, 1, 1)
    result = Preprocessing((0.2, 0.5), (0.4, 0.5))(pixels)  # (x/255 - mean) / std
    assert result.dtype == torch.float32
    torch.testing.assert_close(result[:, 0].flatten(), torch.tensor([-0.5, 0.0, 2.0]))
    torch.testing.assert_close(result[:, 1].flatten(), torch.tensor([-1.0, -0.6, 1.0]))


def test_images_know_their_shape_and_guard_it() -> None:
    images = Images(torch.zeros(4, 3, 5, 6, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64))
    assert images.shape == (3, 5, 6)
    assert len(images) == 4
    assert images.to(torch.device("meta")).pixels.device.type == "meta"


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        (torch.zeros(4, 3, 5, 6), torch.zeros(4, dtype=torch.int64), "images must be uint8"),
        (torch.zeros(4, 5, 6, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64), "images must be uint8"),
        (torch.zeros(4, 1, 5, 6, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), "got 3 labels for 4 images"),
        (torch.zeros(4, 1, 5, 6, dtype=torch.uint8), torch.zeros(4, dtype=torch.int32), "labels must be int64"),
    ],
)
def test_images_refuse_what_they_cannot_hold(pixels: Tensor, labels: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Images(pixels, labels)


def test_tuning_holds_out_a_fixed_fifth_of_the_training_images() -> None:
    data = dataset(train=10, test=3)
    tuned, again = data.tuning(), data.tuning()
    held, kept = tuned.test.labels.tolist(), tuned.train.labels.tolist()
    assert (len(held), len(kept)) == (2, 8)
    assert sorted(held + kept) == list(range(10))
    assert again.test.labels.tolist() == held
    assert data.test.labels.tolist() == [0, 1, 2]


def test_a_subset_is_seeded_and_leaves_the_test_images_alone() -> None:
    data = dataset(train=10, test=3)
    chosen = data.subset(4, seed=7)
    assert len(set(chosen.train.labels.tolist())) == 4
    assert chosen.train.labels.tolist() == sorted(chosen.train.labels.tolist())
    assert chosen.train.labels.tolist() == data.subset(4, seed=7).train.labels.tolist()
    assert chosen.test is data.test
    assert data.subset(10, seed=7).train.labels.tolist() == list(range(10))


@pytest.mark.parametrize("count", [-1, 0, 1, 11])
def test_a_subset_has_two_images_at_least_and_no_more_than_there_are(count: int) -> None:
    with pytest.raises(DataError, match=r"takes 2 to 10, the training images of numbered, got"):
        dataset(train=10).subset(count, seed=0)


def test_random_labels_are_a_permutation_over_the_same_pixels() -> None:
    data = dataset(train=10, test=3)
    randomised = data.random_labels(seed=1)
    assert isinstance(randomised.train, Images)
    assert randomised.train.pixels.flatten().tolist() == list(range(10))
    assert randomised.train.labels.tolist() != list(range(10))
    assert sorted(randomised.train.labels.tolist()) == list(range(10))
    assert randomised.train.labels.tolist() == data.random_labels(seed=1).train.labels.tolist()
    assert randomised.test.labels.tolist() == [0, 1, 2]
    orders = [torch.cat([y for _, y in data.train.batches(5, seed=mixed(1, epoch))]) for epoch in range(4)]
    assert not any(torch.equal(order, randomised.train.labels) for order in orders)  # of a training with this seed


def test_image_data_moves_as_one() -> None:
    data = dataset()
    assert data.shape == (1, 1, 1)
    moved = data.to(torch.device("meta"))
    assert {moved.train.labels.device.type, moved.test.labels.device.type} == {"meta"}


def test_a_network_fits_images_of_its_shape_and_classes() -> None:
    data = dataset(train=10)
    data.check_fits((1, 1, 1), 10, "mlp5")
    for shape, classes, network in (((3, 1, 1), 10, "3x1x1 images of 10"), ((1, 1, 1), 2, "1x1x1 images of 2")):
        with pytest.raises(DataError) as error:
            data.check_fits(shape, classes, "mlp5")
        assert f"network mlp5 takes {network} classes, numbered has 1x1x1 of 10; " in str(error.value)


def named(classes: tuple[str, ...]) -> ImageData:
    train, test = numbered(4, torch.tensor([0, 1, 2, 2])), numbered(3, torch.tensor([2, 0, 1]))
    return ImageData("named", train, test, classes, Preprocessing((0.0,), (1.0,)))


def test_classes_are_numbered_as_a_network_numbers_them() -> None:
    found = named(("ant", "bee", "cat")).in_order_of(("cat", "ant", "bee"))
    assert found.classes == ("cat", "ant", "bee")
    assert (found.train.labels.tolist(), found.test.labels.tolist()) == ([1, 2, 0, 0], [0, 1, 2])
    assert found.train.pixels.flatten().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("names", [(), ("ant", "bee"), ("cat", "ant", "dog"), ("ant", "bee", "cat")])
def test_classes_of_other_names_stay_as_they_are(names: tuple[str, ...]) -> None:
    data = named(("ant", "bee", "cat"))
    assert data.in_order_of(names) is data


def test_two_classes_of_one_name_stay_as_they_are() -> None:
    data = named(("crane", "crane", "ant"))
    assert data.in_order_of(("ant", "crane", "crane")) is data
