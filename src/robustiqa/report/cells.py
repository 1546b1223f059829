"""Rows and headings that tables share: a measure of every column side by side, the better one marked."""

from __future__ import annotations

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
    higher = MEASURES[measure].higher_is_better
    values = [made.estimate.value for made in cells if made.estimate is not None and made.estimate.defined]
    if higher is None or len(values) < 2:
        return cells
    digits = MEASURES[measure].digits
    best = round((max if higher else min)(values), digits)
    if all(round(value, digits) == best for value in values):
        return cells
    return [
        replace(made, best=made.estimate is not None and round(made.estimate.value, digits) == best) for made in cells
    ]


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
