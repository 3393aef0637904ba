"""int8: quantises an ONNX file with ONNX Runtime, calibrated on images."""

import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prunectl.data.images import ImageSource
from prunectl.errors import StructureError, first_line
from prunectl.structure.export import quietly
from prunectl.torchtools.temporaries import temporary_folder

CALIBRATED_ON = 256
"""Number of calibration images, spread evenly over the training images."""
BATCH = 32
Prepare = Callable[[Tensor], Tensor]
"""Makes network input of uint8 pixels (B, C, H, W)."""


def quantised(data: bytes, name: str, images: ImageSource, prepare: Prepare) -> bytes:
    """The same network in int8, weights by channel, with quantise and dequantise operations (QDQ) around each layer.

    `name` is that of the input. A final softmax stays in float32, so that probabilities add up to 1.

    Raises:
        StructureError: the quantiser fails on the network.
    """
    import onnx  # noqa: PLC0415
    from onnxruntime.quantization import QuantFormat, quantize_static  # noqa: PLC0415
    from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415

    temporary = temporary_folder(Path(tempfile.gettempdir()), "prunectl-int8")
    with temporary as folder, quietly(), redirect_stdout(io.StringIO()):
        whole, ready, small = (folder / f"{stem}.onnx" for stem in ("whole", "ready", "small"))
        whole.write_bytes(data)
        try:
            quant_pre_process(whole, ready)
            graph = onnx.load(ready).graph
            last = [n.name for n in graph.node if n.op_type == "Softmax" and n.output[0] == graph.output[0].name]
            reader, how = _Reader(name, images, prepare), {"quant_format": QuantFormat.QDQ, "per_channel": True}
            quantize_static(ready, small, reader, nodes_to_exclude=last, **how)
        except Exception as error:  # of any type
            raise StructureError(
                f"ONNX Runtime cannot quantise the network: {first_line(error)}; leave out `int8`"
            ) from error
        return small.read_bytes()


def accuracy(run: Callable[[Tensor], Tensor], images: ImageSource, prepare: Prepare) -> float:
    """The accuracy of a network, in [0, 1]."""
    right = 0
    for pixels, labels in images.batches(BATCH):
        right += int((run(prepare(pixels)).argmax(1) == labels).sum())
    return right / len(images)


class _Reader:
    """Feeds the calibration images to ONNX Runtime."""

    def __init__(self, name: str, images: ImageSource, prepare: Prepare) -> None:
        count = min(CALIBRATED_ON, len(images))
        chosen = torch.linspace(0, len(images) - 1, count).long()
        self.name, self.batches = name, self._batches(images.take(chosen), prepare)

    @staticmethod
    def _batches(images: ImageSource, prepare: Prepare) -> Iterator[Tensor]:
        for pixels, _ in images.batches(BATCH):
            yield prepare(pixels)

    def get_next(self) -> dict[str, Any] | None:
        """The next batch, under the name of the input; None at the end."""
        batch = next(self.batches, None)
        return None if batch is None else {self.name: batch.numpy()}
