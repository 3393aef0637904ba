"""Wrong options and names say which one was meant."""

import pytest
import typer

from prunectl.cli.app import app
from prunectl.cli.help.other_options import OTHERS
from prunectl.cli.help.wrong_options import spellings

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
    "train --weights x": "CHECKPOINT",
    "train --pruning-amount 0.5": "--amount",
    "train --cosine": "--sched",
    "train --precision bf16": "--amp",
    "prune --target-sparsity 0.5": "--sparsity",
    "prune --channels": "--unit",
    "prune --importance-scores": "--scores-out",
    "prune --layers-to-skip x": "--keep",
    "prune --speedup 2x": "--flops or --latency",
    "eval --json-output": "--json",
    "eval --onnx": "--runtime",
    "export --format onnx": "--output",
    "export --quantize": "--int8",
    "export --half": "--fp16",
    "report --html": "--output",
    "report --format csv": "--csv or --output",
    "import --arch resnet18": "--model",
    "import --normalize 0.5": "--mean",
    "predict --k 3": "--top",
    # of torch, timm, Lightning, Torch-Pruning, Hugging Face and Keras
    "train --max-epochs 3": "--epochs",
    "train --num-train-epochs 3": "--epochs",
    "train --per-device-train-batch-size 8": "--batch-size",
    "train --max-grad-norm 1": "--clip",
    "train --gamma 0.1": "--sched",
    "train --step-size 30": "--sched",
    "train --aa rand": "--augment",
    "train --model-ema": "--ema",
    "train --limit-train-batches 10": "--subset",
    "train --logdir x": "--tensorboard-dir",
    "train --wandb": "--tensorboard",
    "train --accelerator gpu": "--device",
    "train --save-dir x": "--output",
    "train --l1 0.1": "--reg",
    "train --kd-alpha 0.5": "--teacher-weight",
    "train --jit": "--compile",
    "train --prune snip": "--criterion",
    "train -l 0.1": "--lr",
    "train -m resnet18": "--model",
    "prune --max-pruning-ratio 0.9": "--max-pruned",
    "prune --iterative-steps 5": "--steps",
    "prune --isomorphic": "--scope",
    "prune --2:4": "--scope",
    "prune --max-accuracy-drop 0.01": "--min-accuracy",
    "prune --ignored-modules head": "--keep",
    "prune --example-inputs x": "--input",
    "repair --dense x": "--reference",
    "repair --nsamples 128": "--n",
    "import --no-strict": "--allow-missing",
    "import --labels x": "--class-names",
    "import --state-dict x": "FILE",
    "export --simplify": "--fuse",
    "export --mean 0.5": "--pixels",
    "eval --model x": "CHECKPOINT",
    "attack --epsilons 0.1": "--eps",
    "attack --l2": "--norm",
    "attack --surrogate x": "--transfer-from",
    "report --md": "--markdown",
    "sweep --config x": "PLAN.TOML",
    "sweep --n-jobs 2": "--jobs",
    "inspect --tensors": "--verbose",
}
INSTEAD = {
    "train --early-stopping": "A training runs all of its --epochs, or ends after --max-minutes.",
    "train --num-workers 4": "prunectl starts as many data loaders as it needs.",
    "train --accumulate-grad-batches 4": "Gradients are not accumulated; use a smaller -b.",
    "train --ddp": "Start it with torchrun; `prunectl guide machines` shows how.",
    "train --drop_path 0.1": "Options of a network are set by -M KEY=VALUE.",
    "prune --inplace": "Run prunectl shrink on the result.",
    "prune --num-batches 4": "Criteria that need images take -O batches=N.",
    "shrink --atol 1e-3": "The tolerance is 1e-10 in float64 and 1e-5 in float32.",
    "export --opset 17": "ONNX files have opset 20; onnx.version_converter writes others.",
    "export --tensorrt": "Write NAME.onnx or NAME.pt2, and convert that.",
    "export --push-to-hub": "-o FOLDER/ writes a Hugging Face folder; `hf upload` uploads it.",
    "eval --subset 100": "eval measures all test images.",
    "eval --top5": "The record has it: add --json, or run prunectl report.",
    "attack --step-size 0.01": "pgd takes -O rel_stepsize=X, in units of eps.",
    "predict --out x": "Redirect stdout: > FILE.",
    "report --compare x": "Name several checkpoints to compare them; prunectl diff compares two.",
    "report --pdf": "-o NAME.html writes a page; print it from a browser.",
    "sweep --resume": "The same command runs only what is not finished.",
    "sweep --seeds 0,1": "Seeds are a value of the plan, such as seed = [0, 1, 2].",
    "rerun --tolerance 1e-3": "rerun compares bit for bit.",
    "criteria --unit nodes": "Filter the list: prunectl criteria | grep nodes.",
    "models --timm": "Write a library as NAME: prunectl models timm.",
    "log --format json": "--json prints JSON.",
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
    "quantize": "export",
    "pruning": "prune",
    "benchmark": "eval",
    "summary": "report",
    "recover": "repair",
    "docs": "guide",
}


@pytest.mark.parametrize(("line", "meant"), WRONG.items())
def test_a_wrong_option(line, meant, raw):
    ran = raw(*line.split())
    assert (ran.code, ran.out) == (2, "")
    wrong = line.split()[1]
    assert ran.err.splitlines()[-1] == f"Error: No such option: {wrong}. Did you mean {meant}?"


@pytest.mark.parametrize(("line", "instead"), INSTEAD.items())
def test_an_option_that_there_is_not_says_what_to_do_instead(line, instead, raw):
    ran = raw(*line.split())
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines()[-1] == f"Error: No such option: {line.split()[1]}. {instead}"


def test_every_name_of_other_tools_leads_to_an_option_or_an_argument():
    commands = typer.main.get_command(app).commands
    own = {spelling for command in commands.values() for spelling in spellings(command)}
    assert {ours for found in OTHERS.values() for ours in found} - own == set()


@pytest.mark.parametrize(("wrong", "meant"), COMMANDS.items())
def test_a_wrong_command(wrong, meant, raw):
    ran = raw(wrong)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines()[-1] == f"Error: No such command: {wrong}. Did you mean {meant}?"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("eval --corruptions blur", "No such option: --corruptions. It is an option of attack."),
        ("prune --fine-tune", "No such option: --fine-tune. Run prunectl train on the result."),
        ("attack --iters 3", "No such option: --iters. Attacks take -O steps=N."),
        ("eval --test", "No such option: --test. Test images are the default; --tuning holds out training images"),
        ("shrink --zzz", "No such option: --zzz. See prunectl shrink --help."),
        ("frobnicate", "No such command: frobnicate. Commands: train, prune, "),
    ],
)
def test_what_has_no_near_name(line, words, raw):
    assert words in raw(*line.split()).err.splitlines()[-1]


@pytest.mark.parametrize(
    "line",
    ["eval --latency onnx net.safetensors", "eval net.safetensors --latency onnx", "eval x.onnx --latency=onnx"],
)
def test_a_runtime_after_the_switch_for_latencies(line, raw):
    ran = raw(*line.split())
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines()[-1] == "Error: --latency takes no value; write --runtime onnx"
    assert "takes no value" not in raw("prune", "net.safetensors", "-c", "snap", "--latency", "onnx").err


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
        ("attacks autoattack", "did you mean 'standard'?"),
        ("criteria l1", "did you mean 'magnitude' or 'efficient-convnets'?"),
        ("criteria torch-pruning", "did you mean 'depgraph'?"),
        ("criteria bn_scale", "did you mean 'network-slimming'?"),
        ("criteria movement", "; known: snip, snipit, "),
        ("train --model mlp5 --data imagenet", "did you mean 'imagefolder'?"),
        ("train --model mlp5 --sched linear", "; known: constant, cosine, onecycle"),
        ("guide slurm", "did you mean 'machines'?"),
        ("criteria hessian", "did you mean 'obc' or 'fisher'?"),
        ("train --model vit", "did you mean 'vit-tiny-cifar'?"),
        ("train --model mlp5 --data .", "no dataset named '.'; for a folder of images, use imagefolder:."),
    ],
)
def test_a_wrong_name(line, words, refused, tmp_path):
    (tmp_path / "net.py").write_text("class Net: pass\n\ndef build(shape, classes): pass\n")
    assert words in refused(*line.split())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("train --epochs x", "Invalid value for '--epochs': expected a whole number"),
        ("train --epochs -1", "Invalid value for '--epochs': expected 0 or more"),
        ("prune -s 90%", "Invalid value for '-s' / '--sparsity' / '--amount': expected a number"),
        ("train --teacher-weight 5", "Invalid value for '--teacher-weight': expected 1 or less"),
    ],
)
def test_a_wrong_value(line, words, raw):
    assert raw(*line.split()).err.splitlines()[-1] == f"Error: {words}"


def test_usage_has_plain_metavars(raw):
    usage = [raw(name, "--help").out.splitlines()[0] for name in ("predict", "report", "eval")]
    assert usage == [
        "Usage: prunectl predict [OPTIONS] CHECKPOINT IMAGE...",
        "Usage: prunectl report [OPTIONS] [CHECKPOINT...]",
        "Usage: prunectl eval [OPTIONS] [CHECKPOINT]",
    ]
