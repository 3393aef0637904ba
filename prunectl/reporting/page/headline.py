"""The answer with which the page opens: what the best trade-off saves, and at which accuracy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from prunectl.reporting.curves import Point, Setting, Stat
from prunectl.reporting.formats import share_text, target_text, times
from prunectl.reporting.page.asked import accuracy_first, asked
from prunectl.reporting.page.best import Best, best
from prunectl.reporting.page.figures.axes import robust_measures
from prunectl.reporting.page.speedup import Speeds, speedup
from prunectl.reporting.rows import parameters_left, parameters_stored
from prunectl.reporting.sources import Source

_SAME = 0.02
"""The relative difference up to which two values count as equal."""


@dataclass(frozen=True)
class Tile:
    """A number, what it counts, and a remark."""

    number: str
    words: str
    source: str


@dataclass(frozen=True)
class Answer:
    """The headline, its reference, its checkpoint, and more numbers of the same network."""

    words: tuple[str, ...]
    reference: str
    path: str | None
    tiles: tuple[Tile, ...]


def answer(setting: Setting, sources: Mapping[str, Source], speeds: Speeds | None = None) -> Answer | None:
    """The best operating point of a setting, else its dense network; None without either.

    The headline begins with the quantity of the target. `speeds` are times measured in turns.
    """
    found, dense = best(setting), setting.dense
    if found is None:
        if dense is None:
            return None
        accuracy = f"{share_text(dense.stat('accuracy'))}\u00a0%"
        return Answer(
            (accuracy,), f"The dense network, {seeds_text(dense)}. No pruned network was measured.", _path(dense), ()
        )
    point = found.point
    left, whole = _parameters(point, sources)
    counted_as = "nonzero parameters" if _holds_zeros(point, sources) else "parameters"
    fewer = f"{times(whole / left)} fewer {counted_as}" if left else f"no {counted_as} left"
    accuracy = f"{_share(point.stat('accuracy'))}\u00a0%{_to_dense(point, dense)}"
    first = asked(point, dense, sources, speeds or {})
    words = (*([first] if first else []), fewer, accuracy)
    tiles = (
        _size(counted_as.capitalize(), left, whole),
        _flops(point, dense),
        _time(point, dense, speeds or {}),
        _ratio("Compressed size", _mean(point, "compressed_bytes"), _mean(dense, "compressed_bytes"), _kilobytes),
        _ratio("Training FLOPs", _mean(point, "training_flops"), _mean(dense, "training_flops"), counted, low=True),
        _robust(setting, point),
    )
    if accuracy_first(point, sources):
        words = (accuracy, fewer)
    return Answer(words, _reference(found, setting), _path(point), tuple(filter(None, tiles)))


def seeds_text(point: Point) -> str:
    """The number of seeds of a point, as text."""
    return f"mean of {len(point.rows)} seeds" if len(point.rows) > 1 else "1 seed"


def counted(number: float) -> str:
    """A count to three digits, as `1.2M`."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


def _reference(found: Best, setting: Setting) -> str:
    """Method, target and seeds, and the rule that chose the point."""
    name = " ".join(filter(None, [found.series.label, target_text(found.point.target)]))
    base = f", dense {share_text(setting.dense.stat('accuracy'))}\u00a0%" if setting.dense else ""
    said = f"{name}, {seeds_text(found.point)}{base}."
    if len(setting.points) == 1:
        return said
    if found.margin is not None:
        points = "1 point" if found.margin == 1 else f"{found.margin:g} points"
        return f"{said} It has the fewest weights of {len(setting.points)} operating points within {points} of dense."
    return f"{said} It is the most accurate of {len(setting.points)} operating points."


def _parameters(point: Point, sources: Mapping[str, Source]) -> tuple[float, float]:
    """The remaining parameters, and those of the dense network; prunable weights if the file is gone."""
    seen = [one.seen for row in point.rows if (one := sources.get(row["checkpoint"])) is not None and one.seen]
    if seen:
        left = Stat.of(parameters_left(one) for one in seen)
        return (left.mean if left else 0.0), float(seen[0]["dense"]["parameters"])
    kept, saved = _mean(point, "weights") or 0.0, _mean(point, "compression") or 1.0
    return kept, kept * saved


def _holds_zeros(point: Point, sources: Mapping[str, Source]) -> bool:
    """Whether the files hold pruned weights as zeros, or the files are unknown."""
    seen = [one.seen for row in point.rows if (one := sources.get(row["checkpoint"])) is not None and one.seen]
    return not seen or any(parameters_left(one) < parameters_stored(one) for one in seen)


def _size(words: str, now: float, dense: float) -> Tile:
    return Tile(f"{counted(dense)} → {counted(now)}", words, f"{100 * (1 - now / dense):.1f}\u00a0% fewer")


def _flops(point: Point, dense: Point | None) -> Tile | None:
    """FLOPs as executed, and without pruned weights."""
    now, saved = _mean(point, "flops"), _mean(point, "speedup")
    before = _mean(dense, "flops")
    if now is None:
        return None
    theory = f"{times(saved)} fewer without pruned weights" if saved else ""
    shown = counted(now) if before in (None, now) else f"{counted(before or 0)} → {counted(now)}"
    return Tile(shown, "FLOPs for one image, as executed", theory)


def _time(point: Point, dense: Point | None, speeds: Speeds) -> Tile | None:
    """The measured time, and how it was measured if it is compared."""
    found = speedup(point, dense, speeds)
    if found is None:
        return None
    tile = _ratio("Time for one image", found.now, found.dense, _milliseconds, "faster", "slower")
    return tile if tile is None or not tile.source else replace(tile, source=f"{tile.source}; {found.how}")


def _ratio(
    words: str,
    now: float | None,
    dense: float | None,
    shown: Callable[[float], str],
    better: str = "smaller",
    worse: str = "larger",
    *,
    low: bool = False,
) -> Tile | None:
    """A value beside the dense network's; None if it was not measured."""
    if not now:
        return None
    if not dense:
        return Tile(shown(now), words, "")
    if abs(dense / now - 1) <= _SAME:
        return Tile(shown(now), words, "as dense")
    if low:
        return Tile(f"{shown(dense)} → {shown(now)}", words, f"{now / dense:.2f}× the dense value")
    change = f"{times(dense / now)} {better}" if dense >= now else f"{now / dense:.2f}× {worse}"
    before, after = (shown(value).rpartition(" ") for value in (dense, now))
    if before[2] == after[2]:  # the same unit
        return Tile(f"{before[0]} → {after[0]} {after[2]}", words, change)
    return Tile(f"{shown(dense)} → {shown(now)}", words, change)


def _robust(setting: Setting, point: Point) -> Tile | None:
    """Robust accuracy under the first attack on the point, at its smallest ε."""
    for measure in robust_measures(setting):
        own = point.stat(measure.value)
        if own is not None:
            base = setting.dense.stat(measure.value) if setting.dense else None
            source = f"dense {share_text(base, digits=1)}\u00a0%" if base else ""
            return Tile(f"{share_text(own, digits=1)}\u00a0%", measure.title[0].upper() + measure.title[1:], source)
    return None


def _to_dense(point: Point, dense: Point | None) -> str:
    own, base = point.stat("accuracy"), dense.stat("accuracy") if dense else None
    if own is None or base is None:
        return ""
    return f" ({100 * (own.mean - base.mean):+.1f})".replace("-", "\u2212")


def _share(stat: Stat | None) -> str:
    return "-" if stat is None else f"{100 * stat.mean:.1f}"


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"


def _kilobytes(size: float) -> str:
    return f"{size / 1e3:,.3g} KB" if size < 1e6 else f"{size / 1e6:,.3g} MB"


def _mean(point: Point | None, key: str) -> float | None:
    found = None if point is None else point.stat(key)
    return None if found is None else found.mean


def _path(point: Point) -> str:
    return str(point.rows[0]["checkpoint"])
