"""The errors of a network's layers before and after a repair."""

from collections.abc import Mapping, Sequence
from typing import Any

from prunectl.reporting.page.figures.figure import GRID, INK, SERIES, WIDTH, Figure, drawing, power_of_ten, to_svg
from prunectl.reporting.page.figures.inside import LINE, short

_LEAST = 1e-6
"""Smaller errors are drawn at this value, because the axis is logarithmic."""


def repair_bars(layers: Sequence[Mapping[str, Any]], *, prefix: str) -> Figure:
    """The error of each layer's outputs before and after a repair, on a logarithmic axis."""
    alt = "Error of each layer's outputs before and after the repair. " + "; ".join(
        f"{layer['layer']} {layer['before']:.3g} to {layer['after']:.3g}" for layer in layers
    )
    name, places = f"{prefix}-repair", range(len(layers))
    with drawing(WIDTH, max(1.5, 0.95 + LINE * len(layers))) as (figure, axes):
        before, after = ([max(layer[key], _LEAST) for layer in layers] for key in ("before", "after"))
        axes.hlines(places, after, before, color=GRID, linewidth=2)
        axes.plot(before, places, linestyle="none", marker="o", color=INK, alpha=0.55, label="before")
        axes.plot(after, places, linestyle="none", marker="D", color=SERIES[2], label="after")
        axes.set_yticks(places, [short(layer["layer"]) for layer in layers])
        axes.set_ylim(len(layers) - 0.4, -0.6)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(power_of_ten)
        axes.xaxis.set_minor_formatter("")
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("relative error of the outputs")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0)
        svg = to_svg(figure, name, alt)
    same = sum(layer["before"] == layer["after"] for layer in layers)
    kept = f" The repair did not change {same} of {len(layers)} layers." if same else ""
    caption = f"Squared difference to the dense network's outputs, divided by their variance.{kept}"
    rows = tuple((layer["layer"], layer["before"], layer["after"]) for layer in layers)
    return Figure(name, "Repair: error of each layer", caption, alt, svg, ("layer", "before", "after"), rows)
