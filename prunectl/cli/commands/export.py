"""prunectl export."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from prunectl.checkpoints.names import beside
from prunectl.checkpoints.options.export import check_fits, kind_of
from prunectl.cli import options, output, progress
from prunectl.errors import PrunectlError


def command(
    checkpoint: options.CheckpointArgument = None,
    output_path: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", help="NAME.onnx, NAME.pt2, NAME.py or FOLDER/  [default: CHECKPOINT's name with .onnx]"
        ),
    ] = None,
    pixels: Annotated[
        bool,
        typer.Option("--pixels", help="Take pixels in [0, 1]; the normalisation is part of the network (.onnx, .pt2)."),
    ] = False,
    softmax: Annotated[bool, typer.Option("--softmax", help="Return probabilities, not logits (.onnx, .pt2).")] = False,
    fuse: Annotated[
        bool, typer.Option("--fuse", help="Fold BatchNorms into the layers before them, with a proof (.onnx, .pt2).")
    ] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Compute in float16 inside (.onnx).")] = False,
    int8: Annotated[
        bool,
        typer.Option("--int8", help="Quantise, calibrated on 256 training images; measure accuracy and speed (.onnx)."),
    ] = False,
    data: options.CalibrationData = None,
    data_dir: options.DataDir = None,
    force: options.Force = False,
    as_json: options.AsJson = False,
    trust: options.Trust = False,
    config: options.Config = None,
) -> None:
    """Write a network for use without prunectl: ONNX, torch.export, a Hugging Face folder or a loader.

    Before writing, the exported network's outputs are compared with the original's. If they differ, nothing is written
    and the exit code is 1.
    """
    source = options.checkpoint_path(checkpoint)
    target = output_path or str(beside(source, ".onnx"))
    kind = kind_of(target)
    check_fits(kind, pixels=pixels, softmax=softmax, fuse=fuse, fp16=fp16, int8=int8)

    from prunectl.checkpoints.checkpoint import read
    from prunectl.cli.start import images_for
    from prunectl.exchange.export import check_target, export

    with _flags():
        check_target(Path(target), kind, source, force=force)
        images = images_for(read(source), data, data_dir) if int8 else None
        with progress.progress_bar("export") as bar:
            made = export(
                source, target, pixels=pixels, softmax=softmax, fuse=fuse, fp16=fp16, int8=images, force=force,
                report=bar.step,
            )  # fmt: skip
    names = target if kind != "py" else f"{target} (loader) and {Path(target).with_suffix('.safetensors')}"
    output.say(f"export: {names} ({output.counted(made.bytes)}B)")
    if made.difference is not None:
        allowed = "" if made.allowed is None else f" (allowed: {made.allowed:.0e})"
        output.say(
            f"check: differs from the network in PyTorch by {made.difference:.1e} of the largest output{allowed}"
        )
    if made.fused:
        output.say(
            f"fuse: {output.many(made.fused, 'BatchNorm')} folded; proof: largest relative difference "
            f"{made.proof['float64']:.1e} in float64, {made.proof['float32']:.1e} in float32"
        )
    if made.accuracy:
        output.say(
            f"int8: accuracy {output.percent(made.accuracy['int8'])}, in float32 "
            f"{output.percent(made.accuracy['float32'])}, on the test images; {_speed(made.speed or 1.0)} than float32 "
            "for one image, in ONNX Runtime on this CPU"
        )
    output.emit(json.dumps({**asdict(made), "path": str(made.path)}) if as_json else target)


def _speed(ratio: float) -> str:
    return f"{ratio:.1f}x faster" if ratio >= 1 else f"{1 / ratio:.1f}x slower"


@contextmanager
def _flags() -> Iterator[None]:
    """Replace the library's parameters in errors by the options of the command."""
    try:
        yield
    except PrunectlError as error:
        raise type(error)(re.sub(r"`(\w+)`", r"--\1", str(error))) from error
