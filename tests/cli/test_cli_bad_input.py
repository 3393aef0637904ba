"""What a user can get wrong ends in one line that says what to do, and leaves every file as it was."""

import errno
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.helpers.running import PROGRAM, listing, run_without_torch


def damaged(name: str, intact: bytes) -> bytes:
    """A file that is no whole checkpoint."""
    return {
        "empty": b"",
        "five-bytes": intact[:5],
        "cut-in-header": intact[:200],
        "cut-in-tensors": intact[:-10],
        "too-long": intact + b"more",
        "text": b"This is not a checkpoint, but a text file.\n" * 9,
        "zip": b"PK\x03\x04" + bytes(400),
        "other-schema": intact.replace(b'\\"schema\\":2', b'\\"schema\\":9'),
        "no-model-in-header": intact.replace(b'\\"classes\\"', b'\\"klasses\\"'),
    }[name]


@pytest.mark.parametrize("command", ["eval", "inspect", "report", "prune"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty", "is empty: the program that wrote it failed"),
        ("five-bytes", "is not a safetensors file, or its header is truncated"),
        ("cut-in-header", "is not a safetensors file, or its header is truncated"),
        ("cut-in-tensors", "is damaged: its header describes "),
        ("too-long", "is damaged: its header describes "),
        ("text", "is not a safetensors file"),
        ("zip", "holds PyTorch weights, not a prunectl checkpoint"),
        ("other-schema", "has header schema 9, this prunectl reads up to 3; update prunectl"),
        ("no-model-in-header", "has a damaged prunectl header"),
    ],
)
def test_a_file_that_is_no_whole_checkpoint(command, name, words, net, tmp_path, refused):
    path = tmp_path / f"{name}.safetensors"
    path.write_bytes(damaged(name, net.read_bytes()))
    assert path.read_bytes() != net.read_bytes()
    assert f"{path.name} {words}" in refused(command, path.name)


@pytest.mark.parametrize("command", ["eval", "inspect", "report", "shrink"])
def test_what_is_no_checkpoint_of_ours(command, net, tmp_path, refused):
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    (tmp_path / "folder").mkdir()
    assert "other.safetensors has no 'prunectl' header: another program wrote it" in refused(
        command, "other.safetensors"
    )
    assert "folder is a folder; use a checkpoint file (*.safetensors)" in refused(command, "folder")
    assert "cannot read gone.safetensors: no such file" in refused(command, "gone.safetensors", *_free(command))
    assert "use the NAME.safetensors beside it" in refused(command, "net.prune.mask.safetensors")


def _free(command: str) -> list[str]:
    return ["-o", "free.safetensors"] if command == "shrink" else []


@pytest.mark.parametrize("command", ["eval", "inspect", "report", "shrink"])
def test_a_mask_file_that_does_not_belong_here(command, net, tmp_path, cli, refused):
    mask = tmp_path / "net.prune.mask.safetensors"
    arguments = [command, "net.prune.safetensors", *_free(command)]
    cli("prune", "net.safetensors", "-c", "random", "-o", "twin.safetensors")
    shutil.copy(tmp_path / "twin.mask.safetensors", mask)
    assert f"{mask.name} belongs to other weights than net.prune.safetensors; copy both" in refused(*arguments)
    mask.write_bytes(mask.read_bytes()[:-3])
    assert f"{mask.name} is damaged" in refused(*arguments)
    mask.unlink()
    assert f"its mask file {mask.name} is missing; copy both files together" in refused(*arguments)


def test_data_that_does_not_fit_or_is_not_there(net, tmp_path, refused):
    for part in ("train", "test"):
        for label in ("cat", "dog"):
            (tmp_path / "pets" / part / label).mkdir(parents=True)
            Image.new("RGB", (28, 28)).save(tmp_path / "pets" / part / label / "1.png")
    (tmp_path / "empty").mkdir()
    for command in ("eval", "attack", "train"):
        told = refused(command, net.name, "--data", "imagefolder:pets")
        assert "network lenet300 takes 1x28x28 images of 10 classes, pets has 3x28x28 of 2; use the --data" in told
    assert "no cifar10 in empty (looked for cifar-10-batches-py); add --download (train, " in refused(
        "train", "--model", "lenet300", "--data", "cifar10", "--data-dir", "empty"
    )


def test_a_gpu_that_is_not_there(net, monkeypatch, refused):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for line in ("train --model lenet300", "prune --model lenet300", "eval net.safetensors", "shrink net.safetensors"):
        assert refused(*line.split(), "--device", "cuda") == (
            "prunectl: device 'cuda' is not available; use --device cpu or auto\n"
        )


@pytest.mark.parametrize("line", ["train --model lenet300", "prune --model lenet300", "shrink net.safetensors"])
def test_a_folder_that_cannot_be_written_is_told_before_the_work(line, net, monkeypatch, refused):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    told = refused(*line.split())
    assert "cannot write " in told
    assert told.endswith(" is not writable; choose another output with -o\n")


@pytest.mark.parametrize(
    ("line", "failing"),
    [
        ("train net.safetensors --epochs 0 --lr 0.1", 1),
        ("prune net.safetensors --sparsity 0.5", 1),  # the mask file
        ("prune net.safetensors --sparsity 0.5", 3),  # the checkpoint, when the mask file and its folder are synced
        ("shrink net.prune.safetensors -o net.prune.safetensors", 1),
        ("shrink net.prune.safetensors -o net.prune.safetensors", 3),
    ],
)
def test_a_full_disk_leaves_the_earlier_files_whole(line, failing, net, cli, raw, monkeypatch, tmp_path):
    cli("train", net.name, "--epochs", 0)
    before, calls = listing(tmp_path), []

    def sync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) >= failing:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", sync)
    ran = raw(*line.split(), "--force")
    assert (ran.code, ran.out) == (4, "")
    *_, told = ran.err.splitlines()
    assert told.startswith("prunectl: cannot write ")
    assert told.endswith(" has no room for it either")
    assert ": No space left on device; nothing was changed; " in told
    assert listing(tmp_path) == before
    monkeypatch.undo()
    assert cli(*line.split(), "--force", "--device", "cpu") and listing(tmp_path) != before


def test_a_training_that_diverges_keeps_its_log_and_no_more(net, raw, cli, tmp_path):
    """The files of an earlier training stay as they are; the next training replaces the log of the diverged one."""
    diverging = [
        "train",
        net.name,
        "--subset",
        300,
        "--opt",
        "sgd",
        "--lr",
        1000,
        "--epochs",
        20,
        "-o",
        "a.safetensors",
    ]
    for earlier in (False, True):
        before = listing(tmp_path)
        ran = raw(*diverging, *(["--force"] if earlier else []))
        assert (ran.code, ran.out) == (1, "")
        step = int(ran.err.removeprefix("prunectl: the loss is nan after step ").partition(":")[0])
        assert ran.err == (
            f"prunectl: the loss is nan after step {step}: training diverged; lower --lr; "
            "see the log a.log.jsonl.part\n"
        )
        log = (tmp_path / "a.log.jsonl.part").read_text().splitlines()
        assert [json.loads(line)["step"] for line in log] == list(range(1, step))
        assert listing(tmp_path).keys() == {*before, "a.log.jsonl.part"}
        assert before.items() <= listing(tmp_path).items()
        if not earlier:
            cli("train", net.name, "--subset", 300, "--epochs", 1, "-o", "a.safetensors")
            assert listing(tmp_path).keys() == {*before, "a.safetensors", "a.log.jsonl"}
            assert len((tmp_path / "a.log.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    "line",
    [
        "frobnicate",
        "eval net.safetensors --frob",
        "eval net.safetensors --batch-size",
        "eval net.safetensors --batch-size x",
        "eval net.safetensors -b 0",
        "prune net.safetensors -s much",
        "prune net.safetensors -c snap --min-nodes 0",
        "prune net.safetensors -c snap --multiple-of 0",
        "train net.safetensors --epochs 1.5",
        "train net.safetensors --epochs -1",
        "train net.safetensors --seed -1",
        "shrink net.safetensors net.safetensors",
    ],
)
def test_a_usage_error_exits_2(line, net, raw, tmp_path):
    before = listing(tmp_path)
    ran = raw(*line.split())
    assert (ran.code, ran.out) == (2, "")
    assert "Error: " in ran.err
    assert listing(tmp_path) == before


def test_a_bug_keeps_its_traceback(net, monkeypatch, raw):
    def broken(*arguments: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("prunectl.checkpoints.checkpoint.read", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        raw("eval", net.name)


def test_a_mask_file_in_the_way_is_not_replaced(net, cli, refused, tmp_path):
    (tmp_path / "new.mask.safetensors").write_text("mine")
    line = ["prune", net.name, "--criterion", "random", "-s", 0.5, "-o", "new.safetensors"]
    assert "new.mask.safetensors exists" in refused(*line)
    assert cli(*line, "--force") == "new.safetensors\n"


def test_an_output_is_a_safetensors_file(net, refused):
    assert "the name of an output must end in .safetensors or .st, got new.pt" in refused(
        "train", net.name, "-o", "new.pt"
    )


def test_what_cannot_be_noted_is_measured_all_the_same(net, raw, refused, tmp_path):
    results = tmp_path / "net.results.jsonl"
    results.mkdir()
    warning = "warning: cannot write net.results.jsonl: it is not a regular file; the results are not recorded"
    for command in (("eval", net.name, "--no-latency"), ("attack", net.name, "-a", "fgsm", "-n", 20, "--eps", "0.1")):
        ran = raw(*command)
        assert (ran.code, ran.out, ran.err.splitlines()[0]) == (0, "net.safetensors\n", warning)
        assert json.loads(raw(*command, "--json").out)["command"] == command[0]
    assert [path for path in tmp_path.glob("net.*") if path.suffix != ".safetensors"] == [results]
    told = raw("attack", net.name, "-a", "fgsm", "-n", 20, "--save-examples", 2)
    assert told.code == 1
    assert told.err.splitlines()[-1] == (
        "prunectl: --save-examples: the checkpoint's folder is not writable; copy the checkpoint to another one"
    )


FULL = RuntimeError("[enforce fail at alloc_cpu] DefaultCPUAllocator: can't allocate memory: you tried ...")


@pytest.mark.parametrize("error", [MemoryError(), FULL])
def test_full_memory_is_told(error, net, refused, monkeypatch):
    def full(*arguments, **options):
        raise error

    monkeypatch.setattr("prunectl.measuring.evaluate.evaluate", full)
    told = "prunectl: out of memory; use a smaller -b, --subset or --image-size\n"
    assert refused("eval", net.name, "--no-latency") == told


def test_a_full_disk_behind_stdout_is_told(net, tmp_path):
    line = [*PROGRAM, "inspect", net.name]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(line, check=False, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "prunectl: cannot write to stdout: No space left on device\n")


def test_weights_of_torch_are_refused_before_torch_is_loaded(tmp_path, refused) -> None:
    (tmp_path / "net.pth").write_bytes(b"PK\x03\x04" + bytes(60))
    for command in ("prune net.pth -s 0.5", "eval net.pth", "inspect net.pth", "shrink net.pth"):
        assert (
            "net.pth holds PyTorch weights, not a prunectl checkpoint; import it: prunectl import net.pth "
            "--model NAME -o NEW.safetensors" in refused(*command.split())
        )


@pytest.mark.parametrize(
    "line",
    [
        *("eval x.safetensors", "shrink x.safetensors", "repair x.safetensors", "attack x.safetensors"),
        *("train x.safetensors", "prune x.safetensors -c magnitude -s 0.5", "export x.safetensors"),
    ],
)
def test_a_missing_checkpoint_is_refused_before_torch_is_loaded(line, tmp_path):
    ran = run_without_torch(tmp_path, *line.split())
    message = "prunectl: cannot read x.safetensors: no such file or directory; check the path\n"
    assert (ran.code, ran.out, ran.err) == (1, "", message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("-o x.py --pixels", "--pixels is for NAME.onnx and NAME.pt2; leave it out, or choose such an output"),
        ("-o x.onnx --int8 --fp16", "--fp16 and --int8 exclude each other; use one of them"),
        ("-o x.pth", "expected NAME.onnx, NAME.pt2, NAME.py or FOLDER/, got x.pth"),
    ],
)
def test_options_of_an_export_are_refused_before_torch_is_loaded(options, message, tiny):
    ran = run_without_torch(tiny.parent, "export", "tiny.safetensors", *options.split())
    assert (ran.code, ran.out, ran.err) == (1, "", f"prunectl: {message}\n")
