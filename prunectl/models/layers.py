"""The building blocks of the built-in networks: repeated layers, initialisation, and a check of the input size."""

from collections import OrderedDict
from itertools import pairwise

from torch import nn

from prunectl.errors import DataError

SLOPE = 0.05
DROPOUT = 0.3


def check_input(model: str, input_shape: tuple[int, int, int], smallest: int = 1) -> None:
    """Refuse images (C, H, W) that would reach an empty feature map; `smallest` is the least height and width.

    Raises:
        DataError: an image side is below `smallest`, or there is no channel.
    """
    channels, height, width = input_shape
    if channels < 1 or min(height, width) < smallest:
        raise DataError(
            f"{model} needs images of at least 1x{smallest}x{smallest} (CxHxW), got {channels}x{height}x{width}; "
            "enlarge the images or use a network for any size, such as mlp5"
        )


def conv(inputs: int, outputs: int, kernel: int = 3, padding: int = 1) -> list[nn.Module]:
    """Convolution with bias, BatchNorm, activation."""
    return [
        nn.Conv2d(inputs, outputs, kernel, padding=padding),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(SLOPE),
    ]


def conv_blocks(inputs: int, blocks: tuple[tuple[int, ...], ...]) -> list[nn.Module]:
    """3x3 convolutions of the given widths, with a 2x2 max pool between blocks."""
    layers: list[nn.Module] = []
    for i, block in enumerate(blocks):
        if i:
            layers.append(nn.MaxPool2d(2))
        for outputs in block:
            layers += conv(inputs, outputs)
            inputs = outputs
    return layers


def dense(inputs: int, outputs: int) -> list[nn.Module]:
    """Linear with bias, BatchNorm, activation."""
    return [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.LeakyReLU(SLOPE)]


def head(inputs: int, hidden: tuple[int, ...], classes: int) -> list[nn.Module]:
    """Dense layers of the `hidden` widths, then the classifier, with dropout before each of them."""
    layers: list[nn.Module] = []
    widths = (inputs, *hidden)
    for before, after in pairwise(widths):
        layers += [nn.Dropout(DROPOUT), *dense(before, after)]
    return [*layers, nn.Dropout(DROPOUT), nn.Linear(widths[-1], classes)]


def network(**parts: list[nn.Module]) -> nn.Sequential:
    """Chain named parts in order, and initialise their weights; parameters are called `part.index.weight`."""
    model = nn.Sequential(OrderedDict((name, nn.Sequential(*layers)) for name, layers in parts.items()))
    initialise_(model)
    return model


def initialise_(model: nn.Module) -> None:
    """Orthogonal weights (Saxe et al. 2013) with the gain of the activation, 1 for the last layer; zero biases."""
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    gain = nn.init.calculate_gain("leaky_relu", SLOPE)
    for layer in layers:
        if layer.weight.is_meta:  # nothing to fill, and its QR decomposition would only cost time
            continue
        nn.init.orthogonal_(layer.weight, 1.0 if layer is layers[-1] else gain)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def initialise_he_(model: nn.Module) -> None:
    """Normal weights of convolutions with the variance 2 / fan-out (He et al. 2015, arXiv:1502.01852, equation 14)."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d) and not layer.weight.is_meta:
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
