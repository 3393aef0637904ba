"""Small convolutional networks."""

from torch import nn

from prunectl.models.layers import check_input, conv, conv_blocks, head, network


def conv6(input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Conv-6 (Frankle and Carbin 2019) in the shapes of Verdenius et al. 2020 (1,806,666 parameters at 3x32x32)."""
    check_input("conv6", input_shape, smallest=4)
    return network(
        features=[
            *conv_blocks(input_shape[0], ((64, 64), (128, 128), (256, 256))),
            nn.AdaptiveAvgPool2d((3, 3)),
            nn.Flatten(),  # (B, 2304)
        ],
        classifier=head(256 * 9, (256, 256), classes),
    )


def conv_only(input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """A network without a linear layer, in the shapes of Verdenius et al. 2020 (174,442 parameters at 3x32x32)."""
    check_input("conv-only", input_shape, smallest=26)
    return network(
        features=[
            *conv(input_shape[0], 64, kernel=5, padding=1),
            nn.MaxPool2d(2),
            *conv(64, 128),
            nn.MaxPool2d(2),
            *conv(128, 64),
            nn.MaxPool2d(2),
            *conv(64, 32),
            nn.MaxPool2d(3),
        ],
        classifier=[nn.Conv2d(32, classes, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten()],
    )
