"""Wrong options and names say which one was meant."""

import pytest

WRONG = {
    # as other tools call it
    "train --l2 1": "--wd",
    "train --weight-decya 1": "--weight-decay",
    "train --learning_rate 1": "--learning-rate",
    "train --scheduler cosine": "--sched",
    "train --lr-scheduler cosine": "--sched",
    "train --num-epochs 3": "--epochs",
    "train --bs 3": "--batch-size",
    "train --batchsize 3": "--batch-size",
    "train --grad-clip 3": "--clip",
    "train --net vgg16": "--model",
    "train --architecture vgg16": "--model",
    "train --num-classes 3": "--classes",
    "train --input-shape 3x8x8": "--input",
    "train --img-size 3": "--image-size",
    "train --data-path x": "--data-dir",
    "train --root x": "--data-dir",
    "train --gpu 0": "--device",
    "train --random-seed 3": "--seed",
    "train --distill x": "--teacher",
    "train --eps 0.1": "--adv-eps",
    "train --fp16": "--amp",
    "train --overwrite": "--force",
    "train --silent": "--quiet",
    "train --debug": "--verbose",
    "prune --ratio 0.5": "--sparsity",
    "export --uint8": "--pixels",
    "prune --pruning_limit 0.5": "--sparsity",
    "prune --prune_criterion SNIPit": "--criterion",
    "train --prune_freq 4": "--prune-every",
    "prune --prune-ratio 0.5": "--sparsity",
    "prune --pruning-ratio 0.5": "--sparsity",
    "prune --method snip": "--criterion",
    "prune --pruner snip": "--criterion",
    "prune --importance snip": "--criterion",
    "prune --ignored-layers head": "--keep",
    "prune --round-to 8": "--multiple-of",
    "prune --macs 2x": "--flops",
    "prune --checkpoint x": "CHECKPOINT",
    "prune --sparsty 0.5": "--sparsity",
    "attack --epsilon 0.1": "--eps",
    "attack --num-samples 10": "--n",
    "eval --batch 10": "--batch-size",
    "shrink --out x": "--output",
    "sweep --output x": "--out",
    "sweep --workers 2": "--jobs",
    "export --save-path x": "--output",
}
COMMANDS = {
    "evaluate": "eval",
    "test": "eval",
    "finetune": "train",
    "tain": "train",
    "prun": "prune",
    "infer": "predict",
    "history": "log",
    "compare": "diff",
    "methods": "criteria",
    "dataset": "datasets",
    "onnx": "export",
}


@pytest.mark.parametrize(("line", "meant"), WRONG.items())
def test_a_wrong_option(line, meant, raw):
    ran = raw(*line.split())
    assert (ran.code, ran.out) == (2, "")
    wrong = line.split()[1]
    assert ran.err.splitlines()[-1] == f"Error: No such option: {wrong}. Did you mean {meant}?"


@pytest.mark.parametrize(("wrong", "meant"), COMMANDS.items())
def test_a_wrong_command(wrong, meant, raw):
    ran = raw(wrong)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines()[-1] == f"Error: No such command: {wrong}. Did you mean {meant}?"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("eval --corruptions blur", "No such option: --corruptions. It is an option of attack."),
        ("shrink --zzz", "No such option: --zzz. See prunectl shrink --help."),
        ("frobnicate", "No such command: frobnicate. Commands: train, prune, "),
    ],
)
def test_what_has_no_near_name(line, words, raw):
    assert words in raw(*line.split()).err.splitlines()[-1]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("train --model resnet50", "did you mean 'torchvision/resnet50'"),
        ("train --arch lenet30", "did you mean 'lenet300'?"),
        ("train --model mlp5 --dataset cifar", "did you mean 'cifar10"),
        ("train --model mlp5 --optimizer adm", "did you mean 'adam'?"),
        ("prune -c snippit", "did you mean 'snipit'?"),
        ("train --model net.py", "'net.py' names no function; write net.py:build (the file defines build, Net)"),
        ("train --model net.py:biuld", "the file has no 'biuld'; write net.py:build"),
        ("criteria sinp", "did you mean 'snip'?"),
        ("models resnet19", "did you mean 'resnet18'?"),
        ("models torchvision/resnt50", "did you mean 'torchvision/resnet50'?"),
        ("datasets cifar-10", "did you mean 'cifar10'?"),
        ("attacks pdg", "did you mean 'pgd'?"),
    ],
)
def test_a_wrong_name(line, words, refused, tmp_path):
    (tmp_path / "net.py").write_text("class Net: pass\n\ndef build(shape, classes): pass\n")
    assert words in refused(*line.split())
