"""train --recalibrate: BatchNorm statistics of the weights at the end."""

import numpy as np
import pytest
import torch
from torch import nn

from prunectl.checkpoints.options.training import Recipe
from prunectl.training.lag import lag
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


@pytest.mark.parametrize("steps", [0, 1, 11, 40])
def test_lag_is_the_share_of_a_running_mean_from_before_the_steps(steps: int) -> None:
    norm = nn.BatchNorm2d(1)
    norm.running_mean.fill_(1.0)
    for _ in range(steps):
        norm(torch.zeros(4, 1, 2, 2))
    assert lag(nn.Sequential(nn.BatchNorm2d(3, momentum=0.5), norm), steps) == pytest.approx(
        float(norm.running_mean), rel=1e-4
    )


def test_nothing_lags_without_running_averages() -> None:
    assert lag(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, momentum=None)), 1) == 0
    assert lag(nn.BatchNorm2d(2, track_running_stats=False), 1) == 0


def test_a_short_training_hints_at_recalibration_and_an_option_ends_that(raw, tmp_path) -> None:
    line = "train --model resnet20 -M width=2 --image-size 4 --subset 40 -b 20 --device cpu -o net.safetensors --force"
    ran = raw(*line.split(), "--epochs", 1)
    hint = "hint: after 2 steps, 81% of BatchNorm's running statistics is from before the training; --"
    assert hint in ran.err
    assert "hint: after" not in raw(*line.split(), "--epochs", 1, "--recalibrate").err
    assert "hint: after" not in raw(*line.split(), "--epochs", 0).err
    assert "hint: after" not in raw(*line.split(), "--epochs", 15).err
