"""The lists of networks are whole, and random values keep a signal alive in them."""

import pytest
import torch

from tests.helpers import library_networks
from tests.helpers.randomise import randomise_

timm = pytest.importorskip("timm")
LISTED = (1, 0, 31)
"""The version of timm whose modules are listed."""


def test_the_lists_are_those_of_the_libraries() -> None:
    from torchvision import models

    named = {name for name in models.list_models(module=models) if not name.startswith("quantized")}
    listed = [name for members in library_networks.TORCHVISION.values() for name in members]
    assert (len(listed), set(listed)) == (80, named)
    assert set(library_networks.SEGMENTATION) == set(models.list_models(module=models.segmentation))
    assert set(library_networks.VIDEO) == set(models.list_models(module=models.video))
    assert set(library_networks.DETECTION) == set(models.list_models(module=models.detection))
    if tuple(int(part) for part in timm.__version__.split(".")[:3]) >= LISTED:  # those before lack some
        assert set(library_networks.TIMM) <= set(timm.list_modules())  # and those after add some
        found = {
            module: timm.models.is_model_in_modules(n, [module]) for module, (n, _) in library_networks.TIMM.items()
        }
        assert all(found.values()), found
    assert all(timm.is_model(name) for name in library_networks.TIMM_MORE)


@pytest.mark.parametrize(
    ("build", "name"),
    [
        pytest.param(library_networks.build_torchvision, "densenet121", marks=pytest.mark.long),
        (library_networks.build_torchvision, "mobilenet_v3_small"),
        (library_networks.build_timm, "hgnetv2_b0"),
        (library_networks.build_timm, "test_vit"),
        (library_networks.build_segmentation, "lraspp_mobilenet_v3_large"),
        pytest.param(library_networks.build_video, "r3d_18", marks=pytest.mark.long),
        (library_networks.build_backbone, "ssdlite320_mobilenet_v3_large"),
    ],
)
def test_random_values_keep_the_signal_at_order_one(build, name: str) -> None:
    model, shape = build(name)
    noise = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        first, second = randomise_(model, 0, shape)(noise)
        again = build(name)[0]
        torch.testing.assert_close(randomise_(again, 0, shape)(noise)[0], first)
    assert first.abs().max() < 100
    assert (first - second).abs().max() > 0.01
