"""Selects the best trade-off, with which the page opens, and the networks that it shows from inside."""

from collections.abc import Sequence
from dataclasses import dataclass

from prunectl.checkpoints.names import base_name
from prunectl.reporting.curves import Point, Series, Setting, pareto
from prunectl.reporting.formats import target_text
from prunectl.reporting.history import pruning_method
from prunectl.reporting.sources import Source, Sources

MARGINS = (1.0, 2.0, 5.0)
"""Allowed losses of accuracy, in percentage points; the next one is used if no point is within the previous one."""
MOST_NETWORKS = 12

_Operating = tuple[Series, Point]


@dataclass(frozen=True, eq=False)
class Network:
    """A network that can be shown from inside, with its label."""

    source: Source
    label: str


@dataclass(frozen=True, eq=False)
class Best:
    """The best operating point; it is within `margin` points of dense, or None if no point is."""

    series: Series
    point: Point
    margin: float | None


def front(setting: Setting) -> list[_Operating]:
    """The Pareto front of accuracy and fewer weights, the most accurate first."""
    found = [
        (-saved.mean, accuracy.mean, entry)
        for entry in setting.points
        if (saved := entry[1].stat("compression")) and (accuracy := entry[1].stat("accuracy"))
    ]
    return [found[i][2] for i in reversed(pareto([(x, y) for x, y, _ in found]))]


def best(setting: Setting) -> Best | None:
    """The point with the fewest weights on the front within a margin of the dense accuracy, else the most accurate one.

    Without a dense network, the most accurate pruned one is the reference.
    """
    points = front(setting)
    if not points:
        return None
    accuracies = [_accuracy(point) for _, point in points]
    dense = max(accuracies) if setting.dense is None else _accuracy(setting.dense)
    for margin in MARGINS:
        near = [i for i, accuracy in enumerate(accuracies) if dense - accuracy <= margin / 100 + 1e-9]
        if near:
            return Best(*points[near[-1]], margin if setting.dense else None)
    return Best(*points[0], None)


def networks(sources: Sources, settings: Sequence[Setting], first: Source | None = None) -> list[Network]:
    """Up to twelve networks: `first`, then best trade-offs, Pareto fronts, dense networks and other points.

    Each operating point has one network, from its first seed. If no pruned network was measured, the last pruned one
    comes first.
    """
    labels = _labels(settings)
    there = {str(source.path): source for source in sources.given if source.seen is not None}
    last_first = list(there.values())[::-1]
    others = sorted(last_first, key=lambda source: (not _is_pruned(source), not source.measured))
    own = [path for path in labels if path in there]
    if not any(_is_pruned(there[path]) for path in own):
        own = [*(str(source.path) for source in others if _is_pruned(source) or not own), *own]
    order = dict.fromkeys([*([str(first.path)] if first else []), *own])
    shown = [there[path] for path in order if path in there][:MOST_NETWORKS]
    return [Network(one, labels.get(str(one.path), base_name(one.path))) for one in shown]


def left_out(sources: Sources, settings: Sequence[Setting], shown: Sequence[Network]) -> list[str]:
    """The names of operating points whose network exists but is not `shown`."""
    there = {str(source.path) for source in sources.given if source.seen is not None}
    there -= {str(network.source.path) for network in shown}
    return [name for path, name in _labels(settings).items() if path in there]


def _is_pruned(source: Source) -> bool:
    return pruning_method(source.history).criterion is not None


def _labels(settings: Sequence[Setting]) -> dict[str, str]:
    """The first checkpoint of every operating point with its name, in order of importance."""
    ranked: list[tuple[int, str, str]] = []
    for setting in settings:
        where, top, ahead = (f", {setting.name}" if len(settings) > 1 else ""), best(setting), front(setting)
        for series, point in setting.points:
            first = top is not None and point is top.point
            rank = 0 if first else 1 if any(point is other for _, other in ahead) else 3
            name = " ".join(filter(None, [series.label, target_text(point.target)]))
            note = ", best trade-off" if first else ", Pareto front" if rank == 1 else ""
            ranked.append((rank, point.rows[0]["checkpoint"], f"{name}{note}{where}"))
        if setting.dense is not None:
            ranked.append((2, setting.dense.rows[0]["checkpoint"], f"dense{where}"))
    return {path: label for _, path, label in sorted(ranked, key=lambda entry: entry[0])}


def _accuracy(point: Point) -> float:
    found = point.stat("accuracy")
    assert found is not None  # `settings` has only measured networks
    return found.mean
