"""VGG with BatchNorm."""

from torch import nn

from prunectl.models.layers import check_input, conv_blocks, head, network

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 1024))


def vgg16(input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """VGG-16 (Simonyan and Zisserman 2014) in the shapes of Verdenius et al. 2020 (50,703,946 parameters at 3x32x32).

    The last convolution is twice as wide as in VGG-16, and no pool follows it.
    """
    check_input("vgg16", input_shape, smallest=16)
    return network(
        features=[*conv_blocks(input_shape[0], BLOCKS), nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten()],  # (B, 4096)
        classifier=head(1024 * 4, (4096, 4096), classes),
    )
