"""timm's networks by name, with fresh weights."""

from functools import partial
from typing import Any

from torch import nn

from prunectl.errors import UnknownName
from prunectl.models.library import Builder, build, refuse
from prunectl.plugins.registry import unknown

SETTLED = (
    *("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict", "checkpoint_path", "cache_dir"),
    *("num_classes", "in_chans", "img_size"),
)


def network(name: str) -> Builder:
    """The builder of `timm/NAME`: `(input_shape, classes, **options)`, where options are timm's keywords.

    Raises:
        UnknownName: timm has no such network, or is not installed.
    """
    try:
        import timm  # noqa: PLC0415
    except ImportError as error:
        raise UnknownName(f"timm/{name} needs the package timm: pip install 'prunectl[timm]'") from error
    if not timm.is_model(name):
        raise unknown("model", f"timm/{name}", [f"timm/{each}" for each in timm.list_models()])

    def builder(input_shape: tuple[int, int, int], classes: int, **options: Any) -> nn.Module:
        full = f"timm/{name}"
        refuse(full, options, SETTLED)
        channels: dict[str, Any] = {} if input_shape[0] == 3 else {"in_chans": input_shape[0]}
        make = partial(timm.create_model, name, pretrained=False, num_classes=classes, **channels, **options)
        return build(full, partial(_sized, make, input_shape[1:]), input_shape, classes)

    return builder


def _sized(make: Builder, size: tuple[int, int]) -> nn.Module:
    """Pass the size of the images to a network that needs it."""
    try:
        return make(img_size=size[0] if size[0] == size[1] else size)
    except TypeError as error:
        if "'img_size'" not in str(error):
            raise
        return make()
