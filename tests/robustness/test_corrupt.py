"""Corruptions are torchvision's, at five severities, and counted over all images."""

import pytest
import torch

from prunectl.errors import CheckpointError, DataError, UnknownName
from prunectl.robustness.corrupt import SEVERITIES, corrupt, corrupted
from tests.helpers.networks import checkpoint_of, image_data
from tests.helpers.one_pixel import SHAPE, pixels, threshold


def test_corruptions_in_literal_numbers():
    flat = torch.full((1, 3, 8, 8), 100, dtype=torch.uint8)
    assert corrupted(flat, "brightness", 1.5).unique().tolist() == [150]
    assert corrupted(flat, "blur", 1.0).unique().tolist() == [100]
    assert corrupted(flat, "contrast", 0.5).float().mean().item() == pytest.approx(100, abs=1)
    halves = torch.cat([flat, flat + 100], dim=3)
    assert corrupted(halves, "contrast", 0.5).unique().tolist() == pytest.approx([125, 175], abs=1)
    torch.manual_seed(0)
    noise = corrupted(flat.expand(64, 3, 8, 8), "gaussian-noise", 0.1).float() / 255
    assert float(noise.std()) == pytest.approx(0.1, rel=0.05)
    assert int((corrupted(halves, "jpeg", 40).int() - halves.int()).abs().max()) < 20


@pytest.mark.parametrize("name", SEVERITIES)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_shape_type_and_channels_are_kept(name, channels):
    images = torch.randint(0, 256, (2, channels, 9, 8), dtype=torch.uint8)
    found = corrupted(images, name, SEVERITIES[name][4])
    assert (found.shape, found.dtype) == (images.shape, torch.uint8)
    assert not torch.equal(found, images)


def test_accuracy_under_brightness_on_a_network_whose_margins_are_known():
    """Pixels 26, 77, 102 and 230; the border is at 127.5: times 1.3 the third crosses it, times 1.6 still it alone."""
    record = corrupt(checkpoint_of(threshold(), SHAPE, 2), pixels(), corruptions=["brightness"])
    assert record["clean_accuracy"] == 0.75
    assert [one["accuracy"] for one in record["corruptions"]] == [0.75, 0.75, 0.5, 0.5, 0.5]
    assert [one["severity"] for one in record["corruptions"]] == [1, 2, 3, 4, 5]
    assert record["mean_accuracy"] == pytest.approx(0.6)


def test_the_seed_decides_and_batches_do_not_matter_where_nothing_is_random():
    torch.manual_seed(0)
    network = checkpoint_of(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)), (1, 8, 8))
    one, two = (corrupt(network, image_data(), corruptions=["gaussian-noise"])["corruptions"] for _ in "ab")
    assert one == two
    whole, parts = (corrupt(network, image_data(), corruptions=["jpeg", "blur"], batch_size=b) for b in (99, 7))
    assert whole["corruptions"] == parts["corruptions"]


def test_bad_input():
    network = checkpoint_of(threshold(), SHAPE, 2)
    broken = checkpoint_of(threshold(float("nan")), SHAPE, 2)
    with pytest.raises(CheckpointError, match="has NaN or infinite outputs on its images"):
        corrupt(broken, pixels(), corruptions=["blur"])
    with pytest.raises(UnknownName, match="no corruption named 'blurr'; did you mean 'blur'"):
        corrupt(network, pixels(), corruptions=["blurr"])
    with pytest.raises(DataError, match="no test images to corrupt"):
        corrupt(network, pixels(), n=0)
