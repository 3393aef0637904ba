"""Words in the headline for what the target of pruning saves."""

from collections.abc import Mapping, Sequence

from prunectl.checkpoints.history import HistoryEntry
from prunectl.checkpoints.options.runtimes import EAGER
from prunectl.reporting.curves import Point
from prunectl.reporting.formats import times
from prunectl.reporting.page.speedup import Speeds, speedup
from prunectl.reporting.sources import Source

_SAME = 1.02
"""A ratio below this counts as no saving."""


def asked(point: Point, dense: Point | None, sources: Mapping[str, Source], speeds: Speeds) -> str | None:
    """A text on the saving of the target's quantity; None if that is the parameters, or was not measured."""
    history = _history(point, sources)
    last = _last_pruning(history)
    if last is None:
        return None
    kind = next((kind for kind in ("flops", "size", "latency") if last.options.get(kind) is not None), None)
    if kind == "flops":
        return _flops(point, sources)
    if kind == "size":
        return _size(point, dense)
    if kind == "latency":
        found = _latency(point, dense, last, speeds)
        is_small = any(entry.command == "shrink" for entry in history)
        return found if found is None or is_small else f"{found} once shrunk"
    return _nodes(point) if _are_nodes(last) else None


def accuracy_first(point: Point, sources: Mapping[str, Source]) -> bool:
    """Whether the target was an accuracy (`prune --min-accuracy`)."""
    last = _last_pruning(_history(point, sources))
    return last is not None and last.options.get("min_accuracy") is not None


def _history(point: Point, sources: Mapping[str, Source]) -> Sequence[HistoryEntry]:
    """The history of the first seed."""
    source = sources.get(str(point.rows[0]["checkpoint"]))
    return [] if source is None else source.history


def _last_pruning(history: Sequence[HistoryEntry]) -> HistoryEntry | None:
    """The command that set the target."""
    return next((entry for entry in reversed(history) if "criterion" in entry.options), None)


def _flops(point: Point, sources: Mapping[str, Source]) -> str | None:
    """Saved FLOPs: as executed if nodes were removed, else what removing them will save."""
    dense = _dense_flops(point, sources)
    executed = _ratio(dense, _mean(point, "flops"))
    if executed is not None and executed > _SAME:
        return f"{times(executed)} fewer FLOPs"
    left = _ratio(dense, _mean(point, "nonzero_flops"))
    return None if left is None else f"{times(left)} fewer FLOPs without pruned weights"


def _size(point: Point, dense: Point | None) -> str | None:
    """Saved size: of the tensors in the file if they are smaller than the dense ones, else compressed."""
    for key, words in (("bytes", "smaller"), ("compressed_bytes", "smaller when compressed")):
        found = _ratio(_mean(dense, key), _mean(point, key))
        if found is not None and found > _SAME:
            return f"{times(found)} {words}"
    return None


def _latency(point: Point, dense: Point | None, entry: HistoryEntry, speeds: Speeds) -> str | None:
    """The speed of the shrunk network: timed for the page, else measured by `prune` in turns, else by `eval`."""
    found = speedup(point, dense, speeds, str(entry.options.get("runtime") or EAGER), shrunk=True)
    share = entry.result.get("latency")
    if share and (found is None or not found.in_turns):
        return _faster(1 / share)
    return None if found is None or not found.dense else _faster(found.dense / found.now)


def _faster(ratio: float) -> str:
    return f"{times(ratio)} faster" if ratio >= 1 else f"{1 / ratio:.2f}× slower"


def _are_nodes(entry: HistoryEntry) -> bool:
    """Whether the sparsity of a pruning counts nodes: the reached node sparsity matches it, not the weight sparsity."""
    target, reached = entry.options.get("sparsity"), entry.result
    if target is None or "node_sparsity" not in reached:
        return False
    return bool(abs(reached["node_sparsity"] - target) < abs(reached.get("weight_sparsity", 0.0) - target))


def _nodes(point: Point) -> str | None:
    gone = _mean(point, "node_sparsity")
    return None if gone is None or not 0 < gone < 1 else f"{times(1 / (1 - gone))} fewer nodes"


def _dense_flops(point: Point, sources: Mapping[str, Source]) -> float | None:
    """The FLOPs of the dense network, from the checkpoint's header."""
    source = sources.get(str(point.rows[0]["checkpoint"]))
    return None if source is None or source.seen is None else float(source.seen["dense"]["flops"])


def _ratio(dense: float | None, now: float | None) -> float | None:
    return dense / now if dense and now else None


def _mean(point: Point | None, key: str) -> float | None:
    found = None if point is None else point.stat(key)
    return None if found is None else found.mean
