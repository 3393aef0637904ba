"""The options that only `train` has."""

from pathlib import Path
from typing import Annotated

import typer

from prunectl.checkpoints.options.training import ADVERSARIAL_LOSSES, AUGMENTATIONS, SCHEDULES
from prunectl.cli.completion import completes, completes_list, completes_one, completes_options

Epochs = Annotated[int, typer.Option(help="Passes over the training images.", min=0)]
Opt = Annotated[
    str,
    typer.Option(
        "--opt", "--optimizer", help="Optimiser: adam, adamw, sgd or rmsprop.", autocompletion=completes("optimizer")
    ),
]
Lr = Annotated[float, typer.Option("--lr", "--learning-rate", help="Learning rate.")]
Wd = Annotated[float, typer.Option("--wd", "--weight-decay", help="Weight decay.")]
Momentum = Annotated[float, typer.Option(help="Momentum of sgd (Nesterov) and rmsprop.")]
Sched = Annotated[
    str,
    typer.Option(
        help="Learning-rate schedule: constant, cosine or onecycle.", autocompletion=completes_one(*SCHEDULES)
    ),
]
Warmup = Annotated[float, typer.Option(help="Epochs over which the learning rate rises from 0.", min=0)]
Clip = Annotated[float | None, typer.Option(help="Clip the norm of the gradient to this value.")]
Noise = Annotated[float, typer.Option(help="Standard deviation of Gaussian noise added to gradients.")]
Reg = Annotated[
    str | None,
    typer.Option(
        help="Regulariser: l1, lp (-O p=0.5), bn-l1, hoyer-square or group-hoyer-square.",
        autocompletion=completes("regularizer"),
    ),
]
RegWeight = Annotated[float, typer.Option(help="Factor of the regulariser in the loss.")]
Criterion = Annotated[
    str | None,
    typer.Option(
        "-c",
        "--criterion",
        help="Prune during training, by this criterion, such as snapit-during (list: `prunectl criteria`).",
        autocompletion=completes("criterion"),
    ),
]
RewindTo = Annotated[
    int | None,
    typer.Option(
        help="With imp: rewind to the end of this epoch after each round  [default: 0]",
        metavar="EPOCH",
        min=0,
        show_default=False,
    ),
]
PluginOptions = Annotated[
    list[str] | None,
    typer.Option(
        "-O",
        metavar="KEY=VALUE",
        help="Option of --criterion or --reg (with both: criterion.KEY or reg.KEY), listed by `prunectl criteria "
        "NAME`; repeatable.",
        autocompletion=completes_options("criterion", "criterion"),
    ),
]
Recalibrate = Annotated[
    bool, typer.Option("--recalibrate", help="Re-estimate BatchNorm statistics at the end of training.")
]
LabelSmoothing = Annotated[float, typer.Option(help="Share of the target that is spread over all classes.")]
Ema = Annotated[float | None, typer.Option(help="Save a moving average of the weights, with this decay.")]
Augment = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[,NAME...]",
        help="Augmentations: flip, crop and cutout, such as flip,crop; or none  [default: the dataset's]",
        show_default=False,
        autocompletion=completes_list(lambda: (*AUGMENTATIONS, "none")),
    ),
]
Mixup = Annotated[
    float, typer.Option(metavar="ALPHA", help="Mix pairs of images, with shares drawn from Beta(ALPHA, ALPHA).")
]
Teacher = Annotated[
    Path | None, typer.Option(help="Also learn from the logits of this checkpoint, such as the dense network.")
]
TeacherWeight = Annotated[float, typer.Option(help="Share of the teacher in the loss.", min=0, max=1)]
Temperature = Annotated[float, typer.Option(help="Temperature for both teacher and student logits.")]
Amp = Annotated[
    bool | None,
    typer.Option(
        "--amp/--no-amp", help="Compute in bfloat16 where that is safe  [default: on cuda]", show_default=False
    ),
]
Compile = Annotated[bool, typer.Option("--compile", help="Compile the training step with torch.compile.")]
AdvEps = Annotated[
    str | None,
    typer.Option(help="Train on adversarial images of this eps in the max norm, such as 8/255.", show_default=False),
]
AdvSteps = Annotated[int, typer.Option(help="Steps of gradient ascent for each adversarial image.", min=1)]
AdvLoss = Annotated[
    str,
    typer.Option(
        help="Adversarial loss: pgd (Madry et al. 2018) or trades (Zhang et al. 2019).",
        autocompletion=completes_one(*ADVERSARIAL_LOSSES),
    ),
]
AdvBeta = Annotated[float, typer.Option(help="Factor of the robustness term of trades.")]
MaxMinutes = Annotated[
    float | None, typer.Option(help="Stop after this time; write the network trained so far and a --resume file.")
]
Resume = Annotated[
    Path | None, typer.Option(help="Continue an interrupted training, from its NAME.resume.safetensors.")
]
Tensorboard = Annotated[bool, typer.Option("--tensorboard", help="Log to NAME.tensorboard, beside the checkpoint.")]
TensorboardDir = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Log for TensorBoard to this folder.", show_default=False)
]
