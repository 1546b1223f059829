"""What an attack climbs, and whom it hits: attack losses side by side, and each by the quality of the photographs.

Source: Liu et al. 2024, supplement: the loss that pushes scores to the farther end against the absolute and the squared
change of the score, which have no gradient at the clean photograph and start beside it; effect by quality level.
Deviations: levels are thirds of the photographs by opinion (or, without opinions, by the plain model's clean score).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from robustiqa.evaluation.measures import MEASURES, Condition
from robustiqa.evaluation.summary import FEWEST_PHOTOS, Summary
from robustiqa.evaluation.views import Evaluation
from robustiqa.report.attacks import cost
from robustiqa.report.benchmark_study import BenchmarkStudy, Pair
from robustiqa.report.benchmark_tables import compared, star_note
from robustiqa.report.captions import notes, objective_name
from robustiqa.report.cells import BOLD, heading, marked
from robustiqa.report.tables import Block, Cell, Column, Row, Table, number

SHOWN = ("mean_absolute_change", "rmse_change", "srocc_change")
BY_LEVEL = "mean_absolute_change"
LEVELS = ("low quality", "medium quality", "high quality")
SIDES = ("base", "+NT", "difference")
LEDGER = ("Forward passes", "Backward passes", "Seconds", "Peak GPU memory, MiB")
MIB = 2**20


def conditions(read: BenchmarkStudy, pair: Pair) -> list[Condition]:
    """Every attack under every objective that a pair met."""
    groups = (pair.base, pair.defended)
    return [
        Condition(attack, objective)
        for attack in read.attacks
        for objective in read.study.objectives(attack, groups=groups)
    ]


def losses_table(read: BenchmarkStudy) -> Table | None:
    """Every attack and objective side by side."""
    blocks, met = [], []
    for pair in read.pairs:
        found = conditions(read, pair)
        met += found
        rows = [
            Row(
                _title(read, condition), tuple(cell for name in SHOWN for cell in compared(read, pair, name, condition))
            )
            for condition in found
        ]
        if rows:
            blocks.append(Block(tuple(rows), pair.title))
    if not blocks:
        return None
    return Table(
        "losses",
        "What the attack climbs",
        "Attack and objective",
        tuple(Column(side, heading(name)) for name in SHOWN for side in SIDES),
        tuple(blocks),
        notes(read.study, list(read.groups()), list(dict.fromkeys(met)), *star_note(read), BOLD),
    )


def _title(read: BenchmarkStudy, condition: Condition) -> str:
    return f"{read.attacks[condition.attack]}, {objective_name(condition.objective)}"


@dataclass(frozen=True)
class _Level:
    """Photographs of one quality."""

    title: str
    keys: frozenset[str]


def levels_table(read: BenchmarkStudy) -> Table | None:
    """How far each attack moves photographs of low, medium and high quality."""
    levels = _levels(read)
    blocks, met = [], []
    for pair in read.pairs:
        found = conditions(read, pair)
        met += found
        rows = [
            Row(_title(read, c), tuple(cell for level in levels for cell in _cells(read, level, pair, c)))
            for c in found
        ]
        if rows:
            blocks.append(Block(tuple(rows), pair.title))
    if not blocks:
        return None
    by = "opinion" if read.study.has_mos else "the clean score of the first model"
    sizes = ", ".join(f"{level.title} {len(level.keys)}" for level in levels)
    return Table(
        "levels",
        f"{MEASURES[BY_LEVEL].title} by the quality of the photographs",
        "Attack and objective",
        tuple(Column(side, level.title) for level in levels for side in SIDES),
        tuple(blocks),
        notes(
            read.study,
            list(read.groups()),
            list(dict.fromkeys(met)),
            f"Thirds of all photographs by {by}: {sizes}. Objectives decide on all photographs, not within a third.",
            BOLD,
        ),
    )


def _levels(read: BenchmarkStudy) -> list[_Level]:
    clean = read.study.evaluation.clean(read.study.columns[0].labels[0])
    quality = clean.before if clean.mos is None else clean.mos
    order = [clean.keys[int(place)] for place in np.argsort(quality, kind="stable")]
    ends = [round(len(order) * place / len(LEVELS)) for place in range(len(LEVELS) + 1)]
    return [_Level(title, frozenset(order[ends[at] : ends[at + 1]])) for at, title in enumerate(LEVELS)]


def _cells(read: BenchmarkStudy, level: _Level, pair: Pair, condition: Condition) -> list[Cell]:
    """A pair on photographs of one level, each record chosen by the objective on all photographs."""
    groups = (pair.base, pair.defended)
    chosen = {
        label: [r for r in read.study.summary.scores(label, condition).records if r.key in level.keys]
        for group in groups
        for label in group.labels
    }
    if min(map(len, chosen.values())) < FEWEST_PHOTOS:
        return [Cell()] * len(SIDES)
    records = [replace(record, goal=condition.objective) for found in chosen.values() for record in found]
    whole = read.study.summary
    summary = Summary(Evaluation(tuple(records), whole.evaluation.info), whole.samples, whole.seed)
    kind = MEASURES[BY_LEVEL]
    cells = [Cell(summary.estimate(group, BY_LEVEL, condition), kind.digits) for group in groups]
    difference = summary.difference(*groups, BY_LEVEL, condition)
    return [*marked(cells, kind.higher_is_better), Cell(difference, kind.digits, signed=True)]


def ledger_table(read: BenchmarkStudy) -> Table | None:
    """What each attack spent on a photograph: passes forward and back, seconds, and the most GPU memory at once."""
    blocks, met = [], []
    for pair in read.pairs:
        found = read.conditions("worst_of_both", (pair.base, pair.defended))
        met += found
        rows = [Row(read.attacks[condition.attack], tuple(_spent(read, pair, condition))) for condition in found]
        if rows:
            blocks.append(Block(tuple(rows), pair.title))
    if not blocks:
        return None
    return Table(
        "ledger",
        "Cost of an attack, both directions, means for a photograph",
        "Attack",
        tuple(Column(side, what) for what in LEDGER for side in SIDES[:2]),
        tuple(blocks),
        notes(
            read.study,
            list(read.groups()),
            list(dict.fromkeys(met)),
            "Passes of the attacked model, whole photographs; a surrogate's are not counted, nor is what was fitted "
            f"beforehand. Seconds are wall time ({read.notes['where']}), the surrogate's passes among them.",
            "Peak GPU memory is the most that the attack on any batch held beyond what was there before it, weights "
            "and photographs; where gradients are used, the clean photograph's is among them. On a CPU there is none: "
            "a system knows the high-water mark of a whole process, which says nothing of one attack.",
            *star_note(read),
            interval=False,
        ),
        main=False,
    )


def _spent(read: BenchmarkStudy, pair: Pair, condition: Condition) -> Iterator[Cell]:
    for name, digits in (("queries", 0), ("gradients", 0), ("seconds", 2)):
        for group in (pair.base, pair.defended):
            costs = [getattr(cost(read.study, label, condition), name) for label in group.labels]
            yield Cell(text=number(math.fsum(costs) / len(costs), digits))
    for group in (pair.base, pair.defended):
        most = [cost(read.study, label, condition).peak_memory for label in group.labels]
        yield Cell(text=number(math.nan if any(map(math.isnan, most)) else max(most) / MIB, 0))
