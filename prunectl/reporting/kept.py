"""Computes how much of each layer a checkpoint keeps, from its headers and mask bits, without torch."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

from prunectl.checkpoints.header import TensorFile, read_header, read_mask_header
from prunectl.errors import FileError
from prunectl.reporting.sources import Source

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of the prunable weights of a dense network, by layer name."""
_WEIGHT = ".weight"


@dataclass(frozen=True)
class KeptLayer:
    """The kept shares, in [0, 1], of a dense layer: of its weights, and of its outputs with kept weights."""

    weights: float
    outputs: float


def dense_shapes(sources: Iterable[Source]) -> Shapes:
    """The layers of the dense network, from the headers of checkpoints that were not shrunk.

    Empty if there is none, or if they have tensors that may not be layers (an embedding).
    """
    for source in sources:
        if source.seen is None or source.seen["edits"]:
            continue
        found = {
            str(tensor["name"]).removesuffix(_WEIGHT): tuple(tensor["shape"])
            for tensor in source.seen["tensors"]
            if len(tensor["shape"]) > 1 and str(tensor["name"]).endswith(_WEIGHT)
        }
        if found and sum(map(prod, found.values())) == source.seen["dense"]["weights"]:
            return found
    return {}


def kept_layers(source: Source, dense: Shapes) -> dict[str, KeptLayer]:
    """What a checkpoint keeps of every layer of `dense`; empty if it cannot be read or has other layers."""
    try:
        head, file = read_header(source.path)
        bits, sizes = (None, {}) if head.pair is None else read_mask_header(source.path, head.pair)
    except FileError:
        return {}
    shapes = {name: file.tensors[name + _WEIGHT][1] for name in dense if name + _WEIGHT in file.tensors}
    if any(len(shape) != len(dense[name]) for name, shape in shapes.items()) or (dense and not shapes):
        return {}
    found = {}
    for name, whole in dense.items():
        kept, outputs = _left(name + _WEIGHT, shapes.get(name, (0,)), bits, sizes)
        found[name] = KeptLayer(kept / max(prod(whole), 1), outputs / max(whole[0], 1))
    return found


def _left(name: str, shape: tuple[int, ...], bits: TensorFile | None, sizes: Shapes) -> tuple[int, int]:
    """The kept weights, and the outputs that keep one; a tensor without a mask is kept whole."""
    if bits is None or name not in sizes:
        return prod(shape), shape[0]
    rows, size = shape[0], prod(shape[1:])
    packed = bits.bytes_of(name)
    return int.from_bytes(packed, "little").bit_count(), sum(_any(packed, i * size, size) for i in range(rows))


def _any(packed: bytes, first: int, count: int) -> bool:
    """Whether one of `count` bits from `first` on is set; the first bit of a byte is its lowest."""
    some = int.from_bytes(packed[first // 8 : (first + count + 7) // 8], "little") >> first % 8
    return bool(some & ((1 << count) - 1))
