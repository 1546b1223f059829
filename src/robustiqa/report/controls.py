"""Tables of what else might explain a gain: the controls, the first-order estimate, transfer, single models."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from robustiqa.evaluation.measures import MEASURES, UNTOUCHED, Condition, Group
from robustiqa.evaluation.records import norm_of
from robustiqa.evaluation.study import Study
from robustiqa.report.captions import budget, notes, objective_name
from robustiqa.report.cells import cell, heading, marked
from robustiqa.report.findings import credit
from robustiqa.report.tables import Block, Cell, Column, Row, Table, number

BEYOND_LINEAR = 0.25  # of the scale; a first-order estimate above it says nothing about the score
MEANINGS = {
    "shrink": "shrink: the baseline's scores compressed linearly to {defended}'s clean spread, on paper.",
    "matched accuracy": "matched accuracy: the baseline stopped early at {defended}'s validation SROCC.",
    "noise": "noise: the baseline trained with Gaussian noise, at equal validation SROCC.",
}


def controls_table(study: Study, attack: str) -> Table | None:
    """What remains of a gain beside cheaper explanations of it, under one attack."""
    objectives = study.objectives(attack)
    if study.comparison is None or not objectives:
        return None
    condition = Condition(attack, objectives[0])
    ranks = replace(condition, objective="rank_split") if "rank_split" in objectives else condition
    base, defended = study.comparison.base, study.comparison.defended
    rows = [_control_row(study, group, condition, ranks) for group in (base, *study.comparison.controls, defended)]
    rows = _marked(rows, {-3: False, -1: True})
    random = study.random_signs(attack)
    shown = [condition]
    if random is not None and study.holds(base, replace(condition, attack=random)):
        shown.append(replace(condition, attack=random))
        rows.insert(1, _control_row(study, base, shown[1], replace(ranks, attack=random), "base, random signs"))
    heads = [
        *([Column(heading("srocc_mos"), "Clean")] if study.has_mos else []),
        Column(heading("spread"), "Clean"),
        Column(heading("rmse_change"), objective_name(condition.objective)),
        Column(heading("change_over_spread"), objective_name(condition.objective)),
        Column(f"{defended.name} lower by", objective_name(condition.objective)),
        Column(heading("srocc_change"), objective_name(ranks.objective)),
    ]
    meanings = [
        MEANINGS[group.name].format(defended=defended.name)
        for group in study.comparison.controls
        if group.name in MEANINGS and attack == study.attacks[0]
    ]
    if len(shown) > 1:
        meanings.append("random signs: noise of the same size on the baseline, a yardstick and no defense.")
    return Table(
        f"controls-{study.attacks.index(attack) + 1}",
        f"Controls under {attack}",
        "Model",
        tuple(heads),
        (Block(tuple(rows)),),
        notes(
            study,
            (base, defended, *study.comparison.trained),
            shown,
            *credit(study, condition),
            *meanings,
            "Bold: the best, random signs aside.",
        ),
    )


def _marked(rows: Sequence[Row], places: Mapping[int, bool]) -> list[Row]:
    """Marks the best value of some columns; a place maps to whether higher is better there."""
    made = [list(row.cells) for row in rows]
    for place, higher in places.items():
        for cells, best in zip(made, marked([cells[place] for cells in made], higher), strict=True):
            cells[place] = best
    return [replace(row, cells=tuple(cells)) for row, cells in zip(rows, made, strict=True)]


def _control_row(study: Study, group: Group, condition: Condition, ranks: Condition, title: str = "") -> Row:
    assert study.comparison is not None
    defended = study.comparison.defended
    lower = Cell()
    if not title and group != defended and study.holds(group, condition):
        lower = Cell(study.summary.reduction(group, defended, "change_over_spread", condition), 0, percent=True)
    cells = [
        *([cell(study, group, "srocc_mos", UNTOUCHED)] if study.has_mos else []),
        cell(study, group, "spread"),
        cell(study, group, "rmse_change", condition),
        cell(study, group, "change_over_spread", condition),
        lower,
        cell(study, group, "srocc_change", ranks),
    ]
    return Row(title or group.name, tuple(cells))


def first_order_table(study: Study) -> Table | None:
    """The first-order estimate eps * L1 beside what each L-infinity attack achieved."""
    blocks, conditions = [], []
    for attack in (attack for attack in study.attacks if norm_of(attack) == "linf"):
        for objective in study.objectives(attack)[:1]:
            condition = Condition(attack, objective)
            groups = [*study.columns, *(study.comparison.controls if study.comparison else ())]
            rows = [row for group in groups if (row := _first_order_row(study, group, condition)) is not None]
            if rows:
                blocks.append(Block(tuple(rows), f"{budget(study, attack)}, {objective_name(objective)}"))
                conditions.append(condition)
    if not blocks:
        return None
    return Table(
        "first-order",
        "First-order estimate and achieved change",
        "Model",
        (
            Column("eps × L1, points", "Median over photographs"),
            Column("achieved |change|, points", "Median over photographs"),
            Column("achieved / estimate", "Median over photographs"),
            Column("beyond linear"),
        ),
        tuple(blocks),
        notes(
            study,
            study.columns,
            conditions,
            "The first-order estimate is eps times the L1 norm of the clean photograph's gradient: a straight line "
            "drawn on, not a bound and not a certificate. Beyond linear: photographs whose estimate exceeds a quarter "
            "of the score scale. Seeds are pooled.",
            interval=False,
        ),
    )


def _first_order_row(study: Study, group: Group, condition: Condition) -> Row | None:
    if not study.holds(group, condition):
        return None
    norms = study.summary.gradient_norms(group, condition)
    if norms is None:
        return None
    estimate = study.budgets[condition.attack][0] * norms
    achieved = np.abs(study.summary.changes(group, condition))
    ratio = np.divide(achieved, estimate, out=np.full_like(estimate, np.nan), where=estimate > 0)
    known = ratio[~np.isnan(ratio)]
    beyond = float(np.mean(estimate > BEYOND_LINEAR * study.evaluation.scale(group.labels[0]).span))
    shown = [
        number(float(np.median(estimate)), 2),
        number(float(np.median(achieved)), 2),
        number(float(np.median(known)) if len(known) else float("nan"), 2),
        f"{number(beyond, 0, percent=True)}\u00a0%",
    ]
    return Row(group.name, tuple(Cell(text=text) for text in shown))


def transfer_table(study: Study) -> Table | None:
    """What attacks found on one column do to another."""
    names = ("change_over_spread", "rmse_change", "srocc_change")
    blocks, conditions = [], []
    for attack in study.attacks:
        for objective in study.objectives(attack)[:1]:
            rows, shown = [], []
            for source, scorer in itertools.product(study.columns, repeat=2):
                if scorer == source or study.transferred(attack, source, scorer):
                    condition = Condition(attack, objective, attacked_on=source)
                    rows.append(
                        Row(
                            f"{source.name} → {scorer.name}",
                            tuple(
                                Cell(study.summary.estimate(scorer, name, condition), MEASURES[name].digits)
                                for name in names
                            ),
                        )
                    )
                    shown.append(condition)
            if len(rows) > len(study.columns):
                conditions += shown
                blocks.append(Block(tuple(rows), f"{budget(study, attack)}, {objective_name(objective)}"))
    if not blocks:
        return None
    return Table(
        "transfer",
        "Transfer: attacked on one model, scored by another",
        "Attacked on → scored by",
        tuple(Column(heading(name), "Score before and after") for name in names),
        tuple(blocks),
        notes(study, study.columns, conditions, "Seeds are paired by position."),
        main=False,
    )


def models_table(study: Study) -> Table | None:
    """Every model by itself: the seeds of each group, and models outside the comparison."""
    if study.comparison is None:
        return None
    grouped = [study.comparison.base, study.comparison.defended, *study.comparison.trained]
    named = {label for group in grouped for label in group.labels}
    others = Group("other models", tuple(label for label in study.labels if label not in named))
    if not others.labels and all(len(group.labels) == 1 for group in grouped):
        return None
    condition = study.headline
    heads = [*([Column(heading("srocc_mos"), "Clean")] if study.has_mos else []), Column(heading("spread"), "Clean")]
    if condition is not None:
        heads.append(
            Column(heading("change_over_spread"), f"{condition.attack}, {objective_name(condition.objective)}")
        )
        heads.append(Column(heading("rmse_change"), f"{condition.attack}, {objective_name(condition.objective)}"))
    blocks = []
    for group in [*grouped, *([others] if others.labels else [])]:
        rows = []
        for label in group.labels:
            alone = Group(label, (label,))
            cells = [*([cell(study, alone, "srocc_mos")] if study.has_mos else []), cell(study, alone, "spread")]
            if condition is not None:
                cells += [cell(study, alone, name, condition) for name in ("change_over_spread", "rmse_change")]
            rows.append(Row(label, tuple(cells)))
        blocks.append(Block(tuple(rows), group.name))
    return Table(
        "models",
        "Every model by itself",
        "Model",
        tuple(heads),
        tuple(blocks),
        notes(
            study,
            [Group("each", grouped[0].labels[:1])],
            [condition] if condition else [],
            flagged=[Group("all", study.labels)],
        ),
        main=False,
    )
