"""torchvision's classifiers by name, with fresh weights."""

from functools import partial
from typing import Any

from torch import nn
from torchvision import models

from prunectl.errors import DataError
from prunectl.models.library import Builder, build, refuse
from prunectl.plugins.registry import unknown

_SETTLED = ("weights", "weights_backbone", "progress", "num_classes", "image_size", "input_size")
_AUXILIARY = ("googlenet", "inception_v3")


def network(name: str) -> Builder:
    """The builder of `torchvision/NAME`: `(input_shape, classes, **options)`, where options are torchvision's keywords.

    Raises:
        UnknownName: torchvision has no such classifier.
    """
    known = [each for each in models.list_models(module=models) if not each.startswith("quantized")]
    if name not in known:
        raise unknown("model", f"torchvision/{name}", [f"torchvision/{each}" for each in known])

    def builder(input_shape: tuple[int, int, int], classes: int, **options: Any) -> nn.Module:
        full = f"torchvision/{name}"
        refuse(full, options, _SETTLED)
        if input_shape[0] != 3:
            size = "x".join(map(str, input_shape))
            raise DataError(
                f"{full} takes images with 3 channels, got {size} (CxHxW); use another network, such as resnet18"
            )
        keywords = {**defaults(name, input_shape), **options}
        make = partial(models.get_model, name, weights=None, num_classes=classes, **keywords)
        return build(full, make, input_shape, classes)

    return builder


def defaults(name: str, input_shape: tuple[int, int, int]) -> dict[str, Any]:
    """The options that depend on the images, and no auxiliary logits, which training does not use."""
    _, height, width = input_shape
    if name.startswith("vit_"):
        return {"image_size": height}
    if name.startswith("maxvit"):
        return {"input_size": (height, width)}
    return {"aux_logits": False, "init_weights": True} if name in _AUXILIARY else {}
