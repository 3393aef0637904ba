"""train --teacher: a checkpoint teaches another, also after a stop."""

from prunectl.checkpoints.files import sha256
from prunectl.checkpoints.header import read_header

LINE = ["train", "net.prune.safetensors", "--teacher", "net.safetensors", "--subset", 200, "--epochs", 2]


def test_a_teacher_is_recorded_and_a_resumed_training_asks_it_again(cli, net, tmp_path):
    cli(*LINE, "-o", "whole.safetensors")
    cli(*LINE, "--max-minutes", 0, "-o", "half.safetensors")
    cli("train", "--resume", "half.resume.safetensors", "-o", "resumed.safetensors")
    assert (tmp_path / "resumed.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    head, _ = read_header(tmp_path / "whole.safetensors")
    assert head.history[-1].options["teacher"] == sha256(net)


def test_a_teacher_that_cannot_teach_is_one_line(refused, tiny, net):
    expected = "--teacher has input (1, 28, 28), the network (1, 4, 4); take one for the same images"
    assert expected in refused("train", "tiny.safetensors", "--teacher", "net.safetensors")
    assert "give a --teacher too" in refused("train", "net.safetensors", "--temperature", 2)
