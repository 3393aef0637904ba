"""evaluate_onnx: measures the accuracy and cost of an exported ONNX file."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from prunectl.data.images import ImageData
from prunectl.errors import DataError
from prunectl.exchange.onnx_file import OnnxFile
from prunectl.measuring.accuracy import accuracy_of
from prunectl.measuring.latency import LATENCY_BATCHES, LEAST_CALLS, TIMING_SECONDS, seconds_in_turns, timing
from prunectl.measuring.onnx import Session


def evaluate_onnx(
    file: OnnxFile, data: ImageData, *, batch_size: int | None = None, with_latency: bool = True
) -> dict[str, Any]:
    """Evaluate on the test images of `data`, in ONNX Runtime on the cpu; returns one record of plain values.

    `bytes` is the size of the file. Latency is measured on one CPU thread.

    Raises:
        DataError: there are no test images.
    """
    if not len(data.test):
        raise DataError(f"{data.name} has no test images; use other `data`")
    images = data.test.to(torch.device("cpu"))
    result = accuracy_of(
        lambda pixels: file.logits(pixels.float() / 255), images, classes=file.classes, batch_size=batch_size
    )
    return {
        "data": data.described,
        "images": len(images),
        **result.as_record(data.classes),
        "bytes": len(file.content),
        "device": "cpu",
        **({"latency": _latency(file)} if with_latency else {}),
    }


def _latency(file: OnnxFile) -> Sequence[dict[str, Any]]:
    run = Session(file.content, threads=1)
    found = []
    for batch in LATENCY_BATCHES:
        inputs = torch.rand(batch, *file.shape)
        taken = seconds_in_turns({"onnx": partial(run, inputs)}, at_least_s=TIMING_SECONDS, rounds=LEAST_CALLS)
        found.append(timing("onnx", batch, taken["onnx"]))
    return found
