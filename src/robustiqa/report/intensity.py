"""Attacks of growing strength: how far scores move as photographs change more, plain beside defended.

The horizontal axis is how alike photographs stay (mean SSIM of the 8-bit images), which puts attacks of all kinds on
one scale, or the budget in 8-bit levels: the security curve.

Source: Liu et al. 2024, Figure 6 (I-FGSM, SSIM against RMSE and SROCC); Biggio and Roli 2018 (security curves).
Deviations: each budget is attacked from the clean photograph, so that a curve may fall, which is then a flag.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from robustiqa.evaluation.measures import MEASURES, Condition, Group
from robustiqa.report.benchmark_study import BenchmarkStudy, Pair
from robustiqa.report.benchmark_tables import OBJECTIVES, compared
from robustiqa.report.captions import notes, objective_name, photographs
from robustiqa.report.cells import BOLD, heading
from robustiqa.report.drawing import draw_legend, to_svg
from robustiqa.report.figures import Figure
from robustiqa.report.sweeps import draw_line
from robustiqa.report.tables import Block, Cell, Column, Row, Table, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = ("rmse_change", "srocc_change", "mean_absolute_change")
BY_SIMILARITY = ("rmse_change", "srocc_change")  # of the paper's figure
BY_BUDGET = "mean_absolute_change"


def similarity(read: BenchmarkStudy, group: Group, condition: Condition) -> float:
    """Mean SSIM of the 8-bit images that count, over photographs and seeds."""
    values = [record.ssim for label in group.labels for record in read.study.summary.scores(label, condition).records]
    return math.fsum(values) / len(values)


def intensity_table(read: BenchmarkStudy) -> Table | None:
    """Every strength under every objective, with the SSIM that is left."""
    blocks, met = [], []
    for pair in read.pairs:
        for objective in OBJECTIVES:
            conditions = read.conditions(objective, (pair.base, pair.defended))
            met += conditions
            rows = [_row(read, pair, condition) for condition in conditions]
            if rows:
                blocks.append(Block(tuple(rows), f"{pair.title}, {objective_name(objective)}"))
    if not blocks:
        return None
    heads = [Column(side, "SSIM") for side in ("base", "+NT")]
    heads += [Column(side, heading(name)) for name in SHOWN for side in ("base", "+NT", "difference")]
    return Table(
        "intensity",
        "Scores before and after attacks of growing strength",
        "Attack",
        tuple(heads),
        tuple(blocks),
        notes(read.study, list(read.groups()), list(dict.fromkeys(met)), BOLD),
    )


def _row(read: BenchmarkStudy, pair: Pair, condition: Condition) -> Row:
    alike = [Cell(text=number(similarity(read, group, condition), 3)) for group in (pair.base, pair.defended)]
    moved = [cell for name in SHOWN for cell in compared(read, pair, name, condition)]
    return Row(condition.attack, (*alike, *moved))


def intensity_figures(read: BenchmarkStudy) -> Iterator[Figure]:
    """For each model RMSE and SROCC by SSIM under the paper's objective, and the security curve under the worst."""
    for pair in read.pairs:
        conditions = read.conditions("farther_end", (pair.base, pair.defended))
        if len(conditions) > 1:
            yield from (_by_similarity(read, pair, measure, conditions) for measure in BY_SIMILARITY)
        worst = read.conditions("worst_of_both", (pair.base, pair.defended))
        if len(worst) > 1:
            yield _by_budget(read, pair, worst)


def _by_similarity(read: BenchmarkStudy, pair: Pair, measure: str, conditions: Sequence[Condition]) -> Figure:
    places = {
        group: [similarity(read, group, condition) for condition in conditions] for group in (pair.base, pair.defended)
    }
    name = f"{measure.partition('_')[0]}-by-ssim-{pair.model}"
    return _drawn(
        read,
        name,
        places,
        measure,
        conditions,
        "mean SSIM of attacked photographs (1: unchanged)",
        f"{MEASURES[measure].title} before and after by SSIM, {pair.title}",
    )


def _by_budget(read: BenchmarkStudy, pair: Pair, conditions: Sequence[Condition]) -> Figure:
    levels = [float(read.study.budgets[condition.attack][1]) for condition in conditions]
    return _drawn(
        read,
        f"security-curve-{pair.model}",
        {pair.base: levels, pair.defended: levels},
        BY_BUDGET,
        conditions,
        "budget, 8-bit levels a pixel",
        f"Security curve, {pair.title}",
    )


def _drawn(
    read: BenchmarkStudy,
    name: str,
    places: dict[Group, list[float]],
    measure: str,
    conditions: Sequence[Condition],
    below: str,
    title: str,
) -> Figure:
    kind = MEASURES[measure]
    found = {
        group: [read.study.summary.estimate(group, measure, condition) for condition in conditions] for group in places
    }
    beside = f"{kind.title}, points" if measure != "srocc_change" else "SROCC before and after"

    def draw(axes: Axes) -> None:
        for at, (group, estimates) in enumerate(found.items()):
            order = sorted(range(len(conditions)), key=lambda place: places[group][place])
            at_places = [places[group][place] for place in order]
            draw_line(axes, at_places, [estimates[place] for place in order], at, group.name)
        axes.set_xlabel(below)
        axes.set_ylabel(beside)
        draw_legend(axes)

    told = "; ".join(
        f"{group.name} {', '.join(number(one.value, kind.digits) for one in estimates)}"
        for group, estimates in found.items()
    )
    return Figure(
        name,
        title,
        to_svg(name, draw),
        f"{beside} by {below.partition(',')[0]}, one attack after another: {told}.",
        f"{objective_name(conditions[0].objective)}; {', '.join(c.attack for c in conditions)}; brackets are intervals "
        f"over photographs. n = {photographs(read.study, conditions)}.",
    )
