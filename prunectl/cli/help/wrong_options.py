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
    "--ignore": ("--keep",),
    "--ignored-layers": ("--keep",),
    "--exclude": ("--keep",),
    "--macs": ("--flops",),
    "--round-to": ("--multiple-of",),
    "--backend": ("--runtime",),
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
    "--half": ("--amp",),
    "--uint8": ("--pixels",),
    "--mixed-precision": ("--amp",),
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
}


def meant(wrong: str, command: Any, commands: Mapping[str, Any]) -> str:
    """A sentence that says what an unknown option may have meant: here, else in another command."""
    own = spellings(command)
    found = [each for each in OTHERS.get(wrong.replace("_", "-"), ()) if each in own] or _near(wrong, own)
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
    """The options that look most like it, or of which it is a part."""
    options = [each for each in own if each.startswith("--")]
    close = difflib.get_close_matches(wrong, options, n=3, cutoff=0.75)
    parts = [each for each in options if len(wrong) > 4 and (each.startswith(wrong) or each.endswith(wrong[1:]))]
    return list({own[each]: each for each in reversed(parts or close)}.values())[::-1][:2]
