"""The inside of one network: layers, shapes, weights, scores, confusion matrix."""

from collections.abc import Sequence
from typing import Any

from prunectl.reporting.findings import Distribution, Layer
from prunectl.reporting.page.figures.figure import (
    GRID,
    INK,
    SERIES,
    SOFT,
    WIDTH,
    Figure,
    drawing,
    escape_math,
    power_of_ten,
    to_svg,
)

LINE = 0.23
"""Inches per layer."""
_CLASSES = 40
"""Most classes of a drawn confusion matrix; with up to half as many, it also has counts."""


def layer_bars(layers: Sequence[Layer], *, prefix: str) -> Figure:
    """The weights left in each layer."""
    shares = [100 * layer.kept / layer.weights for layer in layers]
    alt = "Bar chart: weights left in each layer. " + "; ".join(
        f"{layer.name} {share:.3g} percent" for layer, share in zip(layers, shares, strict=True)
    )
    name, places = f"{prefix}-weights", range(len(layers))
    with drawing(WIDTH, max(1.3, 0.75 + LINE * len(layers))) as (figure, axes):
        axes.barh(places, [100] * len(layers), color=SOFT, height=0.72)
        axes.barh(places, shares, color=SERIES[0], height=0.72)
        for place, layer in enumerate(layers):
            axes.text(102, place, f"{layer.kept:,} of {layer.weights:,}", ha="left", va="center", fontsize=8)
        axes.set_yticks(places, [short(layer.name) for layer in layers])
        axes.set_ylim(len(layers) - 0.4, -0.6)
        axes.set_xlim(0, 100)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("weights left (%)")
        svg = to_svg(figure, name, alt)
    caption = "Weights kept, of those in the dense layer."
    rows = tuple((layer.name, layer.weights, layer.kept) for layer in layers)
    return Figure(name, "Weights left in each layer", caption, alt, svg, ("layer", "dense", "left"), rows)


def outline(layers: Sequence[Layer], image: tuple[int, int, int], *, prefix: str) -> Figure:
    """The network from the image downwards, with bars for the outputs of each layer, before and after."""
    alt = "Drawing of the network, widths before and after. " + "; ".join(
        f"{layer.name}: {layer.outputs} to {layer.left}" for layer in layers
    )
    rows = [("image", image[0], image[0]), *((layer.name, layer.outputs, layer.left) for layer in layers)]
    most = max(width for _, width, _ in rows)
    name = f"{prefix}-outline"
    with drawing(WIDTH, max(1.6, 0.5 + LINE * len(rows))) as (figure, axes):
        for place, (label, width, left) in enumerate(rows):
            for size, colour, edge in ((width, SOFT, GRID), (left, SERIES[2], "none")):
                shown = max((size / most) ** 0.5, 0.01) if size else 0
                axes.barh(place, shown, left=-shown / 2, height=0.62, color=colour, edgecolor=edge, linewidth=0.8)
            count = f"{width:,}" if left == width else f"{width:,} → {left:,}"
            axes.text(0.53, place, count, va="center", ha="left", fontsize=8)
            axes.text(-0.53, place, short(label), va="center", ha="right", fontsize=8)
        axes.set_xlim(-0.95, 0.85)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_axis_off()
        svg = to_svg(figure, name, alt)
    caption = (
        "Channels and neurons of each layer, dense (grey) and with any weight left (green). "
        "Widths are proportional to the square root of the count."
    )
    return Figure(name, "The network before and after", caption, alt, svg, ("layer", "dense", "left"), tuple(rows))


def histogram(after: Distribution | None, before: Distribution | None, *, what: str, prefix: str) -> Figure | None:
    """The histogram of values before and after pruning, with counts on a logarithmic axis."""
    shown = [(label, v) for label, v in (("dense network", before), (what, after)) if v is not None]
    if not shown:
        return None
    alt = f"Histogram of {what}. " + " ".join(f"{label}: {v.count:,} values." for label, v in shown)
    name = f"{prefix}-histogram"
    with drawing() as (figure, axes):
        for label, found in shown:
            solid = found is after
            axes.stairs(
                found.counts,
                found.edges,
                fill=solid,
                color=SERIES[0] if solid else INK,
                alpha=0.75 if solid else 1,
                linewidth=1.1,
                label=label,
            )
        axes.set_yscale("symlog", linthresh=1)
        axes.yaxis.set_major_formatter(power_of_ten)
        axes.set_xlabel("value")
        axes.set_ylabel("count")
        if len(shown) > 1:
            axes.legend(fontsize=8)
        svg = to_svg(figure, name, alt)
    rows = tuple(
        (label, low, high, count)
        for label, v in shown
        for low, high, count in zip(v.edges, v.edges[1:], v.counts, strict=False)
    )
    title = f"Histogram: {what}"
    return Figure(name, title, "Counts on a logarithmic axis.", alt, svg, ("of", "from", "to", "count"), rows)


def by_rank(found: Distribution, *, what: str, prefix: str) -> Figure | None:
    """The absolute values by rank, and how many are kept; None if all are 0."""
    positive = [(rank, value) for rank, value in found.ranked if value > 0]
    if not positive:
        return None
    alt = f"Curve: {what} sorted from {found.ranked[0][1]:.3g} down to {found.ranked[-1][1]:.3g}; {found.kept:,} kept."
    name = f"{prefix}-ranked"
    with drawing() as (figure, axes):
        axes.plot(*zip(*positive, strict=True), color=SERIES[0])
        axes.axvline(found.kept, color=INK, linewidth=0.9, linestyle=(0, (2, 2)))
        axes.annotate(
            f"{found.kept:,} kept ",
            (found.kept, 1),
            xycoords=("data", "axes fraction"),
            va="bottom",
            ha="right",
            fontsize=8,
        )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.xaxis.set_major_formatter(power_of_ten)
        axes.yaxis.set_major_formatter(power_of_ten)
        axes.set_xlabel("rank")
        axes.set_ylabel(what)
        svg = to_svg(figure, name, alt)
    caption = "If the curve is flat at the cut, pruned and kept values hardly differ."
    return Figure(name, f"Sorted: {what}", caption, alt, svg, ("rank", "value"), found.ranked)


def confusion(table: Sequence[Sequence[int]], classes: Sequence[str], *, prefix: str) -> Figure | None:
    """Predictions for the images of each class, as shares of the class; None with too many classes."""
    count = len(table)
    if not 1 < count <= _CLASSES:
        return None
    right = sum(table[i][i] for i in range(count))
    every = sum(map(sum, table))
    alt = f"Confusion matrix of {count} classes: {right:,} of {every:,} images on the diagonal."
    name = f"{prefix}-confusion"
    size = WIDTH if count <= _CLASSES / 2 else 1.4 * WIDTH
    with drawing(size, 0.92 * size) as (figure, axes):
        _cells(axes, table)
        axes.set_xlim(-0.5, count - 0.5)
        axes.set_ylim(count - 0.5, -0.5)
        axes.set_aspect("equal")
        axes.grid(visible=False)
        words = [escape_math(name) for name in classes]
        axes.set_xticks(range(count), words, rotation=90 if max(map(len, classes)) > 2 else 0)
        axes.set_yticks(range(count), words)
        axes.tick_params(length=0)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("class")
        svg = to_svg(figure, name, alt)
    rows = tuple((classes[i], classes[j], n) for i, row in enumerate(table) for j, n in enumerate(row) if n)
    caption = "Shaded by the share of the class (blue: correct, orange: wrong). Numbers count images."
    return Figure(name, "Confusion matrix", caption, alt, svg, ("class", "predicted class", "images"), rows)


def _cells(axes: Any, table: Sequence[Sequence[int]]) -> None:
    from matplotlib.patches import Rectangle  # noqa: PLC0415

    for i, row in enumerate(table):
        whole = sum(row) or 1
        for j, images in enumerate(row):
            colour, strength = (SERIES[0], 0.6) if i == j else (SERIES[1], 0.9)
            if images:
                shade = strength * max(images / whole, 0.08)
                axes.add_patch(Rectangle((j - 0.48, i - 0.48), 0.96, 0.96, color=colour, alpha=shade, linewidth=0))
            if images and len(table) <= _CLASSES / 2:
                axes.text(j, i, str(images), ha="center", va="center", fontsize=7.5)


def short(name: str) -> str:
    """The end of a long name."""
    return escape_math(name if len(name) <= 22 else "…" + name[-21:])
