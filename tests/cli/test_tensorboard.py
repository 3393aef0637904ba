"""A training on a TensorBoard: what stands there, and that watching changes nothing."""

import importlib.util

import pytest
import torch
from torch import nn

from prunectl.data.images import Preprocessing
from prunectl.measuring.pictures import confusion_picture, saliency_picture


def events(folder):
    """The accumulated events of a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"histograms": 0, "images": 0, "scalars": 0})
    found.Reload()
    return found


def test_a_training_on_a_board_is_the_same_and_stands_there(cli, tmp_path):
    pruning = "-c snip -s 0.6 --prune-delay 1 --prune-every 1"
    line = f"train --model mlp5 -M hidden=8 --subset 300 --epochs 3 {pruning}".split()
    cli(*line, "--tensorboard", "-o", "a.safetensors")
    cli(*line, "-o", "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    board = events(tmp_path / "a.tensorboard")
    tags = board.Tags()
    assert {"training/loss", "training/accuracy", "training/lr", "training/weight_sparsity", "evaluation/accuracy"} <= {
        *tags["scalars"]
    }
    assert [event.step for event in board.Scalars("training/loss")] == list(range(1, 10))
    assert [event.step for event in board.Scalars("evaluation/accuracy")] == [3, 6, 9]
    assert sorted(tags["images"]) == ["confusion", "saliency"]
    assert [event.step for event in board.Images("saliency")] == [3, 6, 9]
    assert len(tags["histograms"]) == 5
    first, *_, last = board.Histograms("weights/features.1.weight")
    assert (first.step, last.step, first.histogram_value.num) == (3, 9, 28 * 28 * 8)
    assert last.histogram_value.num < first.histogram_value.num  # what is pruned is not counted


def test_a_resumed_training_goes_on_its_board(cli, tmp_path):
    cli(
        *[
            "train",
            "--model",
            "mlp5",
            "-M",
            "hidden=8",
            "--subset",
            "300",
            "--epochs",
            "2",
            "--max-minutes",
            "0",
            "--tensorboard-dir",
            "runs/x",
        ]
    )
    cli(*["train", "--resume", "mlp5-digits.train.resume.safetensors", "--tensorboard-dir", "runs/x"])
    assert [event.step for event in events(tmp_path / "runs" / "x").Scalars("training/loss")] == [1, 2, 3, 4, 5, 6]


def test_without_tensorboard_there_is_a_hint(refused, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert refused("train", "--model", "mlp5", "--tensorboard") == (
        "prunectl: --tensorboard needs TensorBoard: pip install 'prunectl[tensorboard]'\n"
    )


def test_a_folder_that_cannot_be_written_is_one_line(raw, tmp_path):
    (tmp_path / "file").touch()
    ran = raw("train", "--model", "mlp5", "--tensorboard-dir", "file/x")
    assert ran.code == 1
    assert ran.err.splitlines()[-1].startswith("prunectl: cannot write file/x: ")


def test_confusions_are_shares_of_their_row():
    picture = confusion_picture(torch.tensor([[4, 0], [1, 1]]))
    assert picture.dtype == torch.uint8 and picture.shape == (3, 256, 256)
    assert picture[:, 0, 0].tolist() == [8, 48, 107]
    assert picture[:, 0, -1].tolist() == [255, 255, 255]
    assert picture[:, -1, 0].tolist() == picture[:, -1, -1].tolist() == [132, 152, 181]
    assert confusion_picture(torch.zeros(300, 300)).shape == (3, 300, 300)


@pytest.mark.parametrize(("channels", "shown"), [(1, [7, 7, 7]), (3, [7, 8, 9])])
def test_images_stand_above_their_saliency(channels, shown):
    model = nn.Sequential(nn.Flatten(), nn.Linear(16 * channels, 2))
    pixels = torch.arange(7, 7 + channels, dtype=torch.uint8).view(1, -1, 1, 1).expand(2, channels, 4, 4)
    plain = Preprocessing((0.0,) * channels, (1 / 255,) * channels)
    picture = saliency_picture(model, pixels, torch.tensor([0, 1]), plain)
    assert picture.shape == (3, 256, 256)
    assert picture[:, 0, 0].tolist() == shown
    assert picture[0, 128:, :128].max() == picture[0, 128:, 128:].max() == 255
