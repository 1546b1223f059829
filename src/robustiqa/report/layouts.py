"""Which tables there are: the paper's, the honest one, the controls, and what stands behind them.

The paper's layout is "base / +NT" a cell, Tables 1 to 3; here the two are columns beside each other, with the paired
difference as a third, and one column a model where nothing is compared.

Source: Liu et al. 2024, Tables 1 (clean), 2 (RMSE) and 3 (SROCC).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from robustiqa.evaluation.measures import MEASURES, Condition
from robustiqa.evaluation.study import Study
from robustiqa.report.captions import budget, notes, objective_name
from robustiqa.report.cells import BOLD, columns, compared, heading, side_by_side
from robustiqa.report.choice import choice_table
from robustiqa.report.controls import controls_table, first_order_table, models_table, transfer_table
from robustiqa.report.gains import gains_table
from robustiqa.report.members import members_table
from robustiqa.report.tables import Block, Cell, Column, Row, Table

AGAINST = {"mos": "Opinions and score after", "before": "Score before and after"}


def all_tables(study: Study) -> tuple[Table, ...]:
    """Every table that the records can fill, the story first."""
    made = [
        honest_table(study),
        clean_table(study),
        *(controls_table(study, attack) for attack in study.attacks),
        paper_table(study, "rmse_mos", "rmse_change", "RMSE under attack"),
        paper_table(study, "srocc_mos", "srocc_change", "SROCC under attack"),
        first_order_table(study),
        paper_table(study, "plcc_mos", "plcc_change", "PLCC under attack", main=False),
        paper_table(study, "plcc_mapped_mos", "change_mapped", "Mapped scores under attack", main=False),
        paper_table(study, "krocc_mos", "krocc_change", "KROCC under attack", main=False),
        paper_table(study, "", "r_robustness", "R robustness", main=False),
        gains_table(study),
        members_table(study),
        transfer_table(study),
        models_table(study),
        choice_table(study),
    ]
    return tuple(table for table in made if table is not None)


def clean_table(study: Study) -> Table:
    """The paper's Table 1: accuracy on untouched photographs, and the spread of the scores."""
    against_mos = [name for name, kind in MEASURES.items() if kind.against == "mos" and kind.needs != "fit"]
    against_mos = against_mos if study.has_mos else []  # PLCC is mapped by the validation part's curve here
    rows = [Row(heading(name), tuple(compared(study, name))) for name in [*against_mos, "spread"]]
    missing = [] if study.has_mos else ["These photographs carry no opinion scores, so there is no accuracy to show."]
    shown = [made.estimate for row in rows for made in row.cells]
    if study.has_mos and any(estimate is None or not estimate.defined for estimate in shown):
        missing = ["A dash: undefined, or the logistic was not fitted."]
    return Table(
        "clean",
        "Clean photographs: scores against opinions" if study.has_mos else "Clean photographs",
        "Measure",
        tuple(columns(study)),
        (Block(tuple(rows)),),
        notes(
            study,
            study.columns,
            (),
            *missing,
            *([BOLD] if study.has_mos and len(study.columns) > 1 else []),
            *(["PLCC (mapped): after a logistic fitted once on clean validation scores."] if study.has_mos else []),
        ),
    )


def paper_table(study: Study, against: str, change: str, title: str, *, main: bool = True) -> Table | None:
    """The paper's Tables 2 and 3 for one metric: against opinions, and before against after, attack by attack.

    Args:
        study: What the numbers are of.
        against: A measure against opinions; empty for none.
        change: A measure before against after.
        title: Of the table.
        main: As in `Table`.
    """
    with_mos = bool(against) and study.has_mos
    conditions = list(_paper_conditions(study))
    if not conditions:
        return None
    measures = [against, change] if with_mos else [change]
    heads = [
        column for name in measures for column in columns(study, f"{AGAINST[MEASURES[name].against]}: {heading(name)}")
    ]
    rows = [
        Row(
            f"{c.attack}, {objective_name(c.objective)}" + (", patchwise" if c.variant == "patchwise" else ""),
            tuple(made for name in measures for made in compared(study, name, c)),
        )
        for c in conditions
    ]
    return Table(
        change.removesuffix("_change").removeprefix("change_").replace("_", "-"),
        title,
        "Attack and objective",
        tuple(heads),
        (Block(tuple(rows)),),
        notes(
            study,
            study.columns,
            conditions,
            *([BOLD] if len(study.columns) > 1 else []),
            *_floored(study, change, conditions),
        ),
        main,
    )


def _paper_conditions(study: Study) -> Iterator[Condition]:
    """Each attack under the paper's objective, or under whichever it was run with."""
    for variant in study.variants:
        for attack in study.attacks:
            runs = study.objectives(attack, variant)
            for objective in ["farther_end"] if "farther_end" in runs else runs[:1]:
                yield Condition(attack, objective, variant=variant)


def _floored(study: Study, measure: str, conditions: Sequence[Condition]) -> list[str]:
    """How many changes were below the floor of R robustness."""
    if measure != "r_robustness":
        return []
    counts = [
        f"{group.name} {study.summary.estimate(group, measure, condition).floored} ({condition.attack})"
        for condition in conditions
        for group in study.columns
    ]
    return [
        "R is log10 of the room a score had before, over its change, with a floor of a thousandth of the scale; "
        f"changes at the floor: {', '.join(counts)}."
    ]


def honest_table(study: Study) -> Table | None:
    """Every objective, in 8 bits and in float: change over the clean spread first, which no shrinking lowers."""
    blocks, conditions = [], []
    for attack in study.attacks:
        for variant in study.variants:
            rows = []
            for objective in study.objectives(attack, variant):
                eight_bit = Condition(attack, objective, variant=variant)
                for condition in (eight_bit, replace(eight_bit, precision="float")):
                    rows.append(
                        Row(f"{objective_name(objective)}, {condition.precision}", tuple(_honest(study, condition)))
                    )
                    conditions.append(condition)
            if rows:
                blocks.append(
                    Block(tuple(rows), budget(study, attack) + (", patchwise" if variant == "patchwise" else ""))
                )
    if not blocks:
        return None
    heads = columns(study, heading("change_over_spread"), difference=False)
    if study.comparison is not None:
        heads.append(Column("reduction", heading("change_over_spread")))
    for name in ("rmse_change", "srocc_change"):
        heads += columns(study, f"{heading(name)} before and after", difference=False)
    return Table(
        "honest",
        "How far scores move: every objective, in 8 bits and in float",
        "Objective",
        tuple(heads),
        tuple(blocks),
        notes(
            study,
            study.columns,
            conditions,
            *(
                ["The paper's objective moves most scores one way together, which keeps their order and flatters."]
                if any(condition.objective == "farther_end" for condition in conditions)
                else []
            ),
            *([BOLD] if len(study.columns) > 1 else []),
        ),
    )


def _honest(study: Study, condition: Condition) -> Iterator[Cell]:
    yield from side_by_side(study, "change_over_spread", condition)
    if study.comparison is not None:
        pair = study.comparison.base, study.comparison.defended
        yield Cell(study.summary.reduction(*pair, "change_over_spread", condition), 0, percent=True)
    yield from side_by_side(study, "rmse_change", condition)
    yield from side_by_side(study, "srocc_change", condition)
