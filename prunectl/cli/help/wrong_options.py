"""Options as other tools call them, and what an unknown option of a command may have meant."""

import difflib
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

OTHERS: dict[str, tuple[str, ...]] = {
    # what others call it: our options, of which the command has one
    "--l2": ("--wd",),
    "--decay": ("--wd",),
    "--weight-decay-rate": ("--wd",),
    "--learningrate": ("--lr",),
    "--scheduler": ("--sched",),
    "--lr-scheduler": ("--sched",),
    "--lr-schedule": ("--sched",),
    "--cosine": ("--sched",),
    "--warmup-epochs": ("--warmup",),
    "--num-epochs": ("--epochs",),
    "--n-epochs": ("--epochs",),
    "--iterations": ("--epochs", "--steps"),
    "--max-steps": ("--epochs",),
    "--bs": ("--batch-size",),
    "--batch": ("--batch-size",),
    "--grad-clip": ("--clip",),
    "--clip-grad": ("--clip",),
    "--smoothing": ("--label-smoothing",),
    "--ema-decay": ("--ema",),
    "--augmentation": ("--augment",),
    "--transforms": ("--augment",),
    "--kd": ("--teacher",),
    "--distill": ("--teacher",),
    "--regularizer": ("--reg",),
    "--lambda": ("--reg-weight",),
    "--alpha": ("--teacher-weight", "--mixup"),
    "--net": ("--model",),
    "--network": ("--model",),
    "--architecture": ("--model",),
    "--backbone": ("--model",),
    "--num-classes": ("--classes",),
    "--input-shape": ("--input",),
    "--input-size": ("--input", "--image-size"),
    "--img-size": ("--image-size",),
    "--resolution": ("--image-size",),
    "--data-path": ("--data-dir",),
    "--root": ("--data-dir",),
    "--val-split": ("--split",),
    "--validation": ("--tuning",),
    "--limit": ("--subset", "--n"),
    "--num-samples": ("--subset", "--n"),
    "--ratio": ("--sparsity",),
    "--rate": ("--sparsity",),
    "--percent": ("--sparsity",),
    "--percentage": ("--sparsity",),
    "--prune-ratio": ("--sparsity",),
    "--pruning-ratio": ("--sparsity",),
    "--density": ("--sparsity",),
    # of the SNIP-it code
    "--pruning-limit": ("--sparsity",),
    "--snip-steps": ("--steps",),
    "--prune-freq": ("--prune-every",),
    "--data-set": ("--data",),
    "--l2-reg": ("--wd",),
    "--grad-noise": ("--noise",),
    "--outer-layer-pruning": ("--outer-layers",),
    "--random-shuffle-labels": ("--random-labels",),
    "--max-training-minutes": ("--max-minutes",),
    # of other tools
    "--method": ("--criterion", "--attack"),
    "--pruner": ("--criterion",),
    "--algorithm": ("--criterion",),
    "--importance": ("--criterion",),
    "--prune-criterion": ("--criterion",),
    "--granularity": ("--unit",),
    "--structured": ("--unit",),
    "--channels": ("--unit",),
    "--filters": ("--unit",),
    "--nodes": ("--unit",),
    "--importance-scores": ("--scores-out",),
    "--save-scores": ("--scores-out",),
    "--speedup": ("--flops", "--latency"),
    "--speed-up": ("--flops", "--latency"),
    "--compression": ("--params", "--size"),
    "--compression-ratio": ("--params", "--size"),
    "--ignore": ("--keep",),
    "--ignored-layers": ("--keep",),
    "--exclude": ("--keep",),
    "--skip": ("--keep",),
    "--skip-layers": ("--keep",),
    "--layers-to-skip": ("--keep",),
    "--macs": ("--flops",),
    "--round-to": ("--multiple-of",),
    "--backend": ("--runtime",),
    "--onnx": ("--runtime",),
    "--global": ("--scope",),
    "--local": ("--scope",),
    "--n-steps": ("--steps",),
    "--epsilon": ("--eps", "--adv-eps"),
    "--save": ("--output", "--out"),
    "--save-path": ("--output", "--out"),
    "--out": ("--output",),
    "--output": ("--out",),
    "--out-dir": ("--output", "--out"),
    "--output-dir": ("--output", "--out"),
    "--overwrite": ("--force",),
    "--gpu": ("--device",),
    "--cuda": ("--device",),
    "--fp16": ("--amp",),
    "--half": ("--amp", "--fp16"),
    "--quantize": ("--int8",),
    "--quantise": ("--int8",),
    "--uint8": ("--pixels",),
    "--mixed-precision": ("--amp",),
    "--precision": ("--amp", "--fp16"),
    "--dtype": ("--amp", "--fp16"),
    "--bf16": ("--amp",),
    "--bfloat16": ("--amp",),
    "--random-seed": ("--seed",),
    "--manual-seed": ("--seed",),
    "--workers": ("--jobs",),
    "--num-workers": ("--jobs",),
    "--parallel": ("--jobs",),
    "--yaml": ("--config",),
    "--silent": ("--quiet",),
    "--debug": ("--verbose",),
    "--from-checkpoint": ("CHECKPOINT",),
    "--checkpoint": ("CHECKPOINT",),
    "--ckpt": ("CHECKPOINT",),
    "--load": ("CHECKPOINT",),
    "--weights": ("CHECKPOINT",),
    "--image": ("IMAGE...",),
    "--images": ("IMAGE...",),
    "--k": ("--top",),
    "--format": ("--csv", "--output"),
    "--html": ("--output",),
    "--arch": ("--model",),
    "--dataset": ("--data",),
    "--normalize": ("--mean",),
    "--normalise": ("--normalize", "--mean"),
}
ADVICE = {
    # what there is no option for
    "--fine-tune": "Run prunectl train on the result.",
    "--finetune": "Run prunectl train on the result.",
    "--verify": "shrink and export always check the outputs.",
    "--check": "shrink and export always check the outputs.",
    "--test": "Test images are the default; --tuning holds out training images instead.",
    "--iters": "Attacks take -O steps=N.",
    "--steps": "Attacks take -O steps=N.",
    "--iterations": "Attacks take -O steps=N.",
    "--dynamic": "Exported networks take batches of any size.",
    "--dynamic-axes": "Exported networks take batches of any size.",
    "--dynamic-batch": "Exported networks take batches of any size.",
}


def meant(wrong: str, command: Any, commands: Mapping[str, Any]) -> str:
    """A sentence that says what an unknown option may have meant: here, else in another command."""
    own, plain = spellings(command), wrong.replace("_", "-").lower()
    found = [each for each in OTHERS.get(plain, ()) if each in own]
    advice = ADVICE.get(plain)
    if not found and advice is not None:
        return advice
    found = found or _near(plain, own)
    if found:
        return f"Did you mean {' or '.join(found)}?"
    elsewhere = [name for name, other in commands.items() if wrong in spellings(other)]
    if elsewhere:
        return f"It is an option of {', '.join(elsewhere)}."
    return "" if not commands else f"See prunectl {command.name} --help."


def separate_numbers(words: Sequence[str]) -> tuple[str, str] | None:
    """The first option that several numbers with spaces follow, and these numbers with commas."""
    for i, word in enumerate(words):
        numbers = list(takewhile(_is_number, words[i + 1 :]))
        if word.startswith("--") and len(numbers) > 1:
            return word, ",".join(each.strip(",") for each in numbers)
    return None


def _is_number(word: str) -> bool:
    try:
        float(word.strip(","))
    except ValueError:
        return False
    return True


def spellings(command: Any) -> dict[str, str]:
    """Every long option of a command, and its arguments, with the first spelling of each."""
    found: dict[str, str] = {}
    for param in command.params:
        if param.param_type_name == "argument":
            found[str(param.metavar or param.name).upper()] = str(param.metavar or param.name).upper()
            continue
        long = [each for each in (*param.opts, *param.secondary_opts) if each.startswith("--")]
        found |= {each: each if each in param.secondary_opts else long[0] for each in long}
    return found


def _near(wrong: str, own: Mapping[str, str]) -> list[str]:
    """The options that look most like it, of which it is a part, or that are a part of it."""
    options = [each for each in own if each.startswith("--")]
    close = difflib.get_close_matches(wrong, options, n=3, cutoff=0.75)
    parts = [each for each in options if len(wrong) > 4 and (each.startswith(wrong) or each.endswith(wrong[1:]))]
    parts = parts or [each for each in options if wrong.endswith(each[1:]) or wrong.startswith(f"{each}-")]
    return list({own[each]: each for each in reversed(parts or close)}.values())[::-1][:2]
