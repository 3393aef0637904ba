"""prunectl eval."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunectl.checkpoints.options.runtimes import RUNTIMES, check_runtimes
from prunectl.cli import eval_onnx, image_options, options, output, precision, progress
from prunectl.cli.completion import completes_list
from prunectl.cli.eval_output import latency_lines, show_against
from prunectl.cli.results import hand_over, note, results_of
from prunectl.errors import FileError, OptionError, ThresholdMissed

if TYPE_CHECKING:
    from prunectl.checkpoints.checkpoint import Checkpoint

FEW_CLASSES = 10
"""With fewer classes, top-5 accuracy says little and is not printed."""


def command(
    checkpoint: Annotated[
        str | None,
        typer.Argument(
            metavar="CHECKPOINT",
            help="NAME.safetensors, NAME.onnx written by `export`, or - to read its path from stdin (as in a pipe).",
        ),
    ] = None,
    data: options.Data = None,
    data_dir: options.DataDir = None,
    image_size: options.ImageSize = None,
    download: options.Download = False,
    tuning: options.Tuning = False,
    split: image_options.Split = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "-b",
            "--batch-size",
            help="Images per batch  [default: 512, fewer if the images are large]",
            min=1,
            show_default=False,
        ),
    ] = None,
    amp: options.Amp = False,
    latency: Annotated[
        bool, typer.Option("--latency/--no-latency", help="Measure the latency of batches of 1 and 64 images.")
    ] = True,
    runtime: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAMES",
            help="Measure the latency in these runtimes, alternately: eager (plain torch), compiled (torch.compile), "
            "onnx (ONNX Runtime); comma-separated or repeated  [default: eager]",
            show_default=False,
            autocompletion=completes_list(lambda: RUNTIMES),
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Compare with another checkpoint, or one ONNX file with another: accuracy on the same images, latency "
            "in turns, their ratio with a 95 % interval.",
            show_default=False,
        ),
    ] = None,
    min_accuracy: Annotated[
        float | None, typer.Option(help="Exit with code 3 if top-1 accuracy is below this, in [0, 1].")
    ] = None,
    device: options.Device = "auto",
    as_json: options.AsJson = False,
    trust: options.Trust = False,
    config: options.Config = None,
) -> None:
    """Measure a network: accuracy, loss, confusion, weights, nodes, FLOPs, bytes, latency, memory.

    The record is appended to NAME.results.jsonl beside the checkpoint, whose path is printed. With --against, the other
    checkpoint gets its own record. For an ONNX file, `eval` measures accuracy, loss, bytes and latency in ONNX Runtime,
    and appends nothing.
    """
    if min_accuracy is not None and not 0 <= min_accuracy <= 1:
        raise OptionError(f"--min-accuracy must be between 0 and 1, got {min_accuracy:g}")
    runtimes = tuple(dict.fromkeys(name for names in runtime or () for name in names.split(",")))
    check_runtimes(runtimes)
    if runtimes and not latency:
        raise OptionError("--runtime is for the latency, which --no-latency leaves out; use one of them")
    source = options.checkpoint_path(checkpoint)
    if against is not None:
        _check_kinds(source, against)
        against = options.checkpoint_path(str(against))
    changes: dict[str, Any] = {"image_size": image_size, "download": download, "tuning": tuning, "split": split}
    if source.suffix == ".onnx":
        eval_onnx.check_options(runtimes=runtimes, device=device, amp=amp)
        record = eval_onnx.measured(
            source, data, data_dir, against=against, batch_size=batch_size, latency=latency,
            must_classify=min_accuracy is not None, **changes,
        )  # fmt: skip
        _say_accuracy(record)
        output.say(f"      {output.counted(record['bytes'])}B, in ONNX Runtime")
        _say_latency(record, against)
        hand_over(None, "eval", source, None, record, as_json=as_json)
        _check_accuracy(record, min_accuracy)
        return

    from prunectl.checkpoints.checkpoint import read
    from prunectl.cli.start import images_for
    from prunectl.measuring.side_by_side import evaluate_beside
    from prunectl.measuring.widths import hint_of
    from prunectl.torchtools.devices import device_named
    from prunectl.torchtools.distributed import leads

    where = device_named(device)
    network, results = read(source, where), results_of(source)
    other = None if against is None else read(against, where)
    precision.warn_of_amp(where, asked=amp)
    images = images_for(network, data, data_dir, **changes)
    with progress.progress_bar("eval") as bar:
        measure: Callable[..., Any] = _measured if other is None else partial(evaluate_beside, other=other)
        record, theirs = measure(
            network, data=images, batch_size=batch_size, amp=amp, with_latency=latency and leads(), runtimes=runtimes,
            report=bar.step,
        )  # fmt: skip
    _say_accuracy(record)
    output.say(
        f"      {output.counted(record['weights'])} weights (sparsity {record['weight_sparsity']:.4f}), "
        f"{output.counted(record['nodes'])} nodes, {output.counted(record['flops'])} FLOPs "
        f"({output.counted(record['nonzero_flops'])} without pruned weights), {output.counted(record['bytes'])}B"
    )
    _say_latency(record, against)
    for warning in record.get("warnings", ()):
        output.warn(warning)
    slow = hint_of(network)
    if slow is not None:
        output.say(f"hint: {slow}")
    if against is not None and theirs is not None:
        note(results_of(against), "eval", record["against"]["checkpoint"], theirs)
    hand_over(results, "eval", source, network.sha256, record, as_json=as_json)
    _check_accuracy(record, min_accuracy)


def _measured(network: "Checkpoint", **settings: Any) -> tuple[dict[str, Any], None]:
    """The record of a network that is compared with no other."""
    from prunectl.measuring.evaluate import evaluate

    return evaluate(network, **settings), None


def _check_kinds(source: Path, against: Path) -> None:
    """Refuse to compare an ONNX file with a checkpoint, or with nothing.

    Raises:
        OptionError: only one of both is an ONNX file.
        FileError: there is no such file.
    """
    if not against.exists():
        raise FileError(f"no such file: {against}; --against takes a checkpoint, or an ONNX file that `export` wrote")
    if (source.suffix == ".onnx") != (against.suffix == ".onnx"):
        raise OptionError(
            f"--against compares two checkpoints or two ONNX files, got {source} and {against}; export the checkpoint"
        )


def _say_accuracy(record: Mapping[str, Any]) -> None:
    if "accuracy" not in record:
        output.say("eval: the file names no dataset, so no accuracy is measured (add --data)")
        return
    few = len(record["confusion"]) < FEW_CLASSES
    top5 = "" if few else f", top-5 {output.percent(record['top5'])}"
    output.say(
        f"eval: accuracy {output.percent(record['accuracy'])}{top5}, "
        f"loss {record['loss']:.4f} on {output.many(record['images'], 'image')} of {record['data']['name']}"
    )


def _say_latency(record: Mapping[str, Any], against: Path | None) -> None:
    for line in latency_lines(record):
        output.say(f"      {line}")
    if against is not None:
        show_against(record, against.name)


def _check_accuracy(record: Mapping[str, Any], least: float | None) -> None:
    """Compare with --min-accuracy.

    Raises:
        ThresholdMissed: the accuracy is below it.
    """
    if least is not None and record["accuracy"] < least:
        raise ThresholdMissed(f"accuracy {record['accuracy']:.4f} is below --min-accuracy {least}")
