"""Every toy builds and runs in both modes; test_exact_removal prunes them."""

import pytest
import torch

from tests.helpers.networks import randomise_
from tests.helpers.toys import TOYS


@pytest.mark.filterwarnings("ignore:The tensor attributes:UserWarning")  # torch warns of its own recurrent layers
@pytest.mark.parametrize("name", TOYS)
def test_a_toy_runs(name: str) -> None:
    build, shape = TOYS[name]
    model = randomise_(build())
    for batch in (2, 3):
        x = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(batch))
        for out in (model.train()(x), model.eval()(x)):
            assert out.shape == (batch, 3)
            assert out.isfinite().all()


@pytest.mark.parametrize("name", TOYS)
def test_every_parameter_of_a_toy_matters(name: str) -> None:
    build, shape = TOYS[name]
    model = randomise_(build().double())
    model(torch.rand(3, *shape, dtype=torch.float64)).square().sum().backward()
    assert [key for key, value in model.named_parameters() if value.grad is None] == []
