"""Curves: operating points of methods, with mean and standard deviation over seeds."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev
from typing import Any

from prunectl.checkpoints.names import base_name
from prunectl.reporting.chance import chance_notices
from prunectl.reporting.history import PruningMethod, differences, pruning_method
from prunectl.reporting.plan import method_names
from prunectl.reporting.rows import ReportRow, attack_name, row_of, rows
from prunectl.reporting.sources import Source, Sources

RowValue = Callable[[ReportRow], float | None]


@dataclass(frozen=True)
class Stat:
    """Mean and sample standard deviation over seeds; one seed has no deviation."""

    mean: float
    std: float | None
    count: int

    @staticmethod
    def of(values: Iterable[float | None]) -> "Stat | None":
        """The statistics of the measured values; None without any."""
        known = [value for value in values if value is not None]
        if not known:
            return None
        return Stat(fmean(known), stdev(known) if len(known) > 1 else None, len(known))


@dataclass(frozen=True, eq=False)
class Point:
    """One method at one target, with one row per seed."""

    target: float | str | None
    rows: tuple[ReportRow, ...]

    def stat(self, value: RowValue | str) -> Stat | None:
        """Mean and deviation of a column, or of a value computed from each row."""
        return Stat.of(row.get(value) if isinstance(value, str) else value(row) for row in self.rows)

    def median(self, key: str) -> float | None:
        """The median of a column, which ignores disturbed timings; None without any value."""
        known = [row[key] for row in self.rows if row[key] is not None]
        return median(known) if known else None


@dataclass(frozen=True, eq=False)
class Series:
    """A method with its operating points, the least pruned first."""

    label: str
    criterion: str | None
    when: str | None
    points: tuple[Point, ...]


@dataclass(frozen=True, eq=False)
class Setting:
    """All methods tried with one network on one dataset; `dense` is the baseline."""

    model: str
    data: str
    dense: Point | None
    series: tuple[Series, ...]

    @property
    def name(self) -> str:
        """The network and the data."""
        return f"{self.model} on {self.data}"

    @property
    def points(self) -> list[tuple[Series, Point]]:
        """All operating points."""
        return [(series, point) for series in self.series for point in series.points]


def settings(sources: Sources) -> tuple[list[Setting], list[str]]:
    """The settings, in order of appearance, and one line per reason why runs cannot be compared.

    A checkpoint counts if it was measured and no other one of the same method descends from it: a pruned network that
    is trained later is only a step. A dense network counts if it was trained; of several recipes, the most accurate is
    the baseline. If none was given, the measured dense ancestors of the others count.
    """
    notices: list[str] = []
    found: dict[tuple[str, str], list[_End]] = {}
    for end in _ends(sources):
        found.setdefault(_names(end), []).append(end)
    without = {names for names, ends in found.items() if not any(_is_dense(how) for _, _, how in ends)}
    for end in _dense_ancestors(sources):
        if _names(end) in without:
            found[_names(end)].append(end)
    if len({data for _, data in found}) > 1:
        notices.append(
            f"several data sets ({', '.join(dict.fromkeys(data for _, data in found))}): "
            "their accuracies are not compared with each other"
        )
    notices += _mixed(sources)
    made = [_setting(model, data, ends, sources, notices) for (model, data), ends in found.items()]
    return [setting for setting in made if setting.dense or setting.series], notices


_End = tuple[Source, ReportRow, PruningMethod]


def _names(end: _End) -> tuple[str, str]:
    """The network with its options, and the data."""
    source, row, _ = end
    options = (source.seen or {}).get("options") or {}
    named = str(row["model"] or "unknown network")
    named += "".join(f" {key}={value}" for key, value in sorted(options.items()))
    return named, str(row["data"] or "unknown data")


def _is_dense(how: PruningMethod) -> bool:
    return how.criterion is None and how.trained


def _dense_ancestors(sources: Sources) -> list[_End]:
    """The measured dense ancestors of the given networks that were not given themselves."""
    given = {source.path for source in sources.given}
    before = {one.path: one for source in sources.given for one in sources.lineage.get(source.path, ())}
    found = [
        (one, row_of(one, sources.lineage.get(one.path, ())), pruning_method(one.history))
        for path, one in before.items()
        if path not in given and one.measured
    ]
    return [(one, row, how) for one, row, how in found if _is_dense(how)]


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """The indices of the points (x, y) that no other point beats with a smaller or equal x and a larger or equal y."""
    best, front = float("-inf"), []
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if points[i][1] > best:
            best = points[i][1]
            front.append(i)
    return front


def _mixed(sources: Sources) -> list[str]:
    """Lines about networks with different versions or devices, doubtful attacks, or chance accuracy."""
    measured = [source for source in sources.given if source.measured]
    made = [one.history[-1].versions for one in measured if one.history]
    common = set.intersection(*(set(versions) for versions in made)) if made else set()
    versions = {json.dumps({name: each[name] for name in common}, sort_keys=True) for each in made}
    devices = {str(one.measured.get("device", "cpu")).partition(":")[0] for one in measured}
    found = []
    if len(versions) > 1:
        found.append(f"the networks were made with {len(versions)} sets of library versions; see the provenance")
    if len(devices) > 1:
        found.append(f"times were measured on {' and '.join(sorted(devices))}: do not compare them")
    return found + _doubts(sources) + chance_notices(sources.given)


def _doubts(sources: Sources) -> list[str]:
    """The warnings that attacks recorded about their results, each once."""
    doubted: dict[tuple[str, str], list[str]] = {}
    for source in sources.given:
        for record in source.attacks:
            for warning in record.get("warnings", []):
                doubted.setdefault((attack_name(record), str(warning)), []).append(base_name(source.path))
    return [
        f"{attack} on {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {warning}"
        for (attack, warning), names in doubted.items()
    ]


def _ends(sources: Sources) -> list[_End]:
    """The measured checkpoints that are the last of their method, each once."""
    listed = [(s, r, pruning_method(s.history)) for s, r in zip(sources.given, rows(sources), strict=True)]
    came_from: set[str] = set()
    for source, _, how in listed:
        before = [entry.parent for entry in source.history]
        for i, parent in enumerate(before):
            if parent and pruning_method(source.history[:i]).criterion == how.criterion:
                came_from.add(parent)
    ends, seen = [], set()
    for source, row, how in listed:
        if row["accuracy"] is None or source.sha256 in came_from or source.sha256 in seen:
            continue
        if how.criterion is None and not how.trained and source.seen is not None:
            continue
        seen.add(source.sha256)
        ends.append((source, row, how))
    return ends


def _setting(model: str, data: str, ends: list[_End], sources: Sources, notices: list[str]) -> Setting:
    groups: dict[tuple[str | None, str], dict[float | str | None, dict[Any, ReportRow]]] = {}
    when: dict[tuple[str | None, str], str | None] = {}
    for source, row, how in ends:
        if source.seen is None:
            notices.append(
                f"{source.path}: left out of the curves, because without the checkpoint its method is unknown"
            )
            continue
        key = (how.criterion, how.recipe)
        when[key] = how.when
        at = groups.setdefault(key, {}).setdefault(how.target, {})
        if how.seed in at:
            notices.append(
                f"{source.path} and {at[how.seed]['checkpoint']} have the same method, target and seed; the latter "
                "is used"
            )
            continue
        at[how.seed] = row
    dense = [
        Point(None, tuple(rows.values())) for (name, _), at in groups.items() if name is None for rows in at.values()
    ]
    pruned = {key: at for key, at in groups.items() if key[0] is not None}
    plan = {str(path): one for path, one in sources.plan.items()}
    runs = [[plan.get(row["checkpoint"]) for rows in at.values() for row in rows.values()] for at in pruned.values()]
    labels = dict(zip(pruned, method_names(runs, list(_labels(list(pruned)).values())), strict=True))
    series = tuple(
        Series(labels[key], key[0], when[key], tuple(_ordered(Point(t, tuple(r.values())) for t, r in at.items())))
        for key, at in pruned.items()
    )
    best = max(dense, key=lambda point: point.stat("accuracy").mean, default=None)  # type: ignore[union-attr]
    if len(dense) > 1:
        notices.append(f"{model} on {data}: {len(dense)} recipes of dense training; the most accurate is the baseline")
    return Setting(model, data, best, series)


def _labels(keys: Sequence[tuple[str | None, str]]) -> dict[tuple[str | None, str], str]:
    """The criterion, followed by the differences between recipes of the same criterion."""
    found: dict[tuple[str | None, str], str] = {}
    for criterion in dict.fromkeys(name for name, _ in keys):
        same = [key for key in keys if key[0] == criterion]
        words = differences([recipe for _, recipe in same]) if len(same) > 1 else [""]
        found |= {
            key: f"{criterion} ({word})" if word else str(criterion) for key, word in zip(same, words, strict=True)
        }
    return found


def _ordered(points: Iterable[Point]) -> list[Point]:
    """The points, sorted by remaining weights, then by remaining nodes, most first."""

    def left(point: Point) -> tuple[float, float]:
        weights, nodes = point.stat("weights"), point.stat("node_sparsity")
        return (-(weights.mean if weights else 0), nodes.mean if nodes else 0)

    return sorted(points, key=left)
