"""The transfer matrix: what was found on each model, scored by every other.

Source: Papernot, McDaniel and Goodfellow 2016, "Transferability in machine learning" (attacked on against scored by).
"""

from __future__ import annotations

from collections.abc import Iterator

from robustiqa.evaluation.measures import MEASURES, Condition, Group
from robustiqa.report.benchmark_study import BenchmarkStudy
from robustiqa.report.captions import notes, objective_name
from robustiqa.report.cells import heading
from robustiqa.report.tables import Block, Cell, Column, Row, Table

SHOWN = ("change_over_spread", "srocc_change")
OBJECTIVE = "worst_of_both"


def transfer_matrices(read: BenchmarkStudy) -> Iterator[Table]:
    """One table a measure: a row for the attacked model, a column for the one that scores, a block an attack."""
    groups = [group for pair in read.pairs for group in (pair.base, pair.defended)]
    for measure in SHOWN:
        blocks, met = [], []
        for attack, title in read.attacks.items():
            if not all(read.study.holds(group, Condition(attack, OBJECTIVE)) for group in groups):
                continue
            rows = [Row(source.name, tuple(_cells(read, source, groups, measure, attack))) for source in groups]
            blocks.append(Block(tuple(rows), title))
            met.append(Condition(attack, OBJECTIVE, attacked_on=groups[0]))
        if blocks:
            yield Table(
                f"transfer-{measure.partition('_')[0]}",
                f"Transfer: {heading(measure)} before and after, {objective_name(OBJECTIVE)}",
                "Attacked on",
                tuple(Column(group.name, "Scored by") for group in groups),
                tuple(blocks),
                notes(
                    read.study,
                    groups,
                    met,
                    "The direction is the one that moved the attacked model farther; on the diagonal a model is "
                    "attacked on itself.",
                    flagged=groups,
                ),
                main=measure == SHOWN[0],
            )


def _cells(read: BenchmarkStudy, source: Group, groups: list[Group], measure: str, attack: str) -> Iterator[Cell]:
    for scorer in groups:
        if not (scorer == source or read.study.transferred(attack, source, scorer)):
            yield Cell()
            continue
        condition = Condition(attack, OBJECTIVE, attacked_on=None if scorer == source else source)
        yield Cell(read.study.summary.estimate(scorer, measure, condition), MEASURES[measure].digits)
