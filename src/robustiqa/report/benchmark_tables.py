"""Tables of a benchmark: each model plain and defended, and beside the measured what was reported elsewhere.

Source: Liu et al. 2024, Tables 1 (clean), 2 (RMSE) and 3 (SROCC), and their supplement's (PLCC, KROCC, R).
Deviations: the paper's cell "plain / defended" is two columns here, with their paired difference as a third; what it
reports stands in one cell.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from robustiqa.evaluation.measures import MEASURES, UNTOUCHED, Condition, Group
from robustiqa.report.benchmark_study import BLACK_BOX, BenchmarkStudy, Pair
from robustiqa.report.captions import notes, objective_name
from robustiqa.report.cells import BOLD, heading, marked
from robustiqa.report.layouts import AGAINST
from robustiqa.report.tables import Block, Cell, Column, Row, Table, number

FITTED = "plcc_fitted_mos"
CLEAN_MEASURES = ("rmse_mos", "srocc_mos", "plcc_mos", FITTED, "krocc_mos")
PAPER = "farther_end"  # the objective of the paper, under which its numbers are comparable
OBJECTIVES = (PAPER, "worst_of_both", "rank_split")
SIBLINGS = (
    ("rmse_mos", "rmse_change", "RMSE under attack"),
    ("srocc_mos", "srocc_change", "SROCC under attack"),
    ("plcc_mos", "plcc_change", "PLCC under attack"),
    (FITTED, "", "PLCC after a logistic fit, under attack"),
    ("krocc_mos", "krocc_change", "KROCC under attack"),
    ("", "r_robustness", "R robustness"),
    ("", "change_over_spread", "Change over the spread of clean scores"),
)
MAIN = ("rmse_change", "srocc_change")
FIT_NOTE = (
    "PLCC (logistic fit), usual since VQEG 2000: after the 4-parameter logistic fitted to clean scores and opinions of "
    "the same photographs, all that were scored; one curve a model, kept for attacked scores and for resamples. "
    "A dash: no rising curve fits.",
)
REPORTED = "reported"
AS_REPORTED = 3  # digits after the point, as the paper has them


def clean_table(read: BenchmarkStudy) -> Table:
    """The paper's Table 1: accuracy on untouched photographs."""
    blocks = []
    for pair in read.pairs:
        measures = [*(CLEAN_MEASURES if read.study.has_mos else ()), "spread"]
        rows = [
            Row(heading(name), (*compared(read, pair, name, UNTOUCHED), reported_cell(read, name, pair.model)))
            for name in measures
        ]
        blocks.append(Block(tuple(rows), pair.title))
    return Table(
        "clean",
        "Clean photographs: scores against opinions",
        "Measure",
        tuple(Column(title) for title in (*_SIDES, REPORTED)),
        tuple(blocks),
        notes(read.study, list(read.groups()), (), *source_note(read), *(FIT_NOTE if read.study.has_mos else ()), BOLD),
    )


def attack_tables(read: BenchmarkStudy) -> Iterator[Table]:
    """The paper's Tables 2 and 3 and their siblings, under its objective and under two that do not flatter."""
    for objective in OBJECTIVES:
        for against, change, title in SIBLINGS:
            table = attack_table(read, against, change, title, objective)
            if table is not None:
                yield table


def attack_table(read: BenchmarkStudy, against: str, change: str, title: str, objective: str) -> Table | None:
    """One metric under every attack, against opinions and before against after, model by model.

    Args:
        read: What the numbers are of.
        against: A measure against opinions; empty for none.
        change: A measure before against after; empty for none.
        title: Of the table.
        objective: Of the attacks; what was reported elsewhere stands beside the paper's alone.
    """
    measures = [name for name in (against, change) if name and (read.study.has_mos or name == change)]
    if not measures:
        return None
    shows = objective == PAPER and any(measure in read.notes["reported"] for measure in measures)
    blocks, met = [], []
    for pair in read.pairs:
        conditions = read.conditions(objective, (pair.base, pair.defended))
        met += conditions
        rows = [Row(read.attacks[c.attack], tuple(_cells(read, pair, measures, c, shows))) for c in conditions]
        if rows:
            blocks.append(Block(tuple(rows), pair.title))
    if not blocks:
        return None
    over = [f"{AGAINST[MEASURES[name].against]}: {heading(name)}" for name in measures]
    sides = (*_SIDES, REPORTED) if shows else _SIDES
    name = (change or against).removesuffix("_change").removesuffix("_mos").replace("_", "-")
    return Table(
        f"{name}-{objective.replace('_', '-')}",
        f"{title}, {objective_name(objective)}",
        "Attack",
        tuple(Column(side, head) for head in over for side in sides),
        tuple(blocks),
        notes(
            read.study,
            list(read.groups()),
            list(dict.fromkeys(met)),
            *(source_note(read) if shows else ()),
            *(FIT_NOTE if FITTED in measures else ()),
            *star_note(read),
            BOLD,
        ),
        main=objective == PAPER and change in MAIN,
    )


_SIDES = ("base", "+NT", "difference")


def _cells(
    read: BenchmarkStudy, pair: Pair, measures: Sequence[str], condition: Condition, shows: bool
) -> Iterator[Cell]:
    for name in measures:
        yield from compared(read, pair, name, condition)
        if shows:
            yield reported_cell(read, name, pair.model, condition.attack)


def compared(read: BenchmarkStudy, pair: Pair, measure: str, condition: Condition) -> list[Cell]:
    """Plain and defended side by side, the better marked, and their paired difference."""
    kind = MEASURES[measure]
    summary = read.study.summary
    cells = [Cell(summary.estimate(group, measure, condition), kind.digits) for group in (pair.base, pair.defended)]
    difference = summary.difference(pair.base, pair.defended, measure, condition)
    return [*marked(cells, kind.higher_is_better), Cell(difference, kind.digits, signed=True)]


def reported_cell(read: BenchmarkStudy, measure: str, model: str, attack: str = "none") -> Cell:
    """`25.729 → 16.828` as it was reported, or a dash."""
    found = read.reported(measure, model, attack)
    return Cell() if found is None else Cell(text=" → ".join(number(value, AS_REPORTED) for value in found))


def source_note(read: BenchmarkStudy) -> tuple[str, ...]:
    """Where the reported numbers stand, and what is different there."""
    source = read.notes["source"]
    return (f"Reported: {source}; other photographs, larger networks.",) if source else ()


def star_note(read: BenchmarkStudy) -> tuple[str, ...]:
    """What the star means, where there is one."""
    starred = any(title.endswith(BLACK_BOX) for title in read.attacks.values())
    return ("*: black-box, without gradients of the attacked model.",) if starred else ()


def white_black_table(read: BenchmarkStudy) -> Table | None:
    """The supplement's Table S7: what the defense gains on average under white-box and under black-box attacks.

    Source: Liu et al. 2024, supplement; reported means are taken of the reported cells.
    """
    blocks: list[Block] = []
    met: list[Condition] = []
    for objective in OBJECTIVES:
        rows = []
        for pair in read.pairs:
            cells = list(_gains(read, pair, objective))
            if any(cell.estimate is not None for cell in cells):
                rows.append(Row(pair.title, tuple(cells)))
                met += read.conditions(objective, (pair.base, pair.defended))
        if rows:
            blocks.append(Block(tuple(rows), objective_name(objective)))
    if not blocks:
        return None
    heads = [
        Column(side, over) for over in ("Change of RMSE", "Change of SROCC") for side in ("white-box", "black-box")
    ]
    spread = [column for head in heads for column in (head, replace(head, title=f"{head.title}, {REPORTED}"))]
    return Table(
        "white-black",
        "Mean gain by the defense, white-box and black-box attacks (before and after)",
        "Model",
        tuple(spread),
        tuple(blocks),
        notes(
            read.study,
            list(read.groups()),
            list(dict.fromkeys(met)),
            "Defended less plain, mean over attacks; RMSE should fall, SROCC rise.",
            *source_note(read),
        ),
    )


def _gains(read: BenchmarkStudy, pair: Pair, objective: str) -> Iterator[Cell]:
    for measure in MAIN:
        for black in (False, True):
            conditions = gain_conditions(read, pair, objective, black)
            terms = gain_terms(pair, measure, conditions)
            digits = MEASURES[measure].digits
            yield Cell(read.study.summary.weighted(terms), digits, signed=True) if terms else Cell()
            mean = reported_gain(read, pair.model, measure, conditions) if objective == PAPER else math.nan
            yield Cell(text=number(mean, digits, signed=True))


def gain_conditions(read: BenchmarkStudy, pair: Pair, objective: str, black_box: bool) -> list[Condition]:
    """The attacks of one kind that a pair met."""
    found = read.conditions(objective, (pair.base, pair.defended))
    return [condition for condition in found if read.is_black_box(condition.attack) == black_box]


def gain_terms(
    pair: Pair, measure: str, conditions: Sequence[Condition], weight: float = 1.0
) -> list[tuple[float, Group, str, Condition]]:
    """Terms of the mean difference, defended less plain, over some attacks; see `Summary.weighted`."""
    share = weight / max(len(conditions), 1)
    sides = ((share, pair.defended), (-share, pair.base))
    return [(sign, group, measure, condition) for condition in conditions for sign, group in sides]


def reported_gain(read: BenchmarkStudy, model: str, measure: str, conditions: Sequence[Condition]) -> float:
    """The mean of reported differences; NaN where one was not reported."""
    found = [read.reported(measure, model, condition.attack) for condition in conditions]
    if not found or None in found:
        return math.nan
    return math.fsum(cells[1] - cells[0] for cells in found if cells is not None) / len(found)
