"""Two panels of curves as SVG, for light and dark pages, without a plotting library: same numbers, same bytes."""

from collections.abc import Mapping, Sequence

Points = Sequence[tuple[str, float, float]]
"""Target, accuracy and its standard deviation, in percent."""
WIDTH, HEIGHT = 720, 400
TOP, BOTTOM = 92, 340
PANELS = {"sparsity": (40, 376, "share of weights pruned (lamp)"), "flops": (424, 706, "times fewer FLOPs (taylor)")}
LINES = {"pruned": ("pruned", "1"), "repaired": ("pruned with --repair", "2")}
STYLE = """
  text { font: 14px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328; }
  .title { font-size: 16px; font-weight: 600; } .soft { fill: #59636e; }
  .grid { stroke: #d1d9e0; } .dense { stroke: #59636e; stroke-dasharray: 2 4; stroke-width: 2; }
  .line1 { stroke: #bc4c00; fill: none; stroke-width: 2.5; stroke-dasharray: 7 4; } .mark1 { fill: #bc4c00; }
  .line2 { stroke: #0969da; fill: none; stroke-width: 2.5; } .mark2 { fill: #0969da; }
  .spread1 { stroke: #bc4c00; } .spread2 { stroke: #0969da; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; } .soft { fill: #9198a1; } .grid { stroke: #3d444d; } .dense { stroke: #9198a1; }
    .line1, .spread1 { stroke: #f0883e; } .mark1 { fill: #f0883e; }
    .line2, .spread2 { stroke: #58a6ff; } .mark2 { fill: #58a6ff; }
  }
"""


def picture(title: str, dense: float, panels: Mapping[str, Mapping[str, Points]]) -> str:
    """Each panel holds a curve for each key of `LINES`, over targets at equal distances; `dense` is a dotted line."""
    body = [f'<text class="title" x="8" y="22">{title}</text>', *_legend()]
    for axis, curves in panels.items():
        body += _panel(axis, dense, curves)
    shape = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {shape} role="img"><title>{title}</title><style>{STYLE}</style>'
    return "\n".join([head, *body, "</svg>"]) + "\n"


def _height(accuracy: float) -> float:
    return round(BOTTOM - (BOTTOM - TOP) * accuracy / 100, 1)


def _legend() -> list[str]:
    found, x = [], 8
    for name, number in LINES.values():
        found += [f'<path class="line{number}" d="M{x} 50H{x + 30}"/>', _mark(number, x + 15, 50)]
        found.append(f'<text x="{x + 38}" y="55">{name}</text>')
        x += 62 + 8 * len(name)
    return [
        *found,
        f'<path class="dense" d="M{x} 50H{x + 30}"/>',
        f'<text x="{x + 38}" y="55">dense, not pruned</text>',
    ]


def _mark(number: str, x: float, y: float) -> str:
    if number == "1":
        return f'<rect class="mark1" x="{x - 4}" y="{y - 4}" width="8" height="8"/>'
    return f'<circle class="mark2" cx="{x}" cy="{y}" r="4.5"/>'


def _panel(axis: str, dense: float, curves: Mapping[str, Points]) -> list[str]:
    left, right, label = PANELS[axis]
    targets = [target for target, _, _ in next(iter(curves.values()))]
    step = (right - left) / len(targets)
    places = {target: round(left + step * (i + 0.5), 1) for i, target in enumerate(targets)}
    found = []
    for level in (0, 25, 50, 75, 100):
        found.append(f'<path class="grid" d="M{left} {_height(level)}H{right}"/>')
        found.append(f'<text class="soft" x="{left - 6}" y="{_height(level) + 4}" text-anchor="end">{level}</text>')
    found.append(f'<path class="dense" d="M{left} {_height(dense)}H{right}"/>')
    for target, x in places.items():
        shown = target if target.endswith("x") else f"{float(target):.0%}"
        found.append(f'<text x="{x}" y="{BOTTOM + 18}" text-anchor="middle">{shown}</text>')
    found.append(f'<text class="soft" x="{(left + right) / 2}" y="{BOTTOM + 44}" text-anchor="middle">{label}</text>')
    found.append(f'<text class="soft" x="{left - 34}" y="{TOP - 14}">test accuracy, %</text>')
    for name, points in curves.items():
        found += _curve(LINES[name][1], places, points)
    return found


def _curve(number: str, places: Mapping[str, float], points: Points) -> list[str]:
    line = " ".join(f"{places[target]},{_height(mean)}" for target, mean, _ in points)
    found = [f'<polyline class="line{number}" points="{line}"/>']
    for target, mean, deviation in points:
        x, y = places[target], _height(mean)
        found.append(f'<path class="spread{number}" d="M{x} {_height(mean - deviation)}V{_height(mean + deviation)}"/>')
        found.append(_mark(number, x, y))
        across, up, anchor = (7, -3, "start") if number == "1" else (-3, 17, "end")
        found.append(f'<text x="{x + across}" y="{y + up}" text-anchor="{anchor}">{mean:.0f}</text>')
    return found
