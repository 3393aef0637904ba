"""evaluate_onnx: measures the accuracy and cost of an exported ONNX file."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from prunectl.data.images import ImageData
from prunectl.errors import DataError
from prunectl.exchange.onnx_file import OnnxFile
from prunectl.measuring.accuracy import accuracy_of
from prunectl.measuring.latency import LATENCY_BATCHES, LEAST_TURNS, TIMING_SECONDS, seconds_in_turns, timing
from prunectl.measuring.onnx import Session
from prunectl.measuring.runtimes import Ready
from prunectl.measuring.side_by_side import check_alike, compared, timings_beside


def evaluate_onnx(
    file: OnnxFile,
    data: ImageData | None,
    *,
    against: OnnxFile | None = None,
    batch_size: int | None = None,
    with_latency: bool = True,
) -> dict[str, Any]:
    """Evaluate on the test images of `data`, in ONNX Runtime on the cpu; returns one record of plain values.

    `bytes` is the size of the file. Latency is measured on one CPU thread. Another file, `against`, is measured on the
    same images and in turns with this one: its record is under that name. Without images, accuracies are left out.

    Raises:
        DataError: there are no test images.
        OptionError: the files are of different tasks.
    """
    if against is not None:
        check_alike((file.shape, file.classes), (against.shape, against.classes))
    record: dict[str, Any] = {} if data is None else _accuracy(file, data, batch_size)
    record |= {"bytes": len(file.content), "device": "cpu"}
    if against is None:
        return record | ({"latency": _latency(file)} if with_latency else {})
    other: dict[str, Any] = {"bytes": len(against.content)}
    if data is not None:
        other |= compared(record["accuracy"], _accuracy(against, data, batch_size)["accuracy"])
    if with_latency:
        record["latency"], other["latency"] = _latencies(file, against)
    return {**record, "against": other}


def _accuracy(file: OnnxFile, data: ImageData, batch_size: int | None) -> dict[str, Any]:
    if not len(data.test):
        raise DataError(f"{data.name} has no test images; use other `data`")
    data = data.in_order_of(file.names)
    images = data.test.to(torch.device("cpu"))
    result = accuracy_of(
        lambda pixels: file.logits(pixels.float() / 255), images, classes=file.classes, batch_size=batch_size
    )
    return {"data": data.described, "images": len(images), **result.as_record(data.classes)}


def _latency(file: OnnxFile) -> Sequence[dict[str, Any]]:
    run = Session(file.content, threads=1)
    found = []
    for batch in LATENCY_BATCHES:
        inputs = torch.rand(batch, *file.shape)
        taken = seconds_in_turns({"onnx": partial(run, inputs)}, at_least_s=TIMING_SECONDS, rounds=LEAST_TURNS)
        found.append(timing("onnx", batch, taken["onnx"]))
    return found


def _latencies(one: OnnxFile, other: OnnxFile) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The timings of both files, in turns."""
    first, second = (Session(file.content, threads=1) for file in (one, other))

    def prepared(_: str, batch: int) -> tuple[Ready, Ready]:
        inputs = torch.rand(batch, *one.shape)
        return Ready(partial(first, inputs)), Ready(partial(second, inputs))

    return timings_beside(prepared, ["onnx"])
