"""Classifies image files with an ONNX file that `prunectl export` wrote."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from prunectl.exchange.onnx_file import read_onnx
from prunectl.measuring.classify import Classifier


def onnx_classifier(path: Path) -> Classifier:
    """The file's network on the cpu; raises the errors of `read_onnx`."""
    file = read_onnx(path)

    def probabilities(images: Sequence[Tensor]) -> Tensor:
        return file.logits(torch.stack(list(images))).softmax(1)

    return Classifier(
        shape=file.shape,
        resize=file.resize,
        names=file.names or tuple(map(str, range(file.classes))),
        probabilities=probabilities,
    )
