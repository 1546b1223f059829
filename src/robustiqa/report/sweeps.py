"""One number of the training varied: what it does to accuracy and to robustness, as a table and as lines.

Source: Liu et al. 2024, Table 4 (the step h of the finite difference) and Figure 7 (the weight of the penalty).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from robustiqa.evaluation.measures import MEASURES, UNTOUCHED, Condition, Estimate
from robustiqa.report.benchmark_study import BenchmarkStudy, Varied
from robustiqa.report.benchmark_tables import AS_REPORTED, OBJECTIVES, PAPER, REPORTED, source_note
from robustiqa.report.captions import notes, objective_name, photographs
from robustiqa.report.cells import BOLD, heading, marked
from robustiqa.report.drawing import color_of, draw_legend, label_of, line_of, marker_of, to_svg
from robustiqa.report.figures import Figure
from robustiqa.report.tables import Block, Cell, Column, Row, Table, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLEAN = ("srocc_mos", "rmse_mos")
ATTACKED = ("srocc_change", "rmse_change", "change_over_spread")
DRAWN = ("srocc_mos", "rmse_change")
FIRST_STEP = 0.1  # of the smallest number, where zero is drawn on an axis that has none


def sweep_table(read: BenchmarkStudy) -> Table:
    """Accuracy and robustness at every value, attack by attack, under every objective."""
    blocks, met = [], []
    for varied in read.varied:
        rows = [_row(read, varied, measure, UNTOUCHED, "clean") for measure in CLEAN if read.study.has_mos]
        for objective in OBJECTIVES:
            for condition in read.conditions(objective, varied.groups):
                met.append(condition)
                under = f"{read.attacks[condition.attack]}, {objective_name(objective)}"
                rows += [_row(read, varied, measure, condition, under) for measure in ATTACKED]
        blocks.append(Block(tuple(rows), f"{varied.title}: {_values(varied)}"))
    return Table(
        "sweep",
        f"{_field(read)} varied",
        "Measure",
        tuple(_heads(read)),
        tuple(blocks),
        notes(
            read.study,
            list(read.groups()),
            list(dict.fromkeys(met)),
            f"Values of {_field(read)} stand above each model's rows, in the order of the columns.",
            *source_note(read),
            BOLD,
        ),
    )


def _row(read: BenchmarkStudy, varied: Varied, measure: str, condition: Condition, under: str) -> Row:
    kind = MEASURES[measure]
    cells = [Cell(read.study.summary.estimate(group, measure, condition), kind.digits) for group in varied.groups]
    said = read.reported(measure, varied.model, condition.attack) if condition.objective in (PAPER, "none") else None
    shown = [Cell() for _ in cells] if said is None else [Cell(text=number(value, AS_REPORTED)) for value in said]
    made = marked(cells, kind.higher_is_better)
    pairs = [pair[: 1 + _reports(read)] for pair in zip(made, shown, strict=True)]
    return Row(f"{heading(measure)}, {under}", tuple(cell for pair in pairs for cell in pair))


def _reports(read: BenchmarkStudy) -> bool:
    return bool(read.notes["reported"])


def _field(read: BenchmarkStudy) -> str:
    return str(read.notes["varied"])


def _values(varied: Varied) -> str:
    return ", ".join(f"{value:g}" for value in varied.values)


def _heads(read: BenchmarkStudy) -> Iterator[Column]:
    """A column a value, by the value itself where all models share it."""
    alike = len({varied.values for varied in read.varied}) == 1
    longest: Sequence[float] = max((varied.values for varied in read.varied), key=len)
    for place, value in enumerate(longest):
        title = f"{value:g}" if alike else f"value {place + 1}"
        yield Column(title)
        if _reports(read):
            yield Column(REPORTED if alike else f"{title}, {REPORTED}")


def sweep_figures(read: BenchmarkStudy) -> Iterator[Figure]:
    """Accuracy on clean photographs, and change under each attack with the paper's objective, a line a model."""
    conditions = [UNTOUCHED] if read.study.has_mos else []
    conditions += read.conditions(PAPER, [group for varied in read.varied for group in varied.groups])
    for place, condition in enumerate(conditions):
        measure = DRAWN[0] if condition == UNTOUCHED else DRAWN[1]
        yield _figure(read, measure, condition, place)


def _figure(read: BenchmarkStudy, measure: str, condition: Condition, place: int) -> Figure:
    lines = {
        varied.title: (
            _axis(varied.values),
            [read.study.summary.estimate(group, measure, condition) for group in varied.groups],
        )
        for varied in read.varied
    }
    clean = condition == UNTOUCHED
    said = f"{MEASURES[measure].title} {'with opinions' if clean else 'before and after'}"

    def draw(axes: Axes) -> None:
        for at, (title, (values, estimates)) in enumerate(lines.items()):
            draw_line(axes, values, estimates, at + 1, title)
        axes.set_xscale("log")
        axes.set_xlabel(_field(read))
        axes.set_ylabel(said)
        draw_legend(axes)

    under = "on clean photographs" if clean else f"under {read.attacks[condition.attack]}"
    told = "; ".join(
        f"{title} {', '.join(number(one.value, MEASURES[measure].digits) for one in estimates)}"
        for title, (_, estimates) in lines.items()
    )
    zero = " Zero is drawn at the left end." if any(0 in varied.values for varied in read.varied) else ""
    return Figure(
        f"sweep-{place + 1}",
        f"{said} by {_field(read)}, {under}",
        to_svg(f"sweep-{place + 1}", draw),
        f"{said} {under} as {_field(read)} grows: {told}.",
        f"{'' if clean else objective_name(condition.objective) + '; '}brackets are intervals over photographs. "
        f"n = {photographs(read.study, [condition])}.{zero}",
    )


def _axis(values: Sequence[float]) -> list[float]:
    """Places on a logarithmic axis; zero stands left of the smallest number."""
    smallest = min((value for value in values if value > 0), default=1.0)
    return [value or FIRST_STEP * smallest for value in values]


def draw_line(axes: Axes, places: Sequence[float], estimates: Sequence[Estimate], at: int, title: str) -> None:
    """A line with an interval at each point; points without a number are left out.

    Args:
        axes: Where to.
        places: Along the horizontal axis.
        estimates: Above them.
        at: Which color, line and marker.
        title: In the legend.
    """
    known = [(place, one.interval) for place, one in zip(places, estimates, strict=True) if one.defined]
    middle = np.array([interval.value for _, interval in known])
    low = np.array([interval.low for _, interval in known])
    high = np.array([interval.high for _, interval in known])
    axes.errorbar(
        [place for place, _ in known],
        middle,
        yerr=np.nan_to_num(np.maximum([middle - low, high - middle], 0)),
        color=color_of(at),
        linestyle=line_of(at),
        marker=marker_of(at),
        capsize=3,
        label=label_of(title),
    )
