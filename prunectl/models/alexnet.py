"""AlexNet for small images."""

from torch import nn

from prunectl.models.layers import check_input, conv, head, network


def alexnet(input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """AlexNet (Krizhevsky et al. 2012) in the shapes of Verdenius et al. 2020 (28,275,530 parameters at 3x32x32)."""
    check_input("alexnet", input_shape, smallest=7)
    return network(
        features=[
            *conv(input_shape[0], 64, kernel=5, padding=2),
            nn.MaxPool2d(3, stride=2),
            *conv(64, 192, kernel=5, padding=2),
            nn.MaxPool2d(3, stride=2),
            *conv(192, 384),
            *conv(384, 256),
            *conv(256, 512),
            nn.AdaptiveAvgPool2d((2, 2)),
            nn.Flatten(),  # (B, 2048)
        ],
        classifier=head(512 * 4, (4096, 4096), classes),
    )
