"""Accuracy over FLOPs as SVG, for light and dark pages, without a plotting library: same numbers, same bytes."""

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from tests.benchmarks.curve_picture import STYLE
from tests.benchmarks.headline_render import percent

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 380, 52, 700, 84, 316
LINES = {"snapit": ("SNAP-it", 2), "structured-random": ("random nodes", 1), "width": ("narrow dense", 3)}
MORE = """  .line3 { stroke: #59636e; fill: none; stroke-width: 2; stroke-dasharray: 2 4; }
  .mark3, .spread3 { fill: #59636e; stroke: #59636e; }
  @media (prefers-color-scheme: dark) {
    .line3, .mark3, .spread3 { stroke: #9198a1; } .mark3 { fill: #9198a1; }
  }
"""


def picture(title: str, records: Sequence[dict[str, Any]]) -> str:
    """A curve for each first word of the rows' names that is in `LINES`; each ends in the dense network."""
    scale = Scale(records)
    body = [f'<text class="title" x="8" y="22">{title}</text>', *_legend(), *scale.grid()]
    for word, (_, number) in reversed(LINES.items()):  # the first one on top
        body += _curve(scale, number, [r for r in records if r["row"].split()[0] in (word, "dense")])
    shape = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {shape} role="img"><title>{title}</title><style>{STYLE}{MORE}</style>'
    )
    return "\n".join([head, *body, "</svg>"]) + "\n"


class Scale:
    """Where FLOPs (by their logarithm) and accuracies are."""

    def __init__(self, records: Sequence[dict[str, Any]]) -> None:
        flops, found = [r["flops"] for r in records], percent(records)
        self.flops = (math.log2(min(flops)) - 0.2, math.log2(max(flops)) + 0.2)
        self.accuracy = (5 * math.floor(min(found) / 5), 5 * math.ceil(max(found) / 5))

    def x(self, flops: float) -> float:
        low, high = self.flops
        return round(LEFT + (RIGHT - LEFT) * (math.log2(flops) - low) / (high - low), 1)

    def y(self, accuracy: float) -> float:
        low, high = self.accuracy
        return round(BOTTOM - (BOTTOM - TOP) * (accuracy - low) / (high - low), 1)

    def grid(self) -> Iterator[str]:
        """Lines every five points, and the powers of two of a million FLOPs."""
        for level in range(self.accuracy[0], self.accuracy[1] + 1, 5):
            yield f'<path class="grid" d="M{LEFT} {self.y(level)}H{RIGHT}"/>'
            yield f'<text class="soft" x="{LEFT - 6}" y="{self.y(level) + 4}" text-anchor="end">{level}</text>'
        for power in range(-10, 16):
            if self.flops[0] <= math.log2(2.0**power * 1e6) <= self.flops[1]:
                x = self.x(2.0**power * 1e6)
                yield f'<path class="grid" d="M{x} {TOP}V{BOTTOM}"/>'
                yield f'<text x="{x}" y="{BOTTOM + 18}" text-anchor="middle">{2.0**power:g}M</text>'
        middle = (LEFT + RIGHT) / 2
        yield f'<text class="soft" x="{middle}" y="{BOTTOM + 44}" text-anchor="middle">FLOPs for an image</text>'
        yield f'<text class="soft" x="8" y="{TOP - 12}">test accuracy, %</text>'


def _legend() -> Iterator[str]:
    x = 8
    for name, number in LINES.values():
        yield f'<path class="line{number}" d="M{x} 46H{x + 30}"/>'
        yield _mark(number, x + 15, 46)
        yield f'<text x="{x + 38}" y="51">{name}</text>'
        x += 62 + 8 * len(name)


def _mark(number: int, x: float, y: float) -> str:
    if number == 1:
        return f'<rect class="mark1" x="{x - 4}" y="{y - 4}" width="8" height="8"/>'
    return f'<circle class="mark{number}" cx="{x}" cy="{y}" r="{4.5 if number == 2 else 3}"/>'


def _curve(scale: Scale, number: int, records: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The means of the rows, by FLOPs, with their standard deviations."""
    rows = {name: [r for r in records if r["row"] == name] for name in dict.fromkeys(r["row"] for r in records)}
    points = sorted((statistics.mean(r["flops"] for r in each), percent(each)) for each in rows.values())
    places = [(scale.x(flops), scale.y(statistics.mean(found))) for flops, found in points]
    yield f'<polyline class="line{number}" points="{" ".join(f"{x},{y}" for x, y in places)}"/>'
    for (x, y), (_, found) in zip(places, points, strict=True):
        if len(found) > 1:
            mean, deviation = statistics.mean(found), statistics.stdev(found)
            yield f'<path class="spread{number}" d="M{x} {scale.y(mean - deviation)}V{scale.y(mean + deviation)}"/>'
        yield _mark(number, x, y)
