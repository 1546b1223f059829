"""The paper's four observations, each held, not held or not testable on what was measured, with its numbers.

A verdict goes by the values; how many of them chance does not explain (95 % intervals over photographs) stands beside.
1. Little accuracy is lost on clean photographs: no model loses more SROCC than any did in the paper.
2. Models withstand most attacks better: more than half of the cells (model, attack, metric) improve.
3. Robustness in RMSE and in SROCC differ: of two attacks on a model, the one that moves scores farther keeps their
   order better, both beyond chance, somewhere.
4. The gain is larger under white-box than under black-box attacks, in RMSE and in SROCC, on average over models.

Source: Liu et al. 2024, section 5; the thresholds are ours.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from robustiqa.evaluation.measures import MEASURES, UNTOUCHED, Condition, Estimate, Group
from robustiqa.report.benchmark_study import BenchmarkStudy
from robustiqa.report.benchmark_tables import MAIN, OBJECTIVES, PAPER, gain_conditions, gain_terms
from robustiqa.report.captions import notes, objective_name
from robustiqa.report.tables import Block, Cell, Column, Row, Table, number

LARGEST_LOSS = 0.04  # Liu et al. 2024, Table 1: SROCC of HyperIQA, .899 to .859
HELD, NOT_HELD, NOT_TESTABLE = "held", "not held", "not testable here"
CELLS = ("rmse_mos", "srocc_mos", "rmse_change", "srocc_change")
CLAIMS = (
    "Little accuracy is lost on clean photographs",
    "Most attacks move the defended models less",
    "Robustness in RMSE and in SROCC differ",
    "The gain is larger under white-box than under black-box attacks",
)


@dataclass(frozen=True)
class Verdict:
    """What became of an observation.

    Attributes:
        number: From 1.
        objective: Of the attacks; empty where nothing is attacked.
        outcome: `held`, `not held` or `not testable here`.
        why: The numbers, in a clause.
    """

    number: int
    objective: str
    outcome: str
    why: str

    @property
    def sentence(self) -> str:
        """All of it."""
        under = f" ({objective_name(self.objective)})" if self.objective else ""
        return f"Observation {self.number}, {_lower(CLAIMS[self.number - 1])}{under}: {self.outcome}; {self.why}."


def verdicts(read: BenchmarkStudy) -> list[Verdict]:
    """The first observation, then the others under each objective."""
    tests = (_most_improve, _metrics_differ, _white_box_gains_more)
    found = [_little_is_lost(read)]
    return found + [test(read, objective) for test in tests for objective in OBJECTIVES]


def observations_table(read: BenchmarkStudy) -> Table:
    """Every verdict with its numbers."""
    blocks = []
    for place, claim in enumerate(CLAIMS, start=1):
        mine = [verdict for verdict in verdicts(read) if verdict.number == place]
        rows = [Row(_under(one), (Cell(text=one.outcome), Cell(text=one.why))) for one in mine]
        blocks.append(Block(tuple(rows), f"{place}. {claim}"))
    return Table(
        "observations",
        "The paper's observations on what was measured here",
        "Objective",
        (Column("Verdict"), Column("Numbers")),
        tuple(blocks),
        notes(
            read.study,
            list(read.groups()),
            (),
            "A verdict goes by the values. Beyond chance: the interval over photographs does not hold zero.",
        ),
    )


def _under(verdict: Verdict) -> str:
    return objective_name(verdict.objective) if verdict.objective else "not attacked"


def _little_is_lost(read: BenchmarkStudy) -> Verdict:
    lost = {
        pair.title: read.study.summary.difference(pair.base, pair.defended, "srocc_mos", UNTOUCHED)
        for pair in read.pairs
    }
    lost = {title: estimate for title, estimate in lost.items() if estimate.defined}
    if not lost:
        return Verdict(1, "", NOT_TESTABLE, "there are no correlations with opinions")
    listed = ", ".join(f"{shown(found, 3)} on {title}" for title, found in lost.items())
    held = all(round(-found.value, 3) <= LARGEST_LOSS for found in lost.values())
    why = f"SROCC changes by {listed}; the paper's largest loss is {LARGEST_LOSS:.3f}"
    return Verdict(1, "", HELD if held else NOT_HELD, why)


def _most_improve(read: BenchmarkStudy, objective: str) -> Verdict:
    better, sure, worse, known = 0, 0, [], 0
    for pair in read.pairs:
        for condition in read.conditions(objective, (pair.base, pair.defended)):
            for measure in CELLS:
                found = read.study.summary.difference(pair.base, pair.defended, measure, condition)
                if not found.defined:
                    continue
                gain = _sign(measure) * found.value
                known += 1
                better += gain > 0
                sure += gain > 0 and _beyond_chance(found)
                if gain < 0 and _beyond_chance(found):
                    worse.append(f"{pair.title} under {read.attacks[condition.attack]} ({_cell_name(measure)})")
    if not known:
        return Verdict(2, objective, NOT_TESTABLE, "no model met an attack, plain and defended")
    why = f"{better} of {known} cells improve, {sure} beyond chance"
    if worse:
        why += f"; worse beyond chance are {len(worse)}, such as {', '.join(worse[:3])}"
    told = _reported_cells(read) if objective == PAPER else ""
    return Verdict(2, objective, HELD if 2 * better > known else NOT_HELD, why + told)


def _reported_cells(read: BenchmarkStudy) -> str:
    """How many of the same cells improve among the reported numbers."""
    cells = [
        (measure, reported)
        for pair in read.pairs
        for condition in read.conditions(PAPER, (pair.base, pair.defended))
        for measure in CELLS
        if (reported := read.reported(measure, pair.model, condition.attack)) is not None
    ]
    improved = sum(_sign(measure) * (after - before) > 0 for measure, (before, after) in cells)
    return f"; in the paper {improved} of {len(cells)}" if cells else ""


def _metrics_differ(read: BenchmarkStudy, objective: str) -> Verdict:
    """Pairs of attacks on one model that RMSE and SROCC, before and after, put in other orders."""
    apart, sure, known, example = 0, 0, 0, ""
    for group in [side for pair in read.pairs for side in (pair.base, pair.defended)]:
        for first, second in itertools.combinations(read.conditions(objective, [group]), 2):
            rmse, srocc = (read.study.summary.contrast(group, measure, first, second) for measure in MAIN)
            if not (rmse.defined and srocc.defined):
                continue
            known += 1
            if rmse.value * srocc.value <= 0:  # moves scores farther and their order more, or less and less
                continue
            apart += 1
            if _beyond_chance(rmse) and _beyond_chance(srocc):
                sure += 1
                example = example or _example(read, group, (first, second), (rmse, srocc))
    if not known:
        return Verdict(3, objective, NOT_TESTABLE, "no model met two attacks")
    why = (
        f"in {apart} of {known} pairs of attacks on a model the one that moves scores farther keeps their order better"
    )
    why += f", {sure} beyond chance" + (f": {example}" if example else "")
    return Verdict(3, objective, HELD if sure else NOT_HELD, why)


def _example(
    read: BenchmarkStudy, group: Group, conditions: tuple[Condition, Condition], by: tuple[Estimate, Estimate]
) -> str:
    far, near = conditions[::-1] if by[0].value > 0 else conditions
    values = [
        "{} and {}".format(
            *(
                number(read.study.summary.estimate(group, measure, c).value, MEASURES[measure].digits)
                for c in (far, near)
            )
        )
        for measure in MAIN
    ]
    named = f"{read.attacks[far.attack]} and {read.attacks[near.attack]} on {group.name}"
    return f"{named} have RMSE {values[0]}, SROCC {values[1]}"


def _white_box_gains_more(read: BenchmarkStudy, objective: str) -> Verdict:
    terms: dict[str, list[tuple[float, Group, str, Condition]]] = {measure: [] for measure in MAIN}
    models = 0
    for pair in read.pairs:
        white, black = (gain_conditions(read, pair, objective, kind) for kind in (False, True))
        if white and black:
            models += 1
            for measure in MAIN:
                sign = _sign(measure)
                terms[measure] += gain_terms(pair, measure, white, sign) + gain_terms(pair, measure, black, -sign)
    if not models:
        return Verdict(4, objective, NOT_TESTABLE, "no model met attacks of both kinds")
    found = {
        measure: read.study.summary.weighted([(w / models, group, name, met) for w, group, name, met in parts])
        for measure, parts in terms.items()
    }
    if not all(estimate.defined for estimate in found.values()):
        return Verdict(4, objective, NOT_TESTABLE, "a correlation is undefined")
    listed = " and ".join(
        f"{shown(estimate, MEASURES[measure].digits)} in {MEASURES[measure].title}"
        for measure, estimate in found.items()
    )
    held = all(estimate.value > 0 for estimate in found.values())
    why = f"the gain under white-box attacks is larger by {listed}, mean of {models} model{'s' * (models != 1)}"
    return Verdict(4, objective, HELD if held else NOT_HELD, why)


def shown(estimate: Estimate, digits: int) -> str:
    """`+0.12 [+0.10, +0.14]`."""
    cell = Cell(estimate, digits, signed=True)
    return f"{cell.value} {cell.interval}".strip()


def _sign(measure: str) -> int:
    return 1 if MEASURES[measure].higher_is_better else -1


def _beyond_chance(estimate: Estimate) -> bool:
    ends = estimate.interval.low, estimate.interval.high
    return not any(map(math.isnan, ends)) and ends[0] * ends[1] > 0


def _cell_name(measure: str) -> str:
    against = "opinions" if MEASURES[measure].against == "mos" else "before and after"
    return f"{MEASURES[measure].title}, {against}"


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


def observation_sentences(read: BenchmarkStudy) -> Iterator[str]:
    """Every verdict in a sentence."""
    yield from (verdict.sentence for verdict in verdicts(read))
