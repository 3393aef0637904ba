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

from tests.running import PROGRAM, listing

BAD_VALUES = {
    "prune net.safetensors -o a.mask.safetensors": "a.mask.safetensors is the name of a file beside a checkpoint;",
    "train net.safetensors -o a.resume.safetensors": "a.resume.safetensors is the name of a file beside a checkpoint;",
    "train -M stem=cifar": "-M gives an option of a fresh network; name the network with --model",
    "prune -M stem=cifar": "-M gives an option of a fresh network; name the network with --model",
    "prune net.safetensors -c lamp --unit nodes": "scope lamp is for weights; nodes are ranked global or layer",
    "attack net.safetensors -a ,": "-a takes a name, or several with commas between them, got ','",
    "attack net.safetensors -a fgsm,,pgd": "-a takes a name, or several with commas between them, got 'fgsm,,pgd'",
    "attack net.safetensors -a deepfool -O overshoot=-1": "'overshoot' of attack deepfool is 0 or more, got -1.0",
    "eval net.safetensors --data digits:there": "--data digits:there: digits lies in no folder; write digits",
    "train net.safetensors --reg-weight 1": "--reg-weight is the weight of a regulariser; name it with --reg",
    "train net.safetensors --ema 1": "--ema 1 keeps the first weights for ever; take less",
    "train net.safetensors --adv-eps 0": "--adv-eps 0 makes no adversarials; leave it out",
    "train net.safetensors --augment none,flip": "--augment none stands alone, got none,flip",
    "explain net.safetensors --classes 7": "--classes goes with --input; --data has its own",
    "explain --model lenet300 --classes 7": "--classes goes with --input; --data has its own",
    "report net.safetensors --no-run": "--no-run is for a page; give -o NAME.html",
    "report net.safetensors --inside net.safetensors": "--inside is for a page; give -o NAME.html",
    "prune net.safetensors -c snipti": "no criterion named 'snipti'; did you mean 'snipit'?",
    "prune net.safetensors -c zzz": "no criterion named 'zzz'; known: snip, snipit,",
    "prune net.safetensors -c nowhere.py:mine": "no criterion at 'nowhere.py:mine' (no file nowhere.py)",
    "prune net.safetensors --schedule oneshot": "no schedule named 'oneshot'; did you mean 'one-shot'?",
    "prune net.safetensors --scope globl": "no scope named 'globl'",
    "prune net.safetensors --data digitz": "no data named 'digitz'; did you mean 'digits'?",
    "prune --model lenet30": "no model named 'lenet30'; did you mean 'lenet300'?",
    "train --model resnet17": "no model named 'resnet17'; did you mean 'resnet18'?",
    "train --model lenet300 --data mnits": "no data named 'mnits'; did you mean 'mnist'?",
    "train --model lenet300 --opt adma": "no optimizer named 'adma'; did you mean 'adam'?",
    "train --model lenet300 --reg l3": "no regularizer named 'l3'; did you mean 'l",
    "train --model lenet300 --sched cosin": "no learning-rate schedule named 'cosin'; did you mean 'cosine'?",
    "attack net.safetensors -a pgdd": "no attack named 'pgdd'; did you mean 'pgd'?",
    "prune net.safetensors -s 1.0": "a sparsity to prune to lies between 0 and 1 (0.9 = 90 % pruned), got 1.0",
    "prune net.safetensors -s 0": "lies between 0 and 1 (0.9 = 90 % pruned), got 0.0",
    "prune net.safetensors --sparsity=-0.1": "lies between 0 and 1 (0.9 = 90 % pruned), got -0.1",
    "prune net.safetensors -s nan": "lies between 0 and 1 (0.9 = 90 % pruned), got nan",
    "prune net.safetensors -s 90": "lies between 0 and 1 (0.9 = 90 % pruned), got 90.0",
    "prune net.prune.safetensors -s 0.5": "the network is at weight sparsity 0.98 already, 0.5 was asked; ask for more",
    "prune net.prune.safetensors -s 0.98": "the network is at weight sparsity 0.98 already, 0.98 was asked",
    "prune net.safetensors -c snap -s 0.5 --flops 2x": "give one target, got --sparsity and --flops",
    "prune net.safetensors -c snap --params 2x --size 1KB": "give one target, got --params and --size",
    "prune net.safetensors -c snap --flops 8": "--flops 8 asks for 8 FLOPs, ",
    "prune net.safetensors -c snap --flops 8y": "--flops takes how many times less (8x), the share that remains",
    "prune net.safetensors -c snap --flops 0.5": "that remains (0.125x) or a count (300M), got '0.5'",
    "prune net.safetensors -c snap --size 200": "or bytes (200KB), got '200'",
    "prune net.safetensors -c snap --latency 3ms": "the share that remains (0.125x), got '3ms'",
    "prune net.safetensors -c snap --params 1x": "the network has 267,410 parameters already, --params 1x asks",
    "prune net.safetensors -c snap -s 0.999": "node sparsity 0.999 was asked, 0.995 is the most with 1 or more",
    "prune net.safetensors -c snap -s 0.9 --min-nodes 60": "0.7 is the most with 60 or more nodes left on every axis",
    "prune net.safetensors -c snap --outer-layers": "no channel of this network's images can be removed",
    "prune net.safetensors -c snip --flops 2x": "--flops is a target for criteria that prune nodes (snap, snapit, ",
    "prune net.safetensors -c cnip --scope layer": "nodes are ranked together: --scope is global, got 'layer'",
    "prune net.safetensors -c snip --multiple-of 8": "--multiple-of and --outer-layers go with criteria that prune",
    "prune net.safetensors -c snap -O gate=1": "criterion snap has no option 'gate'; its options: batches=5,",
    "prune net.safetensors -c l0": "l0 prunes while a network trains: prunectl train --criterion l0",
    "prune net.safetensors -c rigl -s 0.5": "rigl prunes while a network trains: prunectl train --criterion rigl",
    "prune net.safetensors -c n:m -s 0.5": "give one target, got --sparsity and --scope 2:4",
    "prune net.safetensors -c snip --scope 4:2": "a pattern N:M keeps N of every M weights, N < M, such as",
    "prune net.safetensors -c snap --scope 2:4": "scope 2:4 is for weights; nodes are ranked global or layer",
    "prune net.safetensors -c snip --threshold 0.1 -s 0.5": "give one target, got --sparsity and --threshold",
    "prune net.safetensors -c cnip --threshold 0.1": "ranked together: give --sparsity in place of --threshold",
    "prune net.safetensors -c snap --unit weights": "--unit makes a criterion of nodes from one of weights that prunes",
    "prune net.safetensors -c snap --shuffle-layerwise": "shuffling is for masks of weights; these are of nodes, take",
    "prune net.safetensors -O bn=batch -O chunk=4": "bn=batch takes the statistics of whole batches, which chunks do",
    "train net.safetensors -c gmp --rewind-to 1 --epochs 90": "--rewind-to is for criteria that rewind, such as imp",
    "train net.safetensors -c imp --threshold 0.1 -s 0.5": "give one target: a sparsity or a threshold",
    "train net.safetensors -c l0 -O count=nodes": "droprate is in (0, 1), count weights or flops; got 0.5 and nodes",
    "train net.safetensors -c magnitude --scope 2:4": "--scope 2:4 is reached at once: train first, then prune",
    "train net.safetensors --rewind-to 1": "--rewind-to says how to prune during training; name a --criterion too",
    "prune --model logistic-regression -c snap": "logistic-regression has no node that can go, its outputs stay; take",
    "shrink net.safetensors": "nothing is pruned, so nothing can go; run `prunectl prune` first",
    "prune net.safetensors -O batches": "-O takes KEY=VALUE, got 'batches'",
    "prune net.safetensors -O =3": "-O takes KEY=VALUE, got '=3'",
    "prune net.safetensors -O batch=3": "criterion snipit has no option 'batch'; its options: batches=5,",
    "prune net.safetensors -O batches=many": "option 'batches' of criterion snipit is of type int, as 5 is; got 'many'",
    "prune net.safetensors -O bn=wrong": "no BatchNorm mode named 'wrong'; did you mean 'running'?",
    "train net.safetensors -O p=1": "options for a regulariser were given without one; name it with --reg",
    "train net.safetensors --reg l1 -O q=1": "regularizer l1 has no option 'q'; its options: none",
    "attack net.safetensors -a pgd -O stepz=1": "attack pgd has no option 'stepz'; its options: steps=40",
    "train --model mlp5 -M width=3": "model mlp5 has no option 'width'; its options: hidden=512",
    "train --model mlp5 -M hidden=0": "mlp5 needs a hidden width of at least 1, got 0",
    "train --model lenet5 --image-size 8": "lenet5 needs images of at least 1x28x28",
    "train net.safetensors --lr=-1": "--lr lies between 0 and 1000, got -1",
    "train net.safetensors --lr nan": "--lr lies between 0 and 1000, got nan",
    "train net.safetensors --lr 1e30": "--lr lies between 0 and 1000, got 1e+30",
    "train net.safetensors --ema 2": "--ema lies between 0 and 1, got 2",
    "train net.safetensors -b 1": "--batch-size lies between 2 and",
    "train net.safetensors --augment flop": "no augmentation named 'flop'; did you mean 'flip'?",
    "train net.safetensors --subset 5000": "--subset 5000: digits has 1442 training images; take 2 to that many",
    "attack net.safetensors --eps one": "--eps takes numbers like 8/255 or 0.03, got 'one'",
    "attack net.safetensors --eps 1/0": "--eps takes numbers like 8/255 or 0.03, got '1/0'",
    "attack net.safetensors --eps 8": "eps of linf attacks lie above 0 and up to 1 for these images, got 8; pixels",
    "attack net.safetensors --eps 0.1,nan": "eps of linf attacks lie above 0 and up to 1 for these images, got 0.1,",
    "attack net.safetensors --eps 29 --norm l2": "eps of l2 attacks lie above 0 and up to 28 for these images, got 29",
    "attack net.safetensors -a ddn --norm linf": "--norm linf has no attack of that name: got ddn (l2)",
    "attack net.safetensors -a fgsm,ddn": "attacks of one run share a norm, got fgsm (linf), ddn (l2)",
    "attack net.safetensors -a fgsm,fgsm": "an attack is named twice: fgsm, fgsm",
    "attack net.safetensors -a quick,ddn": "quick is several attacks in cascade; give it alone",
    "attack net.safetensors --norm l3": "no norm named 'l3'; did you mean 'l2'?",
    "attack net.safetensors -a L2DeepFoolAttak": "no attack named 'L2DeepFoolAttak'; did you mean 'L2DeepFoolAttack'?",
    "attack net.safetensors -a SpatialAttack": "attack SpatialAttack is bounded by no norm",
    "attack net.safetensors -a VirtualAdversarialAttack": "does not take these options: ",
    "attack net.safetensors -a L2BrendelBethgeAttack": "needs numba; install it: pip install numba",
    "attack net.safetensors -a apgd-ce -O steps=0": "option 'steps' of attack apgd-ce is 1 or more, got 0",
    "attack net.safetensors -a square -O share=2": "does not take these options: queries are 1 or more and share lies",
    "attack net.safetensors -n none": "-n takes a number of images or all, got 'none'",
    "attack net.safetensors -n 0": "-n takes a number of images or all, got '0'",
    "attack net.safetensors --target eleven": "--target is next, random or a class (0, 1, 2, 3, ",
    "attack net.safetensors --corruptions blur --eps 0.1": "--corruptions attacks nothing; leave out --eps",
    "attack net.safetensors --save-examples 2 --resume": "--save-examples needs all images, and an interrupted",
    "train net.safetensors --adv-loss trades": "say how to make adversarials; give --adv-eps too",
    "attack net.safetensors --corruptions fog": "no corruption named 'fog'; known: gaussian-noise",
    "attack net.safetensors --resume": "no interrupted attack at net.attack.part.jsonl; leave out --resume",
    "attack net.safetensors --reference none.safetensors": "none.safetensors",
    "train net.safetensors --adv-eps 2": "--adv-eps lies between 0 and 1, got 2",
    "train net.safetensors --adv-eps x": "--adv-eps takes numbers like 8/255 or 0.03, got 'x'",
    "train net.safetensors --adv-eps 0.1 --adv-loss trade": "no adversarial loss named 'trade'; did you mean 'trades'?",
    "train net.safetensors --model lenet300": "give a CHECKPOINT or --model, not both: got net.safetensors and len",
    "prune net.safetensors --model lenet300": "give a CHECKPOINT or --model, not both: got net.safetensors and len",
    "eval net.safetensors --device gpu": "no device named 'gpu'; take auto, cpu, cuda or mps",
    "eval net.safetensors --data synthetic --image-size 16": "takes 1x28x28 images of 10 classes, synthetic has 1x16",
    "report net.safetensors --json --csv": "give one of --json, --csv, --markdown, --latex and -o",
    "report net.safetensors missing.safetensors": "cannot read missing.safetensors: no such file or directory",
    "train net.safetensors -o there/is/none.safetensors": "there/is; create it first",
    "prune net.safetensors -o folder": "cannot write folder: it is not a regular file; choose another output with -o",
    "prune net.safetensors -o /dev/null": "cannot write /dev/null: it is not a regular file",
    "prune net.safetensors -o net.safetensors": "net.safetensors exists; choose another output with -o, or replace it",
    "prune net.safetensors": "net.prune.safetensors exists; choose another output with -o, or replace it with --force",
}


@pytest.mark.parametrize(("line", "words"), BAD_VALUES.items())
def test_a_value_that_cannot_work(line, words, net, tmp_path, refused):
    (tmp_path / "folder").mkdir()
    needs_name = line.startswith("prune net.safetensors -") and " -o " not in line
    assert words in refused(*line.split(), *(["-o", "new.safetensors"] if needs_name else []))


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
        "other-schema": intact.replace(b'\\"schema\\":1', b'\\"schema\\":9'),
        "no-model-in-header": intact.replace(b'\\"classes\\"', b'\\"klasses\\"'),
    }[name]


@pytest.mark.parametrize("command", ["eval", "inspect", "report", "prune"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty", "is empty; the step that should have written it failed"),
        ("five-bytes", "is not a safetensors file, or was cut off in its header"),
        ("cut-in-header", "is not a safetensors file, or was cut off in its header"),
        ("cut-in-tensors", "is damaged: its header tells of "),
        ("too-long", "is damaged: its header tells of "),
        ("text", "is not a safetensors file"),
        ("zip", "is not a safetensors file"),
        ("other-schema", "has header schema 9, this prunectl reads 1; update prunectl"),
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
    assert "other.safetensors has no 'prunectl' header: something else wrote it" in refused(
        command, "other.safetensors"
    )
    assert "folder is a folder; give a checkpoint file (*.safetensors)" in refused(command, "folder")
    assert "cannot read gone.safetensors: no such file" in refused(command, "gone.safetensors", *_free(command))
    assert "give the NAME.safetensors beside it" in refused(command, "net.prune.mask.safetensors")


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
        assert "network lenet300 takes 1x28x28 images of 10 classes, pets has 3x28x28 of 2; give the --data" in told
    assert "no cifar10 in empty (looked for cifar-10-batches-py); bring it with --download (train, " in refused(
        "train", "--model", "lenet300", "--data", "cifar10", "--data-dir", "empty"
    )


def test_a_gpu_that_is_not_there(net, monkeypatch, refused):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for line in ("train --model lenet300", "prune --model lenet300", "eval net.safetensors", "shrink net.safetensors"):
        assert refused(*line.split(), "--device", "cuda") == (
            "prunectl: device 'cuda' was asked for and is not here; take --device cpu or auto\n"
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
    assert (ran.code, ran.out) == (1, "")
    *_, told = ran.err.splitlines()
    assert told.startswith("prunectl: cannot write ")
    assert told.endswith(": No space left on device; nothing was changed there")
    assert listing(tmp_path) == before
    monkeypatch.undo()
    assert cli(*line.split(), "--force", "--device", "cpu") and listing(tmp_path) != before


def test_a_training_that_diverges_writes_no_checkpoint(net, raw, tmp_path):
    before = listing(tmp_path)
    ran = raw("train", net.name, "--opt", "sgd", "--lr", 1000, "--epochs", 20)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("prunectl: the loss is ") and ran.err.count("\n") == 1
    assert ran.err.endswith(": training diverged; lower --lr\n")
    assert listing(tmp_path) == before


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

    monkeypatch.setattr("prunectl.checkpoint.read", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        raw("eval", net.name)


def test_a_mask_file_in_the_way_is_not_replaced(net, cli, refused, tmp_path):
    (tmp_path / "new.mask.safetensors").write_text("mine")
    line = ["prune", net.name, "--criterion", "random", "-s", 0.5, "-o", "new.safetensors"]
    assert "new.mask.safetensors exists" in refused(*line)
    assert cli(*line, "--force") == "new.safetensors\n"


def test_an_output_is_a_safetensors_file(net, refused):
    assert "an output's name ends in .safetensors or .st, got new.pt" in refused("train", net.name, "-o", "new.pt")


def test_what_cannot_be_noted_is_measured_all_the_same(net, raw, refused, tmp_path):
    results = tmp_path / "net.results.jsonl"
    results.mkdir()
    warning = "warning: cannot write net.results.jsonl: it is not a regular file; what is measured is not noted there"
    for command in (("eval", net.name, "--no-latency"), ("attack", net.name, "-a", "fgsm", "-n", 20, "--eps", "0.1")):
        ran = raw(*command)
        assert (ran.code, ran.out, ran.err.splitlines()[0]) == (0, "net.safetensors\n", warning)
        assert json.loads(raw(*command, "--json").out)["command"] == command[0]
    assert [path for path in tmp_path.glob("net.*") if path.suffix != ".safetensors"] == [results]
    told = raw("attack", net.name, "-a", "fgsm", "-n", 20, "--save-examples", 2)
    assert told.code == 1
    assert told.err.splitlines()[-1] == (
        "prunectl: --save-examples: nothing can be written beside the checkpoint; copy it to a folder of your own"
    )


FULL = RuntimeError("[enforce fail at alloc_cpu] DefaultCPUAllocator: can't allocate memory: you tried ...")


@pytest.mark.parametrize("error", [MemoryError(), FULL])
def test_full_memory_is_told(error, net, refused, monkeypatch):
    def full(*arguments, **options):
        raise error

    monkeypatch.setattr("prunectl.evaluate.evaluate", full)
    told = "prunectl: out of memory; take a smaller -b, --subset or --image-size\n"
    assert refused("eval", net.name, "--no-latency") == told


def test_a_full_disk_behind_stdout_is_told(net, tmp_path):
    line = [*PROGRAM, "inspect", net.name]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(line, check=False, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "prunectl: cannot write to stdout: No space left on device\n")
