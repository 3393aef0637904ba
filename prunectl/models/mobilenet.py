"""MobileNetV2 with the strides of small images."""

from torch import nn
from torchvision.models import MobileNetV2

from prunectl.models.layers import check_input

SETTING = [[1, 16, 1, 1], [6, 24, 2, 1], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]]
"""Expansion, width, blocks and first stride of each stage: table 2 of the paper, stride 1 in the second stage."""


def mobilenetv2_cifar(input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) for CIFAR (2,236,682 parameters at 3x32x32).

    The blocks are torchvision's. As in other ports to CIFAR, the first convolution and the second stage have stride 1
    instead of 2, so that 32x32 images reach the last stage at 4x4.
    """
    check_input("mobilenetv2-cifar", input_shape)
    model = MobileNetV2(num_classes=classes, inverted_residual_setting=SETTING)
    stem = nn.Conv2d(input_shape[0], 32, 3, padding=1, bias=False)
    if not stem.weight.is_meta:
        nn.init.kaiming_normal_(stem.weight, mode="fan_out")
    model.features[0][0] = stem
    network: nn.Module = model
    return network
