"""The network without a hidden layer."""

from math import prod

from torch import nn

from prunectl.models.layers import check_input, network


def logistic_regression(input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Softmax regression on the pixels (7,850 parameters at 1x28x28, 10 classes); no node can be pruned."""
    check_input("logistic-regression", input_shape)
    return network(features=[nn.Flatten()], classifier=[nn.Linear(prod(input_shape), classes)])
