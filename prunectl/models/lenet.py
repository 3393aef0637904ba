"""LeNet-5."""

from torch import nn

from prunectl.models.layers import check_input, conv, head, network


def lenet5(input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """LeNet-5 (LeCun et al. 1998) in the shapes of Verdenius et al. 2020 (142,798 parameters at 1x28x28)."""
    check_input("lenet5", input_shape, smallest=28)
    return network(
        features=[
            *conv(input_shape[0], 6, kernel=5, padding=2),
            nn.MaxPool2d(2),
            *conv(6, 16, kernel=5, padding=0),
            nn.MaxPool2d(2),
            *conv(16, 120, kernel=5, padding=0),
            nn.AdaptiveAvgPool2d((3, 3)),
            nn.Flatten(),  # (B, 1080)
        ],
        classifier=head(120 * 9, (84,), classes),
    )
