"""inspect: shows what a checkpoint holds, from its headers and mask bits, without torch."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prunectl.checkpoints.header import read_header, read_mask_header
from prunectl.checkpoints.places import places_of


def inspect(path: str | Path) -> dict[str, Any]:
    """One record of plain values: header, history, and dtype, shape and kept entries of every tensor.

    `weight_sparsity` refers to the original dense network; a tensor without a mask is kept whole.

    Raises:
        FileError, CheckpointError: files are missing or damaged, or the mask file belongs to other weights.
    """
    path = Path(path)
    head, toc = read_header(path)
    kept = _kept(path, head.pair) if head.pair is not None else {}
    recorded = places_of(toc.metadata, toc.path)
    places = {spec: place.find() for spec, place in recorded.items()}
    tensors: list[dict[str, Any]] = []
    for name, (dtype, shape, begin, end) in sorted(toc.tensors.items(), key=lambda item: _natural(item[0])):
        entries = math.prod(shape)
        tensors.append(
            {"name": name, "dtype": dtype, "shape": list(shape), "kept": kept.get(name, entries), "bytes": end - begin}
        )
    return {
        "path": str(path),
        "bytes": toc.size,
        "model": head.model.name,
        "options": head.model.options,
        "input": list(head.model.input),
        "classes": head.model.classes,
        "data": head.data,
        "places": {spec: None if at is None else str(at) for spec, at in places.items()},
        "changed": [spec for spec, place in recorded.items() if place.change() is not None],
        "mean": list(head.mean),
        "std": list(head.std),
        "normalisation_known": head.normalisation_known,
        "names": list(head.names),
        "resize": None if head.resize is None else asdict(head.resize),
        "masked": head.pair is not None,
        "weights": head.weights,
        "weight_sparsity": 1 - head.weights / head.dense.weights,
        "dense": {
            "parameters": head.dense.parameters,
            "weights": head.dense.weights,
            "nodes": head.dense.nodes,
            "flops": head.dense.flops,
        },
        "edits": list(head.edits),
        "history": [entry.to_json() for entry in head.history],
        "tensors": tensors,
    }


def _natural(name: str) -> list[tuple[int, str]]:
    """A sort key that puts layer 2 before layer 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in name.split(".")]


def _kept(path: Path, pair: str) -> dict[str, int]:
    """How many entries each mask keeps: the set bits of its bytes."""
    toc, _ = read_mask_header(path, pair)
    return {name: int.from_bytes(toc.bytes_of(name), "little").bit_count() for name in toc.tensors}
