"""The model card of an exported folder: the network, its cost, and the commands that made it."""

import json
from pathlib import Path
from typing import Any

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.escapes import markdown, visible
from prunectl.checkpoints.header import Header
from prunectl.checkpoints.lineage import steps_of
from prunectl.checkpoints.results import data_name, is_on, records
from prunectl.errors import CheckpointError
from prunectl.measuring.cost import cost
from prunectl.version import __version__

ALONE = {
    "model.py": "Without prunectl, in this folder: `from model import load; net = load()`.\n\n",
    "model.pt2": 'Without prunectl: `net = torch.export.load("model.pt2").module()`; torch unpickles parts of this '
    "file, so load it only from a source that you trust.\n\n",
}
Row = tuple[str, str, str]
"""A quantity, its value here, and its value in the dense original."""


def card(checkpoint: Checkpoint, head: Header, name: str, source: Path | None, alone: str | None) -> str:
    """The text of README.md, with the front matter that the hub reads.

    `source` is the checkpoint's file, `alone` the file that loads the network without prunectl.
    """
    measured = _measured(checkpoint, source)
    rows = [*_costs(checkpoint), *_results(measured)]
    table = "".join(f"| {what} | {here} | {dense} |\n" for what, here, dense in rows)
    size, network = "x".join(map(str, head.model.input)), visible(head.model.name).replace("`", "")
    return (
        f"{_front_matter(head, name, measured)}\n# {name}\n\n"
        f"`{network}` for normalised images of {size} (CxHxW) and {head.model.classes} classes.\n\n"
        f"| | this network | dense original |\n|---|--:|--:|\n{table}\n"
        f"{_use(head, alone)}\n## Commands\n\n```sh\n{_commands(checkpoint, head)}```\n\n"
        f"Written by prunectl {__version__}"
        + (f" from the checkpoint with sha256 `{checkpoint.sha256}`" if checkpoint.sha256 else "")
        + "; the whole history, with seeds and versions, is in `config.json`.\n"
    )


def _measured(checkpoint: Checkpoint, source: Path | None) -> dict[str, Any] | None:
    """The last `eval` record on the checkpoint's own data, or None."""
    if source is None or checkpoint.sha256 is None:
        return None
    found = records(source, checkpoint.sha256)
    own = [r for r in found if r.get("command") == "eval" and is_on(r.get("data", {}), checkpoint.data)]
    return own[-1] if own else None


def _costs(checkpoint: Checkpoint) -> list[Row]:
    counted, dense = cost(checkpoint.model, checkpoint.masks, checkpoint.spec.input), checkpoint.dense
    rows = [
        ("weight sparsity", f"{1 - counted.kept / dense.weights:.4f}", "0"),
        ("weights", f"{counted.kept:,}", f"{dense.weights:,}"),
        ("parameters", f"{counted.parameters:,}", f"{dense.parameters:,}"),
        ("FLOPs per image", f"{counted.flops:,}", f"{dense.flops:,}"),
    ]
    if counted.nonzero_flops != counted.flops:
        rows.append(("FLOPs without pruned weights", f"{counted.nonzero_flops:,}", ""))
    return rows


def _results(measured: dict[str, Any] | None) -> list[Row]:
    if measured is None:
        return []
    on = f"{markdown(data_name(measured['data']))}, {measured['images']:,} images"
    rows = [(f"accuracy ({on})", f"{measured['accuracy']:.4f}", ""), ("top-5 accuracy", f"{measured['top5']:.4f}", "")]
    if measured.get("node_sparsity") is not None:
        rows.append(("node sparsity", f"{measured['node_sparsity']:.4f}", "0"))
    for timed in measured.get("latency", []):
        runtime = f" in {markdown(timed['runtime'])}" if "runtime" in timed else ""
        what = f"latency{runtime}, batch of {timed['batch']} ({markdown(str(measured['device']))}, one CPU thread)"
        rows.append((what, f"{1000 * timed['median_s']:.3g} ms", ""))
    return rows


def _front_matter(head: Header, name: str, measured: dict[str, Any] | None) -> str:
    """The front matter in YAML, which accepts JSON values."""
    values: dict[str, Any] = {
        "library_name": "timm" if head.model.name.startswith("timm/") and not head.edits else "prunectl",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "pruning", "prunectl"],
    }
    if measured is not None:
        result = {
            "task": {"type": "image-classification"},
            "dataset": {"type": str(measured["data"]["name"]), "name": data_name(measured["data"])},
            "metrics": [{"type": "accuracy", "value": measured["accuracy"]}],
        }
        values |= {"metrics": ["accuracy"], "model-index": [{"name": name, "results": [result]}]}
    lines = "".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items())
    return f"---\n{lines}---\n"


def _use(head: Header, alone: str | None) -> str:
    rule = head.resize
    sized = (
        ""
        if rule is None
        else f"resize the shorter side to {rule.shorter_side} ({rule.interpolation}), crop the middle "
        f"{rule.size}x{rule.size}; "
    )
    mean, std = (", ".join(f"{number:.4g}" for number in numbers) for numbers in (head.mean, head.std))
    return (
        "## Use\n\n```python\nimport prunectl\n\n"
        'net = prunectl.load("FOLDER")  # this folder; in eval mode\n'
        "logits = net(images)  # (B, C, H, W), normalised\n"
        f"```\n\n{ALONE.get(alone or '', '')}"
        f"Images: {sized}pixels in [0, 1] minus mean ({mean}), divided by std ({std}).\n"
    )


def _commands(checkpoint: Checkpoint, head: Header) -> str:
    """The commands of the history, one per line."""
    try:
        steps = steps_of(head, checkpoint.sha256, "the checkpoint")
    except CheckpointError:  # a command of a later prunectl
        return "".join(f"# {visible(entry.command, '')}\n" for entry in head.history)
    return "".join(f"{visible(step.line, '')}\n" for step in steps)  # a newline could end the block of code
