"""Runs `eval` on an ONNX file that `export` wrote."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunectl.cli import options, progress
from prunectl.cli.start import held_out_split
from prunectl.errors import OptionError
from prunectl.plugins.registry import check_trusted

if TYPE_CHECKING:
    from prunectl.data.images import ImageData
    from prunectl.exchange.onnx_file import OnnxFile


def check_options(*, runtimes: Sequence[str], device: str, amp: bool) -> None:
    """Refuse options that are not for ONNX files.

    Raises:
        OptionError: a runtime or device other than its own, or --amp.
    """
    other = next((name for name in runtimes if name != "onnx"), None)
    if other is not None:
        raise OptionError(f"--runtime {other} is for checkpoints; an ONNX file runs in onnx")
    if device not in ("auto", "cpu"):
        raise OptionError(f"--device {device} is for checkpoints; an ONNX file is measured on the cpu")
    if amp:
        raise OptionError("--amp is for checkpoints; for a smaller type, write the ONNX file with export --fp16")


def measured(
    path: Path,
    data: str | None,
    data_dir: Path | None,
    *,
    against: Path | None,
    batch_size: int | None,
    latency: bool,
    must_classify: bool,
    **changes: Any,
) -> dict[str, Any]:
    """The record of the file on its dataset, or on --data, and that of the file `against`.

    Of two files that are compared, only latencies are measured where the first names no dataset, unless they
    `must_classify`.
    """
    from prunectl.exchange.onnx_file import read_onnx
    from prunectl.exchange.onnx_measure import evaluate_onnx

    file, other = read_onnx(path), None if against is None else read_onnx(against)
    blind = other is not None and latency and not (must_classify or data or file.data)
    images = None if blind else _images(file, path, data, data_dir, **changes)
    with progress.progress_bar("eval"):
        return evaluate_onnx(file, images, against=other, batch_size=batch_size, with_latency=latency)


def _images(
    file: "OnnxFile",
    path: Path,
    data: str | None,
    data_dir: Path | None,
    *,
    image_size: int | None,
    split: float | None,
    **changes: Any,
) -> "ImageData":
    """The images of --data, or of the file's dataset, in the file's size and with its class numbers.

    Raises:
        OptionError: neither names a dataset.
        UntrustedCode: the file names code.
    """
    from prunectl.data.load import RESIZABLE
    from prunectl.data.source import NetworkInput

    spec = data or file.data
    if not spec:
        raise OptionError(f"{path} names no dataset; add --data, such as --data imagefolder:photos")
    if data is None:
        check_trusted("data", spec, "the ONNX file")
    height, width = file.shape[1:]
    if image_size is None and height == width and spec.partition(":")[0] in RESIZABLE:
        image_size = height
    rule = () if file.resize is None else (file.resize.crop, file.resize.interpolation)
    images = options.open_data(
        spec,
        data_dir,
        image_size=image_size,
        split=held_out_split(file.seen, spec, split),
        network=NetworkInput(file.shape, file.classes, *rule),
        **changes,
    )
    images.check_fits(file.shape, file.classes, path.name)
    return images.in_order_of(file.names)
