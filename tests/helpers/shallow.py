"""Families of torchvision as their own classes build them, with few layers: deep networks only repeat these."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

CLASSES = 10
SHAPE = (3, 64, 64)


def _narrow(make: Callable[[], nn.Module], linear: dict[int, tuple[int, int]]) -> nn.Module:
    """A network with small layers at these places of its classifier; its own, of 10^8 weights, take no memory."""
    with torch.device("meta"):
        model = make()
        for place, (inputs, outputs) in linear.items():
            model.classifier[place] = nn.Linear(inputs, outputs)
    model.to_empty(device="cpu")
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return model


def _alexnet() -> nn.Module:
    from torchvision.models import AlexNet

    return _narrow(lambda: AlexNet(CLASSES), {1: (256 * 36, 64), 4: (64, 48), 6: (48, CLASSES)})


def _vgg() -> nn.Module:
    from torchvision.models.vgg import VGG, make_layers

    features = [8, "M", 16, "M", 16, "M"]
    return _narrow(
        lambda: VGG(make_layers(features, batch_norm=True), CLASSES, init_weights=False),
        {0: (16 * 49, 64), 3: (64, 48), 6: (48, CLASSES)},
    )


def _densenet() -> nn.Module:
    from torchvision.models import DenseNet

    return DenseNet(8, (2, 3), 16, num_classes=CLASSES)


def _convnext() -> nn.Module:
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    return ConvNeXt([CNBlockConfig(24, 48, 1), CNBlockConfig(48, None, 2)], 0.1, num_classes=CLASSES)


def _efficientnet() -> nn.Module:
    from torchvision.models.efficientnet import EfficientNet, FusedMBConvConfig, MBConvConfig

    blocks = [FusedMBConvConfig(4, 3, 1, 16, 16, 1), MBConvConfig(4, 3, 2, 16, 24, 2), MBConvConfig(1, 5, 1, 24, 24, 1)]
    return EfficientNet(blocks, 0.2, num_classes=CLASSES, last_channel=96)


def _mobilenet_v2() -> nn.Module:
    from torchvision.models import MobileNetV2

    return MobileNetV2(CLASSES, 0.5, [[1, 16, 1, 1], [6, 24, 2, 2]])


def _mobilenet_v3() -> nn.Module:
    from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3

    config = partial(InvertedResidualConfig, dilation=1, width_mult=1)
    blocks = [config(16, 3, 32, 16, True, "RE", 2), config(16, 5, 64, 24, False, "HS", 1)]
    return MobileNetV3([*blocks, config(24, 5, 64, 24, True, "HS", 1)], 64, CLASSES)


def _regnet() -> nn.Module:
    from torchvision.models.regnet import BlockParams, RegNet

    return RegNet(BlockParams([2, 1], [16, 32], [8, 8], [1.0, 1.0], [2, 2], 0.25), CLASSES, 16)


def _shufflenet_v2() -> nn.Module:
    from torchvision.models import ShuffleNetV2

    return ShuffleNetV2([2, 2, 2], [24, 32, 48, 64, 96], CLASSES)


def _vision_transformer() -> nn.Module:
    from torchvision.models import VisionTransformer

    return VisionTransformer(SHAPE[-1], 16, 2, 4, 48, 96, num_classes=CLASSES)


def _swin_transformer() -> nn.Module:
    from torchvision.models import SwinTransformer

    return SwinTransformer([4, 4], 32, [2, 1], [2, 4], [4, 4], num_classes=CLASSES)


def _maxvit() -> nn.Module:
    from torchvision.models import MaxVit

    return MaxVit(SHAPE[1:], 32, 4, [64], [1], 16, 0.1, num_classes=CLASSES)


SHALLOW: dict[str, Callable[[], nn.Module]] = {
    "alexnet": _alexnet,
    "vgg": _vgg,
    "densenet": _densenet,
    "convnext": _convnext,
    "efficientnet": _efficientnet,
    "mobilenetv2": _mobilenet_v2,
    "mobilenetv3": _mobilenet_v3,
    "regnet": _regnet,
    "shufflenetv2": _shufflenet_v2,
    "vision_transformer": _vision_transformer,
    "swin_transformer": _swin_transformer,
    "maxvit": _maxvit,
}


def built(shape: tuple[int, int, int], classes: int, *, name: str) -> nn.Module:
    """One of them, by a name that a checkpoint can hold."""
    return SHALLOW[name]()
