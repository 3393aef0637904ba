"""The headline numbers: how much can be pruned within one point of the dense accuracy."""

from collections.abc import Callable
from dataclasses import dataclass

from prunectl.reporting.curves import Point, Setting, Stat
from prunectl.reporting.formats import seeds_text, share_text, target_text

_MARGIN = 1.0
"""The accuracy that may be lost, in percentage points."""


@dataclass(frozen=True)
class Tile:
    """A number, what it counts, and the operating point that it comes from."""

    number: str
    words: str
    source: str


def headline(setting: Setting) -> list[Tile]:
    """The dense accuracy, then the largest saving of each kind within one point of it."""
    if setting.dense is None:
        return []
    dense = setting.dense.stat("accuracy")
    spent, taken = setting.dense.stat("training_flops"), setting.dense.median("latency_1_s")
    assert dense is not None
    tiles = [Tile(f"{share_text(dense)}\u00a0%", "top-1 accuracy of the dense network", _seeds(setting.dense))]
    savings: list[tuple[str, Callable[[Point], float | None]]] = [
        ("fewer weights", lambda point: _mean(point.stat("compression"))),
        ("fewer FLOPs in theory (without pruned weights)", lambda point: _mean(point.stat("speedup"))),
        ("fewer FLOPs for all training", lambda point: _times(_mean(spent), _mean(point.stat("training_flops")))),
        ("less time for one image, measured", lambda point: _times(taken, point.median("latency_1_s"))),
    ]
    return [*tiles, *(_best(setting, dense.mean, words, value) for words, value in savings)]


def _best(setting: Setting, dense: float, words: str, value: Callable[[Point], float | None]) -> Tile:
    near = []
    for series, point in setting.points:
        accuracy, saving = point.stat("accuracy"), value(point)
        if accuracy and saving and dense - accuracy.mean <= _MARGIN / 100:
            near.append((saving, f"{series.label} {target_text(point.target)}: {share_text(accuracy)}\u00a0%"))
    if all(value(point) is None for _, point in setting.points):
        return Tile("-", words, "not measured")
    best = max(near, default=None)
    if best is None or best[0] < 1.05:
        return Tile("none", words, f"no method saves any of it within {_MARGIN:g} point of dense" if near else _NOTHING)
    return Tile(f"{best[0]:.3g}×", words, best[1])


_NOTHING = f"no method is within {_MARGIN:g} point of dense"


def _mean(stat: Stat | None) -> float | None:
    return None if stat is None else stat.mean


def _times(dense: float | None, own: float | None) -> float | None:
    return dense / own if dense and own else None


def _seeds(point: Point) -> str:
    return seeds_text(len(point.rows))
