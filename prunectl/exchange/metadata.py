"""The metadata of an exported file: its inputs, outputs and origin."""

import json
from dataclasses import asdict

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.version import __version__


def metadata(checkpoint: Checkpoint, *, pixels: bool, softmax: bool) -> dict[str, str]:
    """The metadata of an export, by key; lists and tables are JSON.

    `input` is "pixels" in [0, 1] or "input" normalised with `mean` and `std`; `output` is "logits" or "probabilities";
    `names` are the class names, `resize` says how image files become the input, `data` is the checkpoint's dataset,
    `history` the commands, and `sha256` the hash of the checkpoint's file. Unknown values are left out.
    """
    weights = checkpoint.masks.kept(checkpoint.model)
    found = {
        "model": checkpoint.spec.name,
        "input": input_name(pixels=pixels),
        "output": output_name(softmax=softmax),
        "weight_sparsity": repr(1 - weights / checkpoint.dense.weights),
        "history": json.dumps([entry.to_json() for entry in checkpoint.history]),
        "prunectl": __version__,
    }
    if checkpoint.preprocessing.known:
        found["mean"] = json.dumps(checkpoint.preprocessing.mean)
        found["std"] = json.dumps(checkpoint.preprocessing.std)
    if checkpoint.data:
        found["data"] = checkpoint.data
    if checkpoint.names:
        found["names"] = json.dumps(checkpoint.names)
    if checkpoint.resize is not None:
        found["resize"] = json.dumps(asdict(checkpoint.resize))
    if checkpoint.sha256 is not None:
        found["sha256"] = checkpoint.sha256
    return found


def input_name(*, pixels: bool) -> str:
    """The name of an exported network's input."""
    return "pixels" if pixels else "input"


def output_name(*, softmax: bool) -> str:
    """The name of an exported network's output."""
    return "probabilities" if softmax else "logits"
