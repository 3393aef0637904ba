"""Accuracy under the recorded attacks of one network, over ε."""

from collections.abc import Mapping, Sequence
from typing import Any

from prunectl.reporting.page.figures.figure import INK, Figure, Style, drawing, escape_math, to_svg
from prunectl.reporting.page.figures.hits import Hit


def robust_curves(name: str, clean: float | None, attacks: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure | None:
    """A line for each attack, from the accuracy without one at ε = 0; None without any result."""
    attacks = {attack: results for attack, results in attacks.items() if results}
    if not attacks:
        return None
    start = [] if clean is None else [(0.0, clean)]
    lines = {
        attack: [*start, *((float(r["eps"]), float(r["robust_accuracy"])) for r in results)]
        for attack, results in attacks.items()
    }
    alt = "Line chart: accuracy over ε. " + " ".join(
        f"{attack}: from {100 * line[0][1]:.3g} to {100 * line[-1][1]:.3g} percent." for attack, line in lines.items()
    )
    with drawing() as (figure, axes):
        hits = []
        for number, (attack, line) in enumerate(lines.items()):
            style = Style(number)
            axes.plot([eps for eps, _ in line], [100 * y for _, y in line], **style.line, label=escape_math(attack))
            hits += [Hit(axes, eps, 100 * y, f"{attack} at ε = {eps:.4g}: {100 * y:.2f} %") for eps, y in line]
        if clean is not None:
            axes.axhline(100 * clean, color=INK, linewidth=0.8, linestyle=(0, (6, 3)))
        axes.set_ylim(0, 101)
        axes.set_xlabel("ε, the largest change of an image in the attack's norm")
        axes.set_ylabel("accuracy (%)")
        axes.legend(fontsize=8)
        svg = to_svg(figure, name, alt, hits)
    rows = tuple((attack, eps, y) for attack, line in lines.items() for eps, y in line)
    return Figure(name, "Accuracy under attack", "", alt, svg, ("attack", "eps", "accuracy"), rows)
