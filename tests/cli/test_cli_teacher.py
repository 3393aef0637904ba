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


def test_a_resumed_training_finds_a_teacher_that_moved_with_it(cli, refused, net, tmp_path):
    cli(*LINE, "--max-minutes", 0, "-o", "half.safetensors")
    other, elsewhere = tmp_path / "other", tmp_path / "elsewhere"
    other.mkdir()
    elsewhere.mkdir()
    for file in tmp_path.glob("half.*"):
        file.rename(other / file.name)
    net.rename(elsewhere / "called-otherwise.safetensors")
    said = refused("train", "--resume", "other/half.resume.safetensors", "-o", "resumed.safetensors")
    assert "other/half.resume.safetensors needs its teacher, the checkpoint with sha256" in said
    (elsewhere / "called-otherwise.safetensors").rename(other / "called-otherwise.safetensors")
    cli("train", "--resume", "other/half.resume.safetensors", "-o", "resumed.safetensors")


def test_a_distillation_runs_again_where_its_teacher_lies_beside_it(cli, raw, net, tmp_path):
    cli("prune", "--model", "lenet300", "-c", "magnitude", "-s", "0.9", "-o", "a.safetensors")
    how = ["--subset", 200, "--epochs", 1, "--teacher-weight", 0.9, "--temperature", 2]
    cli("train", "a.safetensors", "--teacher", "net.safetensors", *how, "-o", "b.safetensors")
    assert " --teacher net.safetensors" in cli("log", "b.safetensors").replace("\n|     ", "")
    made = cli("rerun", "b.safetensors", "-o", "again").strip()
    assert (tmp_path / made).read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    net.unlink()
    missing = "it needs the checkpoint with sha256"
    assert missing in cli("log", "b.safetensors")
    assert missing in raw("rerun", "b.safetensors", "-o", "more").err


def test_a_teacher_that_cannot_teach_is_one_line(refused, tiny, net):
    expected = "--teacher has input (1, 28, 28), the network (1, 4, 4); use a checkpoint for the same images"
    assert expected in refused("train", "tiny.safetensors", "--teacher", "net.safetensors")
    assert "are for a --teacher; add one" in refused("train", "net.safetensors", "--temperature", 2)
