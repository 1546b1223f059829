"""The table of rises: an attack that raises every score, as the MSU benchmark of quality metrics scores it."""

from __future__ import annotations

from robustiqa.evaluation.measures import MEASURES, Condition
from robustiqa.evaluation.study import Study
from robustiqa.report.captions import notes
from robustiqa.report.cells import BOLD, columns, heading, marked
from robustiqa.report.tables import Block, Cell, Row, Table

RAISE = "raise"
RISES = ("absolute_gain", "relative_gain", "wasserstein_gain", "energy_gain")


def gains_table(study: Study) -> Table | None:
    """MSU's four signed scores of every attack that was run to raise scores, end to end; None if none was."""
    labels = [label for group in study.columns for label in group.labels]
    raised = [
        Condition(attack, RAISE)
        for attack in study.attacks
        if all(RAISE in study.evaluation.goals(label, attack) for label in labels)
    ]
    if not raised:
        return None
    rows = [Row(c.attack, tuple(made for name in RISES for made in _cells(study, name, c))) for c in raised]
    return Table(
        "gains",
        "Rises when every score is raised, as the MSU benchmark has them",
        "Attack",
        tuple(column for name in RISES for column in columns(study, heading(name), difference=False)),
        (Block(tuple(rows)),),
        notes(
            study,
            study.columns,
            raised,
            *([BOLD] if len(study.columns) > 1 else []),
            "In ranges of the model's own clean scores, which its two extreme photographs set. "
            f"{MEASURES['wasserstein_gain'].title} and {MEASURES['energy_gain'].title.lower()} are distances of the "
            "distributions, with the sign of the mean rise.",
        ),
        main=False,
    )


def _cells(study: Study, measure: str, condition: Condition) -> list[Cell]:
    """A measure of every column, the smallest rise marked."""
    kind = MEASURES[measure]
    cells = [Cell(study.summary.estimate(group, measure, condition), kind.digits) for group in study.columns]
    return marked(cells, kind.higher_is_better)
