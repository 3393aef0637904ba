"""train --recalibrate: BatchNorm statistics of the weights at the end."""

import numpy as np
import torch

from prunectl.checkpoints.options.training import Recipe
from prunectl.training.train import train
from tests.helpers.networks import checkpoint_of, image_data
from tests.helpers.node_networks import SHAPE, Chain


def test_statistics_are_those_of_the_last_weights() -> None:
    torch.manual_seed(0)
    begun, data = checkpoint_of(Chain(), SHAPE), image_data(60, SHAPE)
    recipe = {"epochs": 1, "batch_size": 20, "lr": 0.05}
    stale, fresh = (train(begun, data, Recipe(**recipe, recalibrate=each)) for each in (False, True))
    for name, parameter in stale.model.named_parameters():
        assert torch.equal(parameter, dict(fresh.model.named_parameters())[name])
    with torch.no_grad():
        seen = fresh.model.conv1(fresh.preprocessing(data.train.pixels)).transpose(0, 1).flatten(1).double().numpy()
    np.testing.assert_allclose(fresh.model.norm1.running_mean.numpy(), seen.mean(1), rtol=1e-4, atol=1e-6)
    assert not np.allclose(stale.model.norm1.running_mean.numpy(), seen.mean(1), rtol=1e-2)
    assert "recalibrate" not in stale.history[-1].options
    assert fresh.history[-1].options["recalibrate"] is True
