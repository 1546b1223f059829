"""Tables of attacks: every attack on every model, what it did, how visible it is and what it cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from robustiqa.evaluation.measures import MEASURES, Condition, Group
from robustiqa.evaluation.records import Record, norm_of
from robustiqa.evaluation.study import HONEST, Study
from robustiqa.evaluation.summary import Summary
from robustiqa.report.captions import notes, objective_name
from robustiqa.report.cells import heading
from robustiqa.report.tables import Block, Cell, Column, Row, Table, number

HEADLINE = "worst_of_both"
SHOWN = ("mean_absolute_change", "rmse_change", "srocc_change", "srocc_mos", "r_robustness")
COSTS = ("SSIM", "LPIPS", "Queries", "Gradients", "Seconds")
MADE_OF_NOTHING = "nothing"


@dataclass(frozen=True)
class Cost:
    """Means over photographs of how visible an attack is and what it spent; NaN where that was not measured.

    Attributes:
        ssim: Of the 8-bit images that count.
        lpips: Of the same.
        queries: Forward passes; where the larger of two directions counts, those of both, as below.
        gradients: Backward passes.
        seconds: Wall time.
        peak_memory: The most bytes of GPU memory that a batch held, of all photographs and runs that count.
    """

    ssim: float
    lpips: float
    queries: float
    gradients: float
    seconds: float
    peak_memory: float

    @property
    def sees(self) -> str:
        """What of the model the attack asked for."""
        return "gradients" if self.gradients else "scores" if self.queries else MADE_OF_NOTHING


def cost(study: Study, label: str, condition: Condition) -> Cost:
    """What an attack under an objective cost on one model."""
    chosen = study.summary.scores(label, condition)
    spent = [chosen]
    both_ways = condition.objective not in study.evaluation.goals(label, condition.attack, condition.variant)
    if both_ways and condition.objective == HEADLINE:  # the others know a photo's direction beforehand
        spent = [
            study.evaluation.attacked(label, condition.attack, goal, variant=condition.variant)
            for goal in ("lower", "raise")
        ]
    queries, gradients, seconds = (
        sum(_mean(part.records, name) for part in spent) for name in ("queries", "gradients", "seconds")
    )
    return Cost(
        _mean(chosen.records, "ssim"),
        _mean(chosen.records, "lpips"),
        queries,
        gradients,
        seconds,
        _largest([record.peak_memory for part in spent for record in part.records]),
    )


def _mean(records: Sequence[Record], name: str) -> float:
    values = [getattr(record, name) for record in records]
    return math.nan if None in values else math.fsum(values) / len(values)


def _largest(values: Sequence[int | None]) -> float:
    known = [value for value in values if value is not None]
    return float(max(known)) if len(known) == len(values) else math.nan


def attack_table(study: Study, attacks: Sequence[str]) -> Table | None:
    """Every attack under the most telling objective, the larger change of both directions.

    Args:
        study: What the numbers are of.
        attacks: Labels of those to show, in order; what was not run is passed over.
    """
    return _table(study, attacks, True)


def objectives_table(study: Study, attacks: Sequence[str]) -> Table | None:
    """The same attacks under every other objective, without intervals."""
    return _table(study, attacks, False)


def _table(study: Study, attacks: Sequence[str], main: bool) -> Table | None:
    summary = study.summary if main else Summary(study.evaluation, samples=1)  # whose intervals are not shown
    measures = [name for name in SHOWN if study.has_mos or MEASURES[name].against != "mos"]
    blocks, conditions = [], []
    for group in study.columns:
        met = [
            Condition(attack, objective)
            for attack in attacks
            for objective in _objectives(study, group, attack)
            if (objective == HEADLINE) == main
        ]
        rows = [Row(_title(condition), tuple(_cells(study, summary, group, measures, condition))) for condition in met]
        if rows:
            blocks.append(Block(tuple(rows), f"attacked on {group.name} → scored by {group.name}"))
            conditions += met
    if not blocks:
        return None
    first = study.columns[0].labels[0]
    conditions = [c for c in conditions if study.evaluation.goals(first, c.attack)]  # fewer while a plan is unfinished
    return Table(
        "attacks" if main else "attack-objectives",
        "Every attack: the larger change of lowering and raising each score" if main else "Other objectives",
        "Attack" if main else "Attack and objective",
        (
            Column("Budget"),
            Column("Sees"),
            *(Column(_heading(name)) for name in measures),
            *(Column(name) for name in COSTS),
        ),
        tuple(blocks),
        notes(study, study.columns, conditions, *_explained(study), interval=main, by_row=True),
        main,
    )


def _objectives(study: Study, group: Group, attack: str) -> list[str]:
    """Every objective that the records can show, the most telling first."""
    goals = study.evaluation.goals(group.labels[0], attack)
    both = {"lower", "raise"} <= set(goals)
    return list(dict.fromkeys([*((*HONEST, "lower", "raise") if both else ()), *sorted(goals)]))


def _title(condition: Condition) -> str:
    if condition.objective == HEADLINE:
        return condition.attack
    return f"{condition.attack}, {objective_name(condition.objective)}"


def _cells(
    study: Study, summary: Summary, group: Group, measures: Sequence[str], condition: Condition
) -> Iterator[Cell]:
    (label,) = group.labels
    spent = cost(study, label, condition)
    yield Cell(text=budget_text(study, condition.attack))
    yield Cell(text=spent.sees)
    for name in measures:
        estimate, digits = summary.estimate(group, name, condition), MEASURES[name].digits
        yield Cell(estimate, digits) if summary is study.summary else Cell(text=number(estimate.value, digits))
    for value, digits in ((spent.ssim, 3), (spent.lpips, 3), (spent.queries, 0), (spent.gradients, 0)):
        yield Cell(text=number(value, digits))
    yield Cell(text=number(spent.seconds, 1 if spent.seconds >= 1 else 2))


def budget_text(study: Study, attack: str) -> str:
    """`4/255` for whole levels of L-infinity, else the norm and its size."""
    eps, levels = study.budgets[attack]
    return f"{levels}/255" if norm_of(attack) == "linf" else f"{norm_of(attack).upper()} {eps:.4g}"


def _heading(measure: str) -> str:
    said = {"srocc_change": " before and after", "srocc_mos": " with opinions"}
    return heading(measure).replace("SROCC", f"SROCC{said.get(measure, '')}")


def _explained(study: Study) -> Iterator[str]:
    if study.has_mos:
        clean = [
            f"{number(study.summary.estimate(group, 'srocc_mos').value, 3)} on {group.name}" for group in study.columns
        ]
        yield f"SROCC with opinions is {' and '.join(clean)} before any attack."
    yield "R: log10 of the room that a score had, over its change."
    yield "Budget: whole levels of an 8-bit pixel that an attack may change."
    yield (
        "Sees: what of the model an attack asks for; nothing is noise, or a perturbation made beforehand on another "
        "model."
    )
    where = study.notes.get("where")
    yield f"Costs are means for a photograph; seconds are wall time ({where or 'where was not noted'})."
    if study.notes.get("left_out"):
        yield f"Not run: {', '.join(study.notes['left_out'])}."
