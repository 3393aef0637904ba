"""prunectl predict."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunectl.checkpoints.escapes import csv_cell
from prunectl.cli import options, output
from prunectl.errors import DataError, OptionError

if TYPE_CHECKING:
    from prunectl.measuring.classify import Classifier, Prediction


def command(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="NAME.safetensors, or NAME.onnx written by `export`.")
    ],
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="Image files, folders of them, or - for paths on stdin.")
    ],
    top: Annotated[int, typer.Option("-k", "--top", help="Number of classes to list for each image.", min=1)] = 5,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, not JSON lines.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines on a terminal too.")] = False,
    batch_size: options.BatchSize = 64,
    device: options.Device = "auto",
    trust: options.Trust = False,
    config: options.Config = None,
) -> None:
    """Classify image files: one JSON line for each, or a table on a terminal.

    Images are resized and normalised as CHECKPOINT says. Files that are not images are named on stderr and make the
    exit code 1; the others are classified.
    """
    if as_csv and as_json:
        raise OptionError("--csv and --json exclude each other; use one of them")
    paths = list(_files(images))
    if not paths:
        raise DataError(f"no image in {', '.join(images)}; use files, or folders that hold some")

    from prunectl.measuring.classify import pixels_of, predictions

    network = _opened(checkpoint, device)
    show = _Writer(as_csv=as_csv, as_json=as_json, top=top)
    failed = 0
    for first in range(0, len(paths), batch_size):
        pixels: dict[Path, Any] = {}
        for path in paths[first : first + batch_size]:
            try:
                pixels[path] = pixels_of(path, network.shape, network.resize)
            except DataError as error:
                output.say(f"predict: {error}")
                failed += 1
        if pixels:
            found = predictions(network.probabilities(list(pixels.values())), network.names, top)
            for path, prediction in zip(pixels, found, strict=True):
                show(path, prediction)
    if failed:
        raise DataError(f"{output.many(failed, 'file')} of {len(paths)} could not be read as images")


def _opened(path: Path, device: str) -> "Classifier":
    """A checkpoint on a device, or an ONNX file, which runs on the cpu."""
    if path.suffix == ".onnx":
        from prunectl.exchange.onnx_classifier import onnx_classifier

        return onnx_classifier(path)
    from prunectl.checkpoints.checkpoint import read
    from prunectl.measuring.classify import classifier_of
    from prunectl.torchtools.devices import device_named

    return classifier_of(read(path, device_named(device)))


def _files(places: list[str]) -> Iterator[Path]:
    """The files named by the arguments: those in a folder at any depth, sorted, without hidden ones."""
    for place in places:
        if place == "-":
            yield from (Path(line.rstrip("\n")) for line in sys.stdin if line.strip())
        elif Path(place).is_dir():
            inside = (path for path in sorted(Path(place).rglob("*")) if path.is_file())
            yield from (path for path in inside if not path.name.startswith("."))
        else:
            yield Path(place)


class _Writer:
    """Prints predictions as JSON lines, CSV or a table."""

    def __init__(self, *, as_csv: bool, as_json: bool, top: int) -> None:
        self.as_csv, self.top = as_csv, top
        self.table = not as_csv and not as_json and sys.stdout.isatty()
        if as_csv:
            self._row(["file", "class", "probability"])

    def __call__(self, path: Path, prediction: "Prediction") -> None:
        if self.as_csv:
            self._row([str(path), prediction.name, f"{prediction.probability:.6f}"])
        elif self.table:
            others = ", ".join(f"{name} {output.percent(p)}" for name, p in prediction.top[1:3])
            output.emit(f"{output.percent(prediction.probability):>8}  {prediction.name:<20}  {path}  ({others})")
        else:
            top = [{"class": name, "probability": p} for name, p in prediction.top]
            record = {"file": str(path), "class": prediction.name, "probability": prediction.probability, "top": top}
            output.emit(json.dumps(record))

    def _row(self, cells: list[str]) -> None:
        import csv
        import io

        text = io.StringIO()
        csv.writer(text, lineterminator="").writerow([csv_cell(cell) for cell in cells])
        output.emit_lines(text.getvalue())
