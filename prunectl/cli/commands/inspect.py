"""prunectl inspect."""

import json
import textwrap
from math import prod
from typing import Annotated, Any

import typer

from prunectl.cli import options, output
from prunectl.cli.verbosity import is_verbose


def command(
    checkpoint: options.CheckpointArgument = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON record.")] = False,
) -> None:
    """Show the contents of a checkpoint: header, history, and sparsity of every layer.

    -v lists all tensors. Works without PyTorch.
    """
    from prunectl.checkpoints.inspect import inspect

    seen = inspect(options.checkpoint_path(checkpoint))
    if as_json:
        output.emit(json.dumps(seen))
        return
    size = "x".join(str(side) for side in seen["input"])
    given = "".join(f" {key}={value}" for key, value in seen["options"].items())
    output.emit(
        f"{seen['path']}: {seen['model']}{given}, {size} images of {seen['classes']} classes, "
        f"data {seen['data'] or 'none'}"
    )
    output.emit(
        f"{output.counted(seen['bytes'])}B, {'masked' if seen['masked'] else 'no mask'}, "
        f"weight sparsity {seen['weight_sparsity']:.6f} of {seen['dense']['weights']:,} dense weights"
    )
    if not seen["normalisation_known"]:
        output.emit("  mean and std of its images are unknown, so it takes no image files; see prunectl guide python")
    for spec, place in seen["places"].items():
        changed = ", which has changed since" if spec in seen["changed"] else ""
        output.emit(f"  {spec} {'is not found' if place is None else f'is {place}{changed}'}")
    for entry in seen["history"]:
        values = " ".join(f"{key}={value}" for key, value in entry["options"].items() if value not in (None, {}, []))
        text = f"  {entry['command']} {values}".rstrip()
        wrapped = textwrap.wrap(text, 80, subsequent_indent=" " * 6, break_long_words=False, break_on_hyphens=False)
        for line in wrapped:
            output.emit(line)
        for event in entry.get("result", {}).get("events", []):
            output.emit(f"    {output.pruned(event)}")
        for layer in entry.get("result", {}).get("layers", []):
            output.emit(f"    {layer['layer']}: error {layer['before']:.4f} -> {layer['after']:.4f}")
    _tensors(seen["tensors"])


def _tensors(tensors: list[dict[str, Any]]) -> None:
    """Print a line for every layer with weights; with --verbose, for all tensors."""
    layers = tensors if is_verbose() else [t for t in tensors if len(t["shape"]) > 1 or t["kept"] < prod(t["shape"])]
    width = max((len(t["name"]) for t in layers), default=0)
    for tensor in layers:
        entries = prod(tensor["shape"])
        sparsity = ""
        if len(tensor["shape"]) > 1 or tensor["kept"] < entries:
            sparsity = f"kept {tensor['kept']:>10,}  sparsity {1 - tensor['kept'] / max(entries, 1):.4f}"
        shape = "x".join(str(side) for side in tensor["shape"]) or "scalar"
        output.emit(f"  {tensor['name']:<{width}}  {tensor['dtype']:<4} {shape:<14} {sparsity}".rstrip())
    if len(layers) < len(tensors):
        output.emit(f"  {output.many(len(tensors) - len(layers), 'other tensor')} (biases, norms); -v lists them")
