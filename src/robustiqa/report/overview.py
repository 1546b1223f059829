"""In short: what several comparisons found, model by model, in one table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from robustiqa.evaluation.measures import Condition
from robustiqa.evaluation.study import Study
from robustiqa.report.captions import budget, objective_name
from robustiqa.report.cells import cell, compared, heading, marked
from robustiqa.report.tables import Block, Cell, Column, Row, Table

MEASURE = "change_over_spread"


def overview_table(found: Mapping[str, Study]) -> Table:
    """Accuracy on clean photographs and the change under each attack, with and without the defense.

    Args:
        found: Title to a comparison.
    """
    blocks = [Block(tuple(_rows(study)), title) for title, study in found.items()]
    names = dict.fromkeys(group.name for study in found.values() for group in study.columns)
    plain, defended = names if len(names) == 2 else ("plain", "defended")
    return Table(
        "overview",
        "What the defense gains and what it costs",
        "Measure",
        (Column(plain), Column(defended), Column("difference or reduction"), Column("photographs")),
        tuple(blocks),
        (
            "Change / clean spread: the root mean square change of the 8-bit score over the standard deviation of the "
            "model's own clean scores; 1 is as far as scores differ between photographs. Brackets: 95 % bootstrap "
            "intervals over photographs, paired, means over seeds. Attacks prove no limit: a stronger one may move "
            "scores farther.",
        ),
    )


def _rows(study: Study) -> Iterator[Row]:
    count = Cell(text=str(len(study.evaluation.clean(study.columns[0].labels[0]))))
    if study.has_mos:
        yield Row(f"Clean photographs: {heading('srocc_mos')}", (*compared(study, "srocc_mos"), count))
    assert study.comparison is not None
    pair = study.comparison.base, study.comparison.defended
    for attack in study.attacks:
        for objective in study.objectives(attack)[:1]:
            condition = Condition(attack, objective)
            cells = marked([cell(study, group, MEASURE, condition) for group in pair], False)
            less = Cell(study.summary.reduction(*pair, MEASURE, condition), 0, percent=True)
            met = Cell(text=str(len(study.evaluation.attacked(pair[0].labels[0], attack, objective))))
            name = f"{budget(study, attack)}, {objective_name(objective)}: {heading(MEASURE)}"
            yield Row(name, (*cells, less, met))
