"""Figures of a benchmark: gradient norms and score changes of each pair, and norms against robustness of all models.

Source: Liu et al. 2024, Figures 1 (change of each score), 4 (histograms of gradient norms) and 5 (mean norm against
RMSE and SROCC under attack, a point a model).
Deviations: steps instead of fitted densities; the norm's axis is logarithmic.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from robustiqa.evaluation.measures import MEASURES, Condition, Group
from robustiqa.evaluation.study import Comparison, Study
from robustiqa.report.benchmark_study import BenchmarkStudy, Pair
from robustiqa.report.benchmark_tables import PAPER
from robustiqa.report.captions import objective_name, photographs
from robustiqa.report.drawing import color_of, draw_legend, label_of, make_logarithmic, marker_of, to_svg
from robustiqa.report.figures import Figure, first_order, gradient_norms, score_changes
from robustiqa.report.tables import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AGAINST_NORM = ("rmse_change", "srocc_change")


def pair_study(read: BenchmarkStudy, pair: Pair) -> Study:
    """One pair as a comparison without controls, for tables and figures that are made of one."""
    return replace(read.study, comparison=Comparison(pair.base, pair.defended, None, ()))


def renamed(figure: Figure, name: str) -> Figure:
    """A figure under another name, its elements' names changed with it, so that a page may hold several of a kind."""
    svg = re.sub(rf'(\bid="|url\(#|href="#){re.escape(figure.name)}-', rf"\g<1>{name}-", figure.svg)
    return replace(figure, name=name, svg=svg)


def norm_figures(read: BenchmarkStudy) -> Iterator[Figure]:
    """Histograms of each pair's norms, then every model's mean norm against its robustness under each attack."""
    for pair in read.pairs:
        made = gradient_norms(pair_study(read, pair))
        if made is not None:
            yield _of_pair(made, pair)
    groups = [group for pair in read.pairs for group in (pair.base, pair.defended)]
    for place, condition in enumerate(read.conditions(PAPER, groups)):
        for measure in AGAINST_NORM:
            found = _norm_against(read, measure, condition, place)
            if found is not None:
                yield found


def _of_pair(figure: Figure, pair: Pair) -> Figure:
    return replace(renamed(figure, f"{figure.name}-{pair.model}"), title=f"{figure.title}, {pair.title}")


def _norm_against(read: BenchmarkStudy, measure: str, condition: Condition, place: int) -> Figure | None:
    kind, summary = MEASURES[measure], read.study.summary
    points: dict[Group, tuple[float, float, int, bool]] = {}
    for at, pair in enumerate(read.pairs):
        for group in (pair.base, pair.defended):
            norms = summary.gradient_norms(group)
            moved = summary.estimate(group, measure, condition)
            if norms is not None and norms.mean() > 0 and moved.defined:
                points[group] = (float(norms.mean()), moved.value, at + 1, group == pair.defended)
    if len(points) < 2:
        return None
    means = [x for x, _, _, _ in points.values()]
    name = f"norm-against-{measure.partition('_')[0]}-{place + 1}"

    def draw(axes: Axes) -> None:
        for group, (x, y, at, defended) in points.items():
            color = color_of(at)
            axes.scatter(
                x,
                y,
                s=36,
                marker=marker_of(at),
                facecolors=color if defended else "none",
                edgecolors=color,
                label=label_of(group.name),
            )
        make_logarithmic(axes, "x", (0.8 * min(means), 1.25 * max(means)))
        axes.set_xlabel("mean gradient L1 norm, points per unit of pixel value")
        axes.set_ylabel(f"{kind.title} before and after")
        draw_legend(axes)

    rank = np.corrcoef(np.log(means), [y for _, y, _, _ in points.values()])[0, 1]
    told = "; ".join(f"{g.name} {number(x, 0)} and {number(y, kind.digits)}" for g, (x, y, _, _) in points.items())
    return Figure(
        name,
        f"Gradient norm against {kind.title} under {read.attacks[condition.attack]}",
        to_svg(name, draw),
        f"Scatter plot, a point a model: mean norm and {kind.title}: {told}.",
        f"{objective_name(condition.objective)}; filled: defended. Correlation of {kind.title} with the logarithm of "
        f"the norm over {len(points)} models: {number(float(rank), 2)}. n = {photographs(read.study, [condition])}.",
    )


def change_figures(read: BenchmarkStudy) -> Iterator[Figure]:
    """How far each photograph's score moved, for each pair and attack under the paper's objective."""
    for pair in read.pairs:
        for place, condition in enumerate(read.conditions(PAPER, (pair.base, pair.defended))):
            made = score_changes(pair_study(read, pair), condition)
            title = f"{made.title} under {read.attacks[condition.attack]}"
            yield _of_pair(renamed(replace(made, title=title), f"score-changes-{place + 1}"), pair)


def first_order_figures(read: BenchmarkStudy) -> Iterator[Figure]:
    """The first-order estimate against the achieved change, for each pair and L-infinity attack."""
    for pair in read.pairs:
        for place, condition in enumerate(read.conditions("worst_of_both", (pair.base, pair.defended))):
            made = first_order(pair_study(read, pair), condition)
            if made is not None:
                titled = replace(made, title=f"{made.title}, {read.attacks[condition.attack]}")
                yield _of_pair(renamed(titled, f"first-order-{place + 1}"), pair)
