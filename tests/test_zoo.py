"""The lists of networks are whole, and random values keep a signal alive in them."""

import pytest
import torch

from tests import zoo
from tests.randomise import randomise_

timm = pytest.importorskip("timm")


def test_the_lists_are_those_of_the_libraries() -> None:
    from torchvision import models

    named = {name for name in models.list_models(module=models) if not name.startswith("quantized")}
    listed = [name for members in zoo.TORCHVISION.values() for name in members]
    assert (len(listed), set(listed)) == (80, named)
    assert set(zoo.SEGMENTATION) == set(models.list_models(module=models.segmentation))
    assert set(zoo.VIDEO) == set(models.list_models(module=models.video))
    assert set(zoo.DETECTION) == set(models.list_models(module=models.detection))
    assert set(zoo.TIMM) <= set(timm.list_modules())  # later versions add some
    assert all(timm.models.is_model_in_modules(name, [module]) for module, (name, _) in zoo.TIMM.items())
    assert all(timm.is_model(name) for name in zoo.TIMM_MORE)


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (zoo.build_torchvision, "densenet121"),
        (zoo.build_torchvision, "mobilenet_v3_small"),
        (zoo.build_timm, "hgnetv2_b0"),
        (zoo.build_timm, "test_vit"),
        (zoo.build_segmentation, "lraspp_mobilenet_v3_large"),
        (zoo.build_video, "r3d_18"),
        (zoo.build_backbone, "ssdlite320_mobilenet_v3_large"),
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
