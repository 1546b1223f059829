"""The table of an ensemble's members: which of them found how many of the images that count."""

from __future__ import annotations

from collections import Counter

from robustiqa.evaluation.measures import Condition, Group
from robustiqa.evaluation.records import CLEAN, Record
from robustiqa.evaluation.study import Study
from robustiqa.report.captions import budget, notes, objective_name
from robustiqa.report.tables import Block, Cell, Column, Row, Table

UNMOVED = "none: the clean photograph"


def members_table(study: Study) -> Table | None:
    """Who won where: photographs by member and goal, white-box and end to end; None without an ensemble."""
    labels = [label for group in study.columns for label in group.labels]
    won = {
        attack: [
            record
            for record in study.evaluation.records
            if record.attack == attack and record.member_scores and record.scored_by in labels
        ]
        for attack in study.attacks
    }
    contests = {attack: records for attack, records in won.items() if records}
    if not contests:
        return None
    goals = list(dict.fromkeys(record.goal for records in contests.values() for record in records))
    sides = [(group, goal) for group in study.columns for goal in goals]
    return Table(
        "members",
        "Who won where: photographs by the member that moved them farthest",
        "Member",
        tuple(Column(objective_name(goal), group.name) for group, goal in sides),
        tuple(Block(_rows(records, sides), budget(study, attack)) for attack, records in contests.items()),
        notes(
            study,
            study.columns,
            [Condition(attack, goal) for attack in contests for goal in goals if goal in _goals(study, attack)],
            "Photographs, seeds added up. Of equals the first member counts.",
            interval=False,
        ),
    )


def _goals(study: Study, attack: str) -> list[str]:
    """Goals that the model which notes speak of was attacked with."""
    return study.evaluation.goals(study.columns[0].labels[0], attack)


def _rows(records: list[Record], sides: list[tuple[Group, str]]) -> tuple[Row, ...]:
    """Members in their order, then the clean photograph; a dash where a goal was not run."""
    names = list(dict.fromkeys(name for record in records for name in record.member_scores))
    names.sort(key=lambda name: name == CLEAN)  # stable: all others keep their order
    counts = [
        Counter(record.member for record in records if record.goal == goal and record.scored_by in group.labels)
        for group, goal in sides
    ]
    return tuple(
        Row(
            UNMOVED if name == CLEAN else name,
            tuple(Cell(text=str(count[name])) if count else Cell() for count in counts),
        )
        for name in names
    )
