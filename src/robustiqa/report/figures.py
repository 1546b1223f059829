"""Figures as SVG text: the same numbers give the same bytes, and nothing of matplotlib's global state is left changed.

They are drawn in the few colors named here, so that a page may swap them for its own (`robustiqa.report.html` does,
for dark screens). Models differ in lightness, line and marker besides, and stay apart in gray print.

Source: Liu et al. 2024, Figures 1 (change of scores) and 4 (gradient norms).
Deviations: steps instead of fitted densities; the axis of the norms is logarithmic.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from robustiqa.core.errors import InputError
from robustiqa.evaluation.measures import Condition, Group
from robustiqa.evaluation.study import Study
from robustiqa.evaluation.views import Array
from robustiqa.report.captions import budget, objective_name, photographs
from robustiqa.report.tables import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, FAINT = "#1b1f24", "#d5d9de"
# What a model is drawn in: dark blue and gray for the pair, then hues of Okabe and Ito's color-blind safe set that
# differ in lightness.
COLORS = ("#858d96", "#0b5cad", "#d55e00", "#009e73", "#cc79a7", "#56b4e9")
LINES = ("--", "-", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
MARKERS = ("o", "^", "s", "D", "v", "P")
BINS = 30
SIZE = (5.0, 3.4)  # inches: as wide as a telephone's screen at the size of its text
FLOOR = 1e-3  # of the scale: where smaller changes are drawn on a logarithmic axis
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


@dataclass(frozen=True)
class Figure:
    """A picture of numbers, and what it shows in words.

    Attributes:
        name: Short, for file names and anchors.
        title: What it shows.
        svg: The picture, a complete SVG document.
        alt: Its content for those who can't see it, in a sentence or two.
        caption: What the reader must know.
    """

    name: str
    title: str
    svg: str
    alt: str
    caption: str


def all_figures(study: Study) -> tuple[Figure, ...]:
    """Every figure that the records can fill."""
    made = [gradient_norms(study)]
    if study.headline is not None:
        condition = study.headline
        made = [
            score_changes(study, condition),
            sorted_changes(study, condition),
            first_order(study, condition),
            *made,
        ]
    return tuple(figure for figure in made if figure is not None)


def score_changes(study: Study, condition: Condition) -> Figure:
    """How far the photographs' scores moved: the paper's Figure 1."""
    changes = {group: np.abs(study.summary.changes(group, condition)) for group in study.columns}
    highest = max(float(values.max()) for values in changes.values())
    edges = np.linspace(0, highest or 1.0, BINS + 1)

    def draw(axes: Axes) -> None:
        for place, (group, values) in enumerate(changes.items()):
            _steps(axes, values, edges, place, group.name)
        axes.set_xlim(left=0)
        axes.set_xlabel("|score change|, points")
        axes.set_ylabel("share of photographs, %")
        _legend(axes)

    return Figure(
        "score-changes",
        "How far the scores moved",
        _svg("score-changes", draw),
        f"Histogram of absolute score changes. {_medians(changes, 'points')}",
        f"{_what(study, condition)} {_medians(changes, 'points')} n = {photographs(study)}.{_pooled(study.columns)}",
    )


def sorted_changes(study: Study, condition: Condition) -> Figure:
    """Every photograph's change, from the most lowered to the most raised."""
    changes = {group: np.sort(study.summary.changes(group, condition)) for group in study.columns}

    def draw(axes: Axes) -> None:
        axes.axhline(0, color=INK, linewidth=0.8)
        for place, (group, values) in enumerate(changes.items()):
            share = 100 * (np.arange(len(values)) + 0.5) / len(values)
            axes.plot(share, values, color=_color(place), linestyle=_line(place), linewidth=2, label=group.name)
        axes.set_xlim(0, 100)
        axes.set_xlabel("photographs, sorted by change, %")
        axes.set_ylabel("score change, points")
        _legend(axes)

    ends = "; ".join(
        f"{group.name} from {number(float(values[0]), 1, signed=True)} to {number(float(values[-1]), 1, signed=True)}"
        for group, values in changes.items()
    )
    return Figure(
        "sorted-changes",
        "Every photograph's change",
        _svg("sorted-changes", draw),
        f"Curves of score changes sorted from most lowered to most raised. In points: {ends}.",
        f"{_what(study, condition)} Changes reach, in points: {ends}.{_pooled(study.columns)}",
    )


def gradient_norms(study: Study) -> Figure | None:
    """L1 norms of the clean photographs' gradients, on a logarithmic axis: the paper's Figure 4."""
    groups = [*study.columns, *(study.comparison.trained if study.comparison else ())]
    norms = {group: found for group in groups if (found := study.summary.gradient_norms(group)) is not None}
    positive = {group: values[values > 0] for group, values in norms.items() if (values > 0).any()}
    if not positive:
        return None
    low, high = (pick(float(pick(values)) for values in positive.values()) for pick in (min, max))
    edges = np.geomspace(low, max(high, 1.01 * low), BINS + 1)

    def draw(axes: Axes) -> None:
        for place, (group, values) in enumerate(positive.items()):
            _steps(axes, values, edges, place, group.name)
        _logarithmic(axes, "x", (float(edges[0]), float(edges[-1])))
        axes.set_xlabel("gradient L1 norm, points per unit of pixel value in [0, 1]")
        axes.set_ylabel("share of photographs, %")
        _legend(axes)

    return Figure(
        "gradient-norms",
        "Gradient norms",
        _svg("gradient-norms", draw),
        f"Histogram of gradient L1 norms on a logarithmic axis. {_medians(positive, 'points per unit', 0)}",
        "L1 norm of the score's gradient in the clean photograph's pixels, end to end: the number that eps multiplies "
        f"in the first-order estimate. {_medians(positive, 'points per unit', 0)}{_pooled(groups)}",
    )


def first_order(study: Study, condition: Condition) -> Figure | None:
    """The first-order estimate against the achieved change, photograph by photograph, both axes logarithmic."""
    eps, levels = study.budgets[condition.attack]
    floor = FLOOR * study.evaluation.scale(study.columns[0].labels[0]).span
    points: dict[str, tuple[Array, Array]] = {}
    for group in study.columns:
        first = Group(group.name, group.labels[:1])
        norms = study.summary.gradient_norms(first)
        if norms is None:
            return None
        achieved = np.abs(study.summary.changes(first, condition))
        points[group.name] = (np.maximum(eps * norms, floor), np.maximum(achieved, floor))
    floored = sum(int((pair <= floor).any(axis=0).sum()) for pair in map(np.array, points.values()))
    values = np.concatenate([np.concatenate(pair) for pair in points.values()])
    ends = (0.8 * float(values.min()), 1.25 * float(values.max()))

    def draw(axes: Axes) -> None:
        axes.plot(ends, ends, color=INK, linewidth=0.8, label="achieved = estimate")
        for place, (name, (estimate, achieved)) in enumerate(points.items()):
            axes.scatter(
                estimate,
                achieved,
                s=14,
                marker=MARKERS[place % len(MARKERS)],
                facecolors=_color(place) if place % 2 else "none",
                edgecolors=_color(place),
                linewidths=0.8,
                alpha=0.75,
                label=name,
            )
        _logarithmic(axes, "x", ends)
        _logarithmic(axes, "y", ends)
        axes.set_xlabel("first-order estimate, eps × gradient L1 norm, points")
        axes.set_ylabel("achieved |score change|, points")
        _legend(axes)

    ratios = {Group(name, ()): achieved / estimate for name, (estimate, achieved) in points.items()}
    said = _medians(ratios, "times the estimate", 2)
    first_seed = " The first seed of each." if any(len(group.labels) > 1 for group in study.columns) else ""
    small = f" {floored} points below {number(floor, 2)} are drawn there." if floored else ""
    return Figure(
        "first-order",
        "First-order estimate against achieved change",
        _svg("first-order", draw),
        f"Scatter plot on logarithmic axes with the line of equality. Achieved change: {said[0].lower()}{said[1:]}",
        f"{_what(study, condition)} Below the line an attack reached less than a straight line drawn on from the clean "
        f"photograph predicts; the estimate is no bound. It takes all of eps, of which the 8-bit image holds {levels} "
        f"whole levels.{small}{first_seed}",
    )


def _what(study: Study, condition: Condition) -> str:
    patchwise = ", patchwise" if condition.variant == "patchwise" else ", end to end"
    return (
        f"{budget(study, condition.attack)}; {objective_name(condition.objective)}, {condition.precision}{patchwise}, "
        "each model attacked on itself."
    )


def _pooled(groups: Sequence[Group]) -> str:
    return " Seeds are pooled." if any(len(group.labels) > 1 for group in groups) else ""


def _medians(values: Mapping[Group, Array], unit: str, digits: int = 1) -> str:
    parts = [f"{group.name} {number(float(np.median(found)), digits)}" for group, found in values.items()]
    return f"Median: {', '.join(parts)} {unit}."


def _color(place: int) -> str:
    return COLORS[place % len(COLORS)]


def _line(place: int) -> Any:
    return LINES[place % len(LINES)]


def _steps(axes: Axes, values: Array, edges: Array, place: int, label: str) -> None:
    """A histogram's outline in percent of photographs; the first two are filled as well."""
    share = 100 * np.histogram(values, edges)[0] / len(values)
    filled = place < 2
    if filled:
        axes.stairs(share, edges, fill=True, color=_color(place), alpha=0.18, linewidth=0)
    line = "-" if filled else _line(place)
    axes.stairs(share, edges, color=_color(place), linestyle=line, linewidth=1.6, label=label)


def _legend(axes: Axes) -> None:
    """Above the plot, where it hides nothing."""
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1.01), ncols=4, borderaxespad=0, handlelength=1.6, columnspacing=1.4
    )


def _logarithmic(axes: Axes, which: Literal["x", "y"], ends: tuple[float, float]) -> None:
    """A logarithmic axis from end to end with plain numbers at its ticks, closer together on a short axis."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set(**{f"{which}scale": "log", f"{which}lim": ends})
    decades = float(np.log10(ends[1] / ends[0]))
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 1.5 else (1.0, 3.0) if decades < 3 else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.12g}"))
    axis.set_minor_formatter(NullFormatter())


def _svg(name: str, draw: Callable[[Axes], None]) -> str:
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
    found = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\.\d\d)\d+", r"\1", tag[0]), found)  # a hundredth of a point
    found = re.sub(r'\bid="', f'id="{name}-', found)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", found)
