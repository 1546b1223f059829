"""How figures are drawn: colors, lines, axes, and SVG text whose bytes depend on what is drawn alone.

Nothing of matplotlib's global state is left changed, and pyplot is not used.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from robustiqa.core.errors import InputError
from robustiqa.evaluation.views import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, FAINT = "#1b1f24", "#d5d9de"
# What a model is drawn in: dark blue and gray for the pair, then hues of Okabe and Ito's color-blind safe set that
# differ in lightness.
COLORS = ("#858d96", "#0b5cad", "#d55e00", "#009e73", "#cc79a7", "#56b4e9")
LINES = ("--", "-", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
MARKERS = ("o", "^", "s", "D", "v", "P")
SIZE = (5.0, 3.4)  # inches: as wide as a telephone's screen at the size of its text
LEGEND_WIDTH, BESIDE_NAME, ROW_HEIGHT = 312, 36, 0.2  # points, points of line and gaps, inches
SETTINGS: Mapping[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "robustiqa",
    "font.family": ["DejaVu Sans"],  # ships with matplotlib
    "font.size": 9.5,
    "text.color": INK,
    "text.parse_math": False,  # a model's name may hold a dollar sign
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "path.simplify": False,
}


def color_of(place: int) -> str:
    """The color of the model at a place; the first two are the pair that pages color for themselves."""
    return COLORS[place % len(COLORS)]


def line_of(place: int) -> Any:
    """Its line."""
    return LINES[place % len(LINES)]


def marker_of(place: int) -> str:
    """Its marker."""
    return MARKERS[place % len(MARKERS)]


def label_of(name: str) -> str:
    """A model's name as legends show it: its middle cut out where it is too long for a line of its own.

    They would leave out one that begins with an underscore.
    """
    shown, kept = name, min(len(name), 100)
    while _width(shown) > LEGEND_WIDTH - BESIDE_NAME:
        kept -= 1
        shown = f"{name[: kept - kept // 2]}…{name[-(kept // 2) :]}"
    return f"\u200b{shown}" if shown.startswith("_") else shown


def draw_steps(axes: Axes, values: Array, edges: Array, place: int, label: str) -> None:
    """A histogram's outline in percent of all values, inside the edges or not; the first two are filled as well."""
    share = 100 * np.histogram(values, edges)[0] / len(values)
    filled = place < 2
    if filled:
        axes.stairs(share, edges, fill=True, color=color_of(place), alpha=0.18, linewidth=0)
    line = "-" if filled else line_of(place)
    axes.stairs(share, edges, color=color_of(place), linestyle=line, linewidth=1.6, label=label)


def draw_legend(axes: Axes) -> None:
    """Above the plot, where it hides nothing; in as many columns as fit, the picture taller for many rows."""
    widths = [_width(name) + BESIDE_NAME for name in axes.get_legend_handles_labels()[1]]
    columns = max(
        count
        for count in range(1, min(4, len(widths)) + 1)
        if count == 1 or sum(max(part) for part in np.array_split(widths, count)) <= LEGEND_WIDTH
    )
    more_rows = max(0, math.ceil(len(widths) / columns) - 2)
    axes.figure.set_size_inches(SIZE[0], SIZE[1] + more_rows * ROW_HEIGHT)  # type: ignore[union-attr]
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1.01), ncols=columns, borderaxespad=0, handlelength=1.6, columnspacing=1.4
    )


def _width(text: str) -> float:
    """Of a text in a legend, in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=SETTINGS["font.family"], size=SETTINGS["font.size"])
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0])


def make_logarithmic(axes: Axes, which: Literal["x", "y"], ends: tuple[float, float]) -> None:
    """A logarithmic axis from end to end with plain numbers at its ticks, closer together on a short axis."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set(**{f"{which}scale": "log", f"{which}lim": ends})
    decades = float(np.log10(ends[1] / ends[0]))
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 1.5 else (1.0, 3.0) if decades < 3 else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.12g}"))
    axis.set_minor_formatter(NullFormatter())


def to_svg(name: str, draw: Callable[[Axes], None]) -> str:
    """An SVG document whose bytes depend on what is drawn alone, its element names made unique by the figure's."""
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    if not re.fullmatch(r"[a-z0-9-]+", name):
        raise InputError(f"a figure's name must be of lowercase letters, digits and hyphens, got {name!r}.")
    text = io.StringIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the reader's fonts draw the text
        matplotlib.rcdefaults()  # not what a reader's own settings say
        matplotlib.rcParams.update(SETTINGS)
        canvas = Canvas(figsize=SIZE, layout="constrained", facecolor="none")
        draw(canvas.add_subplot())
        canvas.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    found = re.sub(r"<metadata>.*?</metadata>\s*", "", text.getvalue(), flags=re.DOTALL)
    found = re.sub(r"<!--.*?-->\s*", "", found, flags=re.DOTALL)
    return re.sub(r"<[^>]*>", lambda tag: _tidy(tag[0], name), found)


def _tidy(tag: str, name: str) -> str:
    """A tag with coordinates to a hundredth of a point, and the figure's name before element names."""
    tag = re.sub(r"(\.\d\d)\d+", r"\1", tag)
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", tag)
