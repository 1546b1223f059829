"""Figures as SVG text: the same numbers give the same bytes, and nothing of matplotlib's global state is left changed.

They are drawn in the few colors named here, so that a page may swap them for its own (`robustiqa.report.html` does,
for dark screens). Models differ in lightness, line and marker besides, and stay apart in gray print.

Source: Liu et al. 2024, Figures 1 (change of scores) and 4 (gradient norms).
Deviations: steps instead of fitted densities; the axis of the norms is logarithmic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from robustiqa.evaluation.measures import Condition, Group
from robustiqa.evaluation.records import norm_of
from robustiqa.evaluation.study import Study
from robustiqa.evaluation.views import Array
from robustiqa.report.captions import budget, objective_name, photographs
from robustiqa.report.drawing import (
    INK,
    color_of,
    draw_legend,
    draw_steps,
    label_of,
    line_of,
    make_logarithmic,
    marker_of,
    to_svg,
)
from robustiqa.report.tables import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 30
FLOOR = 1e-3  # of the scale: where smaller changes are drawn on a logarithmic axis


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
            draw_steps(axes, values, edges, place, label_of(group.name))
        axes.set_xlim(left=0)
        axes.set_xlabel("|score change|, points")
        axes.set_ylabel("share of photographs, %")
        draw_legend(axes)

    return Figure(
        "score-changes",
        "How far the scores moved",
        to_svg("score-changes", draw),
        f"Histogram of absolute score changes. {_medians(changes, 'points')}",
        f"{_what(study, condition)} {_medians(changes, 'points')}{_pooled(study.columns)}",
    )


def sorted_changes(study: Study, condition: Condition) -> Figure:
    """Every photograph's change, from the most lowered to the most raised."""
    changes = {group: np.sort(study.summary.changes(group, condition)) for group in study.columns}

    def draw(axes: Axes) -> None:
        axes.axhline(0, color=INK, linewidth=0.8)
        for place, (group, values) in enumerate(changes.items()):
            share = 100 * (np.arange(len(values)) + 0.5) / len(values)
            axes.plot(
                share, values, color=color_of(place), linestyle=line_of(place), linewidth=2, label=label_of(group.name)
            )
        axes.set_xlim(0, 100)
        axes.set_xlabel("photographs, sorted by change, %")
        axes.set_ylabel("score change, points")
        draw_legend(axes)

    ends = "; ".join(
        f"{group.name} from {number(float(values[0]), 1, signed=True)} to {number(float(values[-1]), 1, signed=True)}"
        for group, values in changes.items()
    )
    return Figure(
        "sorted-changes",
        "Every photograph's change",
        to_svg("sorted-changes", draw),
        f"Curves of score changes sorted from most lowered to most raised. In points: {ends}.",
        f"{_what(study, condition)} Changes reach, in points: {ends}.{_pooled(study.columns)}",
    )


def gradient_norms(study: Study) -> Figure | None:
    """L1 norms of the clean photographs' gradients, on a logarithmic axis: the paper's Figure 4."""
    groups = [*study.columns, *(study.comparison.trained if study.comparison else ())]
    norms = {group: found for group in groups if (found := study.summary.gradient_norms(group)) is not None}
    drawn = {group: values for group, values in norms.items() if (values > 0).any()}
    if not drawn:
        return None
    low, high = (pick(float(pick(values[values > 0])) for values in drawn.values()) for pick in (min, max))
    edges = np.geomspace(low, max(high, 1.01 * low), BINS + 1)
    without = [f"{zeros} of {group.name}" for group, values in norms.items() if (zeros := int((values == 0).sum()))]
    hidden = f" Without a gradient, and not drawn: {', '.join(without)}." if without else ""

    def draw(axes: Axes) -> None:
        for group, values in drawn.items():
            draw_steps(axes, values, edges, groups.index(group), label_of(group.name))
        make_logarithmic(axes, "x", (float(edges[0]), float(edges[-1])))
        axes.set_xlabel("gradient L1 norm, points per unit of pixel value in [0, 1]")
        axes.set_ylabel("share of photographs, %")
        draw_legend(axes)

    return Figure(
        "gradient-norms",
        "Gradient norms",
        to_svg("gradient-norms", draw),
        f"Histogram of gradient L1 norms on a logarithmic axis. {_medians(norms, 'points per unit', 0)}{hidden}",
        "L1 norm of the score's gradient in the clean photograph's pixels, end to end: the number that eps multiplies "
        f"in the first-order estimate. n = {photographs(study)}. {_medians(norms, 'points per unit', 0)}{hidden}"
        f"{_pooled(groups)}",
    )


def first_order(study: Study, condition: Condition) -> Figure | None:
    """The first-order estimate against the achieved change, photograph by photograph, both axes logarithmic."""
    eps, levels = study.budgets[condition.attack]
    if norm_of(condition.attack) != "linf":  # the records hold the norm that goes with L-infinity
        return None
    floor = FLOOR * study.evaluation.scale(study.columns[0].labels[0]).span
    points: dict[str, tuple[Array, Array]] = {}
    ratios: dict[Group, Array] = {}
    for group in study.columns:
        first = Group(group.name, group.labels[:1])
        norms = study.summary.gradient_norms(first, condition)
        if norms is None:
            return None
        estimates, changes = eps * norms, np.abs(study.summary.changes(first, condition))
        points[group.name] = (np.maximum(estimates, floor), np.maximum(changes, floor))
        ratios[first] = changes[estimates > 0] / estimates[estimates > 0]
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
                marker=marker_of(place),
                facecolors=color_of(place) if place % 2 else "none",
                edgecolors=color_of(place),
                linewidths=0.8,
                alpha=0.75,
                label=label_of(name),
            )
        make_logarithmic(axes, "x", ends)
        make_logarithmic(axes, "y", ends)
        axes.set_xlabel("first-order estimate, eps × gradient L1 norm, points")
        axes.set_ylabel("achieved |score change|, points")
        draw_legend(axes)

    said = _medians(ratios, "times the estimate", 2)
    first_seed = " The first seed of each." if any(len(group.labels) > 1 for group in study.columns) else ""
    small = f" {floored} points below {number(floor, 2)} are drawn there." if floored else ""
    return Figure(
        "first-order",
        "First-order estimate against achieved change",
        to_svg("first-order", draw),
        f"Scatter plot on logarithmic axes with the line of equality. Achieved change: {said[0].lower()}{said[1:]}",
        f"{_what(study, condition)} Below the line an attack reached less than a straight line drawn on from the clean "
        f"photograph predicts; the estimate is no bound. It takes all of eps, of which the 8-bit image holds {levels} "
        f"whole levels.{small}{first_seed}",
    )


def _what(study: Study, condition: Condition) -> str:
    patchwise = ", patchwise" if condition.variant == "patchwise" else ", end to end"
    return (
        f"{budget(study, condition.attack)}; {objective_name(condition.objective)}, {condition.precision}{patchwise}, "
        f"each model attacked on itself. n = {photographs(study, [condition])}."
    )


def _pooled(groups: Sequence[Group]) -> str:
    return " Seeds are pooled." if any(len(group.labels) > 1 for group in groups) else ""


def _medians(values: Mapping[Group, Array], unit: str, digits: int = 1) -> str:
    middles = {group: float(np.median(found)) if len(found) else math.nan for group, found in values.items()}
    parts = [f"{group.name} {number(middle, digits)}" for group, middle in middles.items()]
    return f"Median: {', '.join(parts)} {unit}."
