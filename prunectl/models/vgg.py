"""VGG with BatchNorm."""

from collections import OrderedDict

from torch import nn

from prunectl.models.layers import check_input, conv_blocks, head, initialise_he_, network

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 1024))
BLOCKS_19 = ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4)


def vgg16(input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """VGG-16 (Simonyan and Zisserman 2014) in the shapes of Verdenius et al. 2020 (50,703,946 parameters at 3x32x32).

    The last convolution is twice as wide as in VGG-16, and no pool follows it.
    """
    check_input("vgg16", input_shape, smallest=16)
    return network(
        features=[*conv_blocks(input_shape[0], BLOCKS), nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten()],  # (B, 4096)
        classifier=head(1024 * 4, (4096, 4096), classes),
    )


def vgg19_bn(input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """VGG-19 with BatchNorm for CIFAR (Liu et al. 2017, arXiv:1708.06519, section 4.2).

    Sixteen convolutions without biases, global average pooling, one linear layer; 20,035,018 parameters at 3x32x32.
    """
    check_input("vgg19-bn", input_shape, smallest=16)
    layers: list[nn.Module] = []
    inputs = input_shape[0]
    for number, block in enumerate(BLOCKS_19):
        layers += [nn.MaxPool2d(2)] if number else []
        for outputs in block:
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
    model = nn.Sequential(
        OrderedDict(
            features=nn.Sequential(*layers),
            pool=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),  # (B, 512)
            classifier=nn.Linear(inputs, classes),
        )
    )
    initialise_he_(model)
    return model
