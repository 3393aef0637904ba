"""One figure of the page: an SVG with its texts and its numbers.

matplotlib draws SVG, instead of a script in the browser such as plotly (4.8 MB in every page) or vega (0.8 MB): the
page opens at once, prints sharply, and its figures need no script; a screen reader reads their alternative texts.
The colours are those of Okabe and Ito (2008), which colour-blind people can distinguish. Every series also has its own
marker and dash. In the SVG, colours are variables of the page's style sheet, so that figures follow light and dark.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from io import StringIO
from math import log10
from typing import TYPE_CHECKING, Any

from prunectl.errors import OptionError
from prunectl.reporting.page.figures.hits import Hit, markup

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

INK, GRID, SOFT = "#010101", "#020202", "#030303"
"""Placeholders for colours of the page: text, grid lines, and background areas."""
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d1f")
"""Colours of Okabe and Ito without black, which is for the dense network, and with a darker yellow for white pages."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
WIDTH, HEIGHT = 4.3, 3.0
"""The size of one figure in inches."""

_VARIABLES = {INK: "currentColor", GRID: "var(--grid)", SOFT: "var(--soft)"} | {
    colour: f"var(--s{i})" for i, colour in enumerate(SERIES)
}
_RC: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "prunectl",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.bottom": False,
    "ytick.left": False,
    "xtick.minor.visible": False,
    "legend.frameon": False,
    "lines.linewidth": 1.7,
    "lines.markersize": 5,
}


@dataclass(frozen=True)
class Style:
    """The style of a series in all figures."""

    number: int

    @property
    def colour(self) -> str:
        """One of the colours of Okabe and Ito."""
        return SERIES[self.number % len(SERIES)]

    @property
    def marker(self) -> str:
        """The marker of a point."""
        return MARKERS[self.number % len(MARKERS)]

    @property
    def dash(self) -> Any:
        """The line between points."""
        return DASHES[self.number % len(DASHES)]

    @property
    def line(self) -> dict[str, Any]:
        """The arguments for `Axes.plot`."""
        return {"color": self.colour, "marker": self.marker, "linestyle": self.dash}


Styles = Mapping[str, Style]
"""Styles by the label of a method."""


@dataclass(frozen=True)
class Figure:
    """A figure of the page: `svg` is markup, `alt` describes it in words, `rows` are its numbers."""

    name: str
    title: str
    caption: str
    alt: str
    svg: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


def escape_math(text: str) -> str:
    """The text, escaped so that matplotlib does not read it as a formula."""
    return text.replace("$", r"\$")


def power_of_ten(value: float, _: int = 0) -> str:
    """The label of a tick on a logarithmic axis, in plain text, which is drawn much faster than a formula."""
    exponent = round(log10(value)) if value > 0 else 0
    return f"10{str(exponent).translate(_SUPERSCRIPTS)}" if value > 0 and value != 1 else f"{value:g}"


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def require() -> None:
    """Refuse to draw without matplotlib.

    Raises:
        OptionError: names the command that installs it.
    """
    try:
        import matplotlib  # noqa: F401, PLC0415
    except ImportError as error:
        raise OptionError("a page needs matplotlib; install it: pip install 'prunectl[report]'") from error


@contextmanager
def drawing(width: float = WIDTH, height: float = HEIGHT, **grid: Any) -> Iterator[tuple["Drawing", Any]]:
    """A matplotlib figure and its axes in the style of the page, without a window or global state."""
    import matplotlib  # noqa: PLC0415
    from matplotlib.figure import Figure as Drawing  # noqa: PLC0415

    with matplotlib.rc_context(_RC):
        figure = Drawing(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots(**grid)


def to_svg(figure: "Drawing", name: str, alt: str, hits: Sequence[Hit] = (), front: Sequence[Hit] = ()) -> str:
    """The markup of a drawing, without a size, with ids that begin with the figure's name.

    A group whose id begins with `series-3` gets the classes `series s3`, with which the page's legend hides it. `front`
    are the `hits` on the Pareto front.
    """
    text = StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "inherit", svg)
    svg = re.sub(r'id="series-(\d+)[^"]*"', r'class="series s\1"', svg)
    svg = re.sub(r'id="(dense)[^"]*"', r'class="\1"', svg)
    svg = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"<[^>]+>", lambda tag: re.sub(r"(\d\.\d\d)\d+", r"\1", tag[0]), svg)  # hundredths of a point
    svg = re.sub(r">\s+<", "><", svg)
    used = set(re.findall(r"(?:url\(|href=\")#([^\")]+)", svg))
    svg = re.sub(r' id="([^"]+)"', lambda one: one[0] if one[1] in used else "", svg)
    role = "group" if hits else "img"  # the keyboard cannot reach elements inside an image
    svg = re.sub(
        r'^<svg[^>]*?viewBox="([^"]*)"[^>]*>',
        rf'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="\1" '
        rf'role="{role}" aria-label="{escape(alt)}">',
        svg,
        count=1,
    )
    return svg.rstrip().removesuffix("</svg>") + markup(figure, hits, front) + "</svg>"
