"""The space on disk that a training needs is said before its first step."""

import pytest

from prunectl.cli import train_space


@pytest.mark.parametrize("how", ["adam", "sgd --momentum 0", "adamw --ema 0.9"])
def test_the_size_of_a_save_is_known_before_the_first_step(how, raw, tmp_path, monkeypatch):
    foretold = []
    monkeypatch.setattr(train_space, "say", lambda trainer, *_: foretold.append(trainer.state_bytes()))
    line = ["train", "--model", "lenet300", "--subset", 256, "--epochs", 2, "--opt", *how.split()]
    assert raw(*line, "--max-minutes", 0, "-o", "a.safetensors").code == 0
    found = (tmp_path / "a.resume.safetensors").stat().st_size
    assert foretold[0] == pytest.approx(found, rel=0.02)


@pytest.mark.parametrize(("free", "warned"), [(5_000_000, True), (50_000_000, False)])
def test_too_little_space_is_said_before_the_first_step(raw, monkeypatch, free, warned):
    monkeypatch.setattr(train_space, "_free", lambda folder: free)
    line = ["train", "--model", "lenet300", "--subset", 256, "--epochs", 1, "-o", "a.safetensors"]
    ran = raw(*line)
    assert ran.code == 0
    assert ran.err.startswith("warning: a save for --resume takes 3.21MB, the checkpoint 1.07MB: up to 6.42") == warned
    assert ("has 5MB free; make room" in ran.err) == warned


def test_a_large_save_is_said_where_there_is_room_too(raw, monkeypatch):
    monkeypatch.setattr(train_space, "_LARGE", 1_000_000)
    ran = raw("train", "--model", "lenet300", "--subset", 256, "--epochs", 1, "-o", "a.safetensors")
    assert ran.err.startswith("train: a save for --resume takes 3.2")
