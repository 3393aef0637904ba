"""diff: compares two checkpoints, from their histories to their weights."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from difflib import SequenceMatcher
from typing import Any

import torch
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.history import HistoryEntry
from prunectl.masks import Masks, prunable
from prunectl.plugins.places import Places
from prunectl.structure.surgery.cut import grown
from prunectl.structure.surgery.plan import Plan
from prunectl.torchtools.pieces import largest_difference


def diff(a: Checkpoint, b: Checkpoint) -> dict[str, Any]:
    """One record of plain values; a pair is [a's, b's].

    `network` holds the differences in how the dense networks are built, `files` the sha256 of the user's Python files
    that differ, `steps` the commands with their differences, and `layers`, for every prunable weight that both have,
    shapes, kept entries, the overlap of the kept entries (Jaccard: kept by both / kept by either) and the largest
    difference of two entries. Shrunk networks are compared in the shapes of their dense original, where removed
    entries are pruned and 0; overlap and difference are None if the originals have different shapes.
    `largest_difference` holds those of tensors of equal shape, by name, if not 0.
    """
    first, second = a.to(torch.device("cpu")), b.to(torch.device("cpu"))
    return {
        "network": _changes(_network(a), _network(b)),
        "files": _other_files(a.places, b.places),
        "steps": list(_steps(a.history, b.history)),
        "layers": list(_layers(first, second)),
        "largest_difference": _largest(first.model.state_dict(), second.model.state_dict()),
        "same_tensors": _same(first.model.state_dict(), second.model.state_dict()),
        "same_masks": _same(first.masks, second.masks),
    }


def _network(checkpoint: Checkpoint) -> dict[str, Any]:
    return {**asdict(checkpoint.spec), "input": list(checkpoint.spec.input), "data": checkpoint.data}


def _other_files(a: Places, b: Places) -> dict[str, list[str]]:
    """The names of files whose content differed when the two were made."""
    pairs = {spec: (a[spec].sha256, b[spec].sha256) for spec in a if spec in b}
    return {spec: [ours, theirs] for spec, (ours, theirs) in pairs.items() if ours and theirs and ours != theirs}


def _steps(a: tuple[HistoryEntry, ...], b: tuple[HistoryEntry, ...]) -> Iterator[dict[str, Any]]:
    """The commands of both histories side by side: `at` has the position in each, None if one lacks the step."""
    names = [entry.command for entry in a], [entry.command for entry in b]
    for kind, a_from, a_to, b_from, b_to in SequenceMatcher(None, *names, autojunk=False).get_opcodes():
        if kind == "equal":
            for i, j in zip(range(a_from, a_to), range(b_from, b_to), strict=True):
                yield {
                    "command": names[0][i],
                    "at": [i, j],
                    "options": _changes(_flat(a[i].options), _flat(b[j].options)),
                    "versions": _changes(_made_by(a[i]), _made_by(b[j])),
                }
        else:
            yield from ({"command": names[0][i], "at": [i, None]} for i in range(a_from, a_to))
            yield from ({"command": names[1][j], "at": [None, j]} for j in range(b_from, b_to))


def _made_by(entry: HistoryEntry) -> dict[str, Any]:
    """Versions and threads."""
    return {**entry.versions, "threads": entry.threads}


def _flat(options: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested options under names with dots."""
    found: dict[str, Any] = {}
    for key, value in options.items():
        found |= _flat(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}": value}
    return found


def _changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The keys under which two mappings differ, with both values."""
    keys = dict.fromkeys([*a, *b])
    return {key: [a.get(key), b.get(key)] for key in keys if a.get(key) != b.get(key)}


def _layers(a: Checkpoint, b: Checkpoint) -> Iterator[dict[str, Any]]:
    """The prunable weights of two networks on the cpu."""
    (dense_a, masks_a), (dense_b, masks_b) = _dense(a), _dense(b)
    small_a, small_b = prunable(a.model), prunable(b.model)
    whole_a, whole_b = prunable(dense_a), prunable(dense_b)
    for name in whole_a:
        if name not in whole_b or name not in small_a or name not in small_b:
            continue
        left, right = whole_a[name].detach(), whole_b[name].detach()
        row: dict[str, Any] = {
            "name": name,
            "shape": [list(small_a[name].shape), list(small_b[name].shape)],
            "kept": [masks_a.count(name, left), masks_b.count(name, right)],
            "jaccard": None,
            "largest_difference": None,
        }
        if left.shape == right.shape:
            ours, theirs = masks_a.of(name, left), masks_b.of(name, right)
            either = int((ours | theirs).count_nonzero())
            row["jaccard"] = int((ours & theirs).count_nonzero()) / either if either else 1.0
            row["largest_difference"] = largest_difference(left, right)
        yield row


def _dense(checkpoint: Checkpoint) -> tuple[nn.Module, Masks]:
    """A network in the shapes of its dense original, with masks for what shrinks removed."""
    kept = Plan.of(checkpoint.edits).kept
    if not kept:
        return checkpoint.model, checkpoint.masks
    with torch.random.fork_rng(devices=[]):
        dense = checkpoint.dense_network()
    return grown(checkpoint.model, checkpoint.masks, dense, kept)


def _same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    """Whether the same names hold the same values."""
    return a.keys() == b.keys() and all(torch.equal(tensor, b[name]) for name, tensor in a.items())


def _largest(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> dict[str, float]:
    """The largest difference in every tensor of equal shape that differs."""
    shared = {n: (t, b[n]) for n, t in a.items() if n in b and b[n].shape == t.shape}
    found = {n: largest_difference(*pair) for n, pair in shared.items() if not torch.equal(*pair)}
    return dict(sorted(found.items(), key=lambda item: -item[1]))
