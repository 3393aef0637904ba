"""NAME.onnx and NAME.pt2: programs that run without the network's code, with normalisation and softmax if asked."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Generator, Tensor, nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.pixels import deployed
from prunectl.data.images import ImageData
from prunectl.errors import StructureError, first_line
from prunectl.exchange.check import check_close, worst_difference
from prunectl.exchange.fuse import fused
from prunectl.exchange.int8 import accuracy, quantised
from prunectl.exchange.metadata import input_name, metadata, output_name
from prunectl.exchange.onnx import onnx_bytes
from prunectl.exchange.pt2 import Loaded, pt2_bytes
from prunectl.measuring.latency import relative_latency
from prunectl.measuring.onnx import Session
from prunectl.structure.surgery.proof import drawn_for, like_images

ALLOWED = {"onnx": 1e-4, "pt2": 1e-5}
"""Largest difference to the network in PyTorch, relative to the largest output."""
ALLOWED_FP16 = 2e-2
Report = Callable[[str], None]
"""Called with the current step, such as "checking the outputs"."""
_LEAST = 1e-30
"""The lowest probability that is compared: float32 holds it in full precision."""
ROUNDINGS = 4.0
"""Allowed error in units of the network's own rounding."""


def quiet(_: str) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Use:
    """How a program is used: with `pixels` in [0, 1] or normalised images; returning `softmax` or logits."""

    pixels: bool = False
    softmax: bool = False
    fuse: bool = False
    fp16: bool = False
    int8: ImageData | None = None
    """Images to calibrate and test on."""


@dataclass(frozen=True)
class Program:
    """The bytes of a file, and how it compares with the network; see `export.Exported`."""

    data: bytes
    difference: float | None
    fused: int = 0
    proof: Mapping[str, float] = field(default_factory=dict)
    accuracy: Mapping[str, float] = field(default_factory=dict)
    speed: float | None = None
    allowed: float | None = None


def program(checkpoint: Checkpoint, kind: str, use: Use, report: Report = quiet) -> Program:
    """Make and check an "onnx" or "pt2" file of a network on the cpu in eval mode.

    Raises:
        OptionError: no BatchNorm can be folded.
        StructureError: the network cannot be traced, or the format cannot hold it.
        ProofError: the program does not compute what the network computes.
    """
    shape, network = checkpoint.spec.input, checkpoint.model
    draw = drawn_for(network, shape, checkpoint.preprocessing)
    count, proof = 0, dict[str, float]()
    surrounded = partial(deployed, preprocessing=checkpoint.preprocessing if use.pixels else None, softmax=use.softmax)
    expected = surrounded(network)
    if use.fuse:
        report("folding BatchNorms")
        network, count, proof = fused(network, shape, draw)
    if use.fp16:
        network = copy.deepcopy(network).half()
    report(f"exporting to {kind}")
    try:
        data, run = _written(checkpoint, surrounded(network), kind, use)
    except StructureError as error:
        if use.fp16:
            what = first_line(error.__cause__ or error)
            raise StructureError(f"the network does not run in float16: {what}; leave out `fp16`") from error
        raise
    report("checking the outputs")
    one, other = (_logarithms(expected), _logarithms(run)) if use.softmax else (expected, run)
    found = worst_difference(one, other, shape, _pixels if use.pixels else draw)
    exact = max(ALLOWED[kind], ROUNDINGS * torch.finfo(like_images(network).dtype).eps)
    allowed = ALLOWED_FP16 if use.fp16 else exact
    check_close(found, allowed, f"the {kind} file")
    if use.int8 is None:
        return Program(data, found, count, proof, allowed=allowed)

    def prepare(pixels: Tensor) -> Tensor:
        return pixels.float() / 255 if use.pixels else checkpoint.preprocessing(pixels)

    report("quantising")
    small = quantised(data, _names(use)[0], use.int8.train, prepare)
    fast, image = Session(small), draw((1, *shape), torch.Generator().manual_seed(0)).float()
    report("measuring the accuracy")
    accuracies = {"float32": accuracy(run, use.int8.test, prepare), "int8": accuracy(fast, use.int8.test, prepare)}
    report("measuring the speed")
    speed = relative_latency(partial(run, image), partial(fast, image))
    return Program(small, None, count, proof, accuracies, speed=speed.value)


def _logarithms(network: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The logarithms of a network's probabilities, which differ as much as its logits do.

    Probabilities close to 0 and 1 would hide differences.
    """
    return lambda images: network(images).clamp_min(_LEAST).log()


def _written(
    checkpoint: Checkpoint, network: nn.Module, kind: str, use: Use
) -> tuple[bytes, Callable[[Tensor], Tensor]]:
    """The bytes of the file, and a function that runs them."""
    shape, described = checkpoint.spec.input, metadata(checkpoint, pixels=use.pixels, softmax=use.softmax)
    if kind == "pt2":
        data = pt2_bytes(network, shape, described)
        return data, Loaded(data)
    data = onnx_bytes(network, shape, names=_names(use), metadata=described)
    try:
        return data, Session(data)
    except Exception as error:  # ONNX Runtime raises its own errors, for example for bfloat16
        raise StructureError(
            f"ONNX Runtime does not run the network: {first_line(error)}; export NAME.pt2 instead"
        ) from error


def _names(use: Use) -> tuple[str, str]:
    return input_name(pixels=use.pixels), output_name(softmax=use.softmax)


def _pixels(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Random pixels in [0, 1]."""
    return torch.rand(shape, generator=generator)
