"""Networks of linear layers only."""

from math import prod

from torch import nn

from prunectl.errors import OptionError
from prunectl.models.layers import check_input, dense, head, network


def mlp5(input_shape: tuple[int, int, int], classes: int, *, hidden: int = 512) -> nn.Module:
    """MLP5 of Verdenius et al. 2020 (arXiv:2006.00896), the authors' shapes (1,199,114 parameters at 1x28x28).

    Raises:
        OptionError: `hidden`, the width of each of the four hidden layers, is below 1.
    """
    check_input("mlp5", input_shape)
    if hidden < 1:
        raise OptionError(f"mlp5 needs a hidden width of at least 1, got {hidden}")
    return network(
        features=[nn.Flatten(), *dense(prod(input_shape), hidden)],
        classifier=head(hidden, (hidden, hidden, hidden), classes),
    )


def lenet300(input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """LeNet-300-100 (LeCun et al. 1998) in the shapes of Verdenius et al. 2020 (267,410 parameters at 1x28x28)."""
    check_input("lenet300", input_shape)
    return network(
        features=[nn.Flatten(), *dense(prod(input_shape), 300), *dense(300, 100)],
        classifier=[nn.Linear(100, classes)],
    )
