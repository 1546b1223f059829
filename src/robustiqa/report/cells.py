"""Rows and headings that tables share: a measure of every column side by side, the better one marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from robustiqa.evaluation.measures import MEASURES, UNTOUCHED, Condition, Group
from robustiqa.evaluation.study import Study
from robustiqa.report.tables import Cell, Column

ARROWS = {True: " ↑", False: " ↓", None: ""}
BOLD = "Bold: the better value of those side by side."


def heading(measure: str) -> str:
    """A measure's title with an arrow toward better."""
    return MEASURES[measure].title + ARROWS[MEASURES[measure].higher_is_better]


def cell(study: Study, group: Group, measure: str, condition: Condition = UNTOUCHED) -> Cell:
    """A measure of a group; empty where it was not run."""
    if not study.holds(group, condition):
        return Cell()
    return Cell(study.summary.estimate(group, measure, condition), MEASURES[measure].digits)


def side_by_side(study: Study, measure: str, condition: Condition = UNTOUCHED) -> list[Cell]:
    """A measure of every column, the better value marked."""
    cells = [cell(study, group, measure, condition) for group in study.columns]
    return marked(cells, MEASURES[measure].higher_is_better)


def marked(cells: Sequence[Cell], higher: bool | None) -> list[Cell]:
    """Marks the best of several numbers, all that read the same as it; none where all read the same."""
    shown = [round(made.estimate.value, made.digits) if made.estimate is not None else math.nan for made in cells]
    known = {value for value in shown if not math.isnan(value)}
    if higher is None or len(known) < 2:
        return list(cells)
    best = (max if higher else min)(known)
    return [replace(made, best=value == best) for made, value in zip(cells, shown, strict=True)]


def compared(study: Study, measure: str, condition: Condition = UNTOUCHED) -> list[Cell]:
    """As `side_by_side`, and the paired difference where two are compared."""
    cells = side_by_side(study, measure, condition)
    if study.comparison is None:
        return cells
    difference = study.summary.difference(study.comparison.base, study.comparison.defended, measure, condition)
    return [*cells, Cell(difference, MEASURES[measure].digits, signed=True)]


def columns(study: Study, over: str = "", *, difference: bool = True) -> list[Column]:
    """Headings for `compared`, or for `side_by_side`."""
    made = [Column(group.name, over) for group in study.columns]
    return [*made, Column("difference", over)] if study.comparison is not None and difference else made
