"""Tables of attacks, declared: which attacks meet which photographs of which models, and what is claimed of them.

A plan has sets of photographs, each with the attacks that its table shows. A query curve adds runs of one attack at
several budgets of queries, and of rivals at several sizes, among which `robustiqa.evaluation.matching` picks.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from robustiqa.attacks.base import NamedAttack
from robustiqa.attacks.objectives import FartherEnd, Lower, Raise, RankSplit, create_objective
from robustiqa.core.dataset import Dataset
from robustiqa.core.model import QualityModel
from robustiqa.core.objective import Objective
from robustiqa.evaluation.run import evaluate

BOTH_WAYS = ("worst_of_both", "rank_split", "farther_end")  # are read from a run down and a run up
QUICK_PHOTOS, QUICK_STEPS, QUICK_SHARE = 3, 2, 100  # photos, steps, and what queries are divided by
LEAST_QUERIES = 5
MEDIAN_DIGITS = 3  # of a median that is a threshold: a run that goes on elsewhere finds the same


@dataclass(frozen=True)
class Run:
    """An attack toward one goal, as records tell them apart.

    Attributes:
        attack: With its objective.
        goal: What its records are of; `rank_split` or `farther_end` where each photo meets one direction alone.
    """

    attack: NamedAttack
    goal: str

    def on(self, model: QualityModel, photos: Dataset, **options: Any) -> NamedAttack:
        """The attack with the objective of the goal: `rank_split` needs the model's own median of clean scores.

        Args:
            model: The one attacked.
            photos: All that meet the attack.
            options: Of `evaluate`, which scores them.
        """
        if self.goal == "farther_end":
            return replace(self.attack, objective=FartherEnd(once=True))
        if self.goal == "rank_split":
            clean = evaluate(model, photos, **options)
            median = statistics.median(record.score for record in clean.records)
            return replace(self.attack, objective=RankSplit(threshold=round(median, MEDIAN_DIGITS), once=True))
        return self.attack


@dataclass(frozen=True, kw_only=True)
class PhotoSet:
    """Photographs and the attacks that meet them.

    Attributes:
        name: What tables call it.
        attacks: Shown in its table.
        photos: How many, the first in the order of their keys' hashes; all if None.
        crop: Side of the center crop that stands for each photograph; None for whole photographs.
        left_out: Attacks that can not be run here, and why.
    """

    name: str
    attacks: tuple[NamedAttack, ...]
    photos: int | None = None
    crop: int | None = None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class CurvePoint:
    """One budget of queries.

    Attributes:
        queries: The budget.
        attack: The attack with it.
        rivals: Name to runs of one rival at several sizes, small ones first.
    """

    queries: int
    attack: NamedAttack
    rivals: Mapping[str, tuple[NamedAttack, ...]]


@dataclass(frozen=True, kw_only=True)
class QueryCurve:
    """What an attack reaches with more and more queries, beside rivals that change photographs as much.

    Attributes:
        photo_set: Name of the set that is attacked.
        points: One for each budget, in ascending order.
        objectives: Under which it is shown; the first is drawn.
        models: Labels of the models that it is drawn for; all if None.
        once: Whether photos meet only the direction that an objective picks, at half the price of both.
    """

    photo_set: str
    points: tuple[CurvePoint, ...]
    objectives: tuple[str, ...]
    models: tuple[str, ...] | None = None
    once: bool = False

    @property
    def attacks(self) -> tuple[NamedAttack, ...]:
        """All that must be run for it."""
        rivals = (attack for point in self.points for offered in point.rivals.values() for attack in offered)
        return (*(point.attack for point in self.points), *rivals)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """That one attack moves scores farther than another.

    Attributes:
        photo_set: Name of the set on which it does.
        attack: The stronger one.
        against: The other.
        percent: By which share of the mean change at least.
    """

    photo_set: str
    attack: NamedAttack
    against: NamedAttack
    percent: float


@dataclass(frozen=True, kw_only=True)
class AttackPlan:
    """All of it.

    Attributes:
        title: Of its page.
        models: Labels, in the order of tables.
        part: Of the dataset's split.
        sets: Photographs and attacks.
        curve: None for none.
        claim: None for none.
        quick: Whether this is a small version that shows nothing but that it runs.
    """

    title: str
    models: tuple[str, ...]
    part: str
    sets: tuple[PhotoSet, ...]
    curve: QueryCurve | None = None
    claim: Claim | None = None
    quick: bool = False

    def runs(self, photos: PhotoSet, model: str | None = None) -> list[Run]:
        """What a set's photographs meet, each once, in the order of its table and the curve.

        Args:
            photos: One of the plan's sets.
            model: Label of the model that is attacked; what any of them meets if None.
        """
        found: dict[tuple[str, str], Run] = {}
        for attack in photos.attacks:
            for objective in _goals(create_objective(attack.objective)):
                run = Run(replace(attack, objective=objective), objective.name)
                found.setdefault((attack.label, run.goal), run)
        curve = self.curve
        if curve is None or curve.photo_set != photos.name:
            return list(found.values())
        if model is None or curve.models is None or model in curve.models:
            for attack in curve.attacks:
                for run in _curve_runs(curve, attack):
                    if run.goal not in BOTH_WAYS or (attack.label, "lower") not in found:
                        found.setdefault((attack.label, run.goal), run)
        return list(found.values())

    def notes(self, photos: PhotoSet) -> dict[str, Any]:
        """What a report must know of a set, as plain values: attacks by their labels."""
        names = [one.name for one in self.sets]
        noted: dict[str, Any] = {
            "title": self.title,
            "quick": self.quick,
            "set": photos.name,
            "place": names.index(photos.name),
            "shown": list(dict.fromkeys(attack.label for attack in photos.attacks)),
            "left_out": list(photos.left_out),
        }
        if self.claim is not None and self.claim.photo_set == photos.name:
            noted["claim"] = {
                "attack": self.claim.attack.label,
                "against": self.claim.against.label,
                "percent": self.claim.percent,
            }
        if self.curve is not None and self.curve.photo_set == photos.name:
            noted["curve"] = {
                "name": self.curve.points[0].attack.name,
                "objectives": list(self.curve.objectives),
                "points": [_point_notes(point) for point in self.curve.points],
            }
        return noted

    def made_quick(self) -> AttackPlan:
        """The same with few photographs, steps and queries, marked as such."""
        return replace(
            self,
            sets=tuple(
                replace(one, photos=min(one.photos or QUICK_PHOTOS, QUICK_PHOTOS), attacks=_quick_all(one.attacks))
                for one in self.sets
            ),
            claim=None if self.claim is None else _quick_claim(self.claim),
            curve=None if self.curve is None else _quick_curve(self.curve),
            quick=True,
        )


def _quick_claim(claim: Claim) -> Claim:
    return replace(claim, attack=quick_attack(claim.attack), against=quick_attack(claim.against))


def _quick_curve(curve: QueryCurve) -> QueryCurve:
    points = (
        CurvePoint(
            _quick_queries(point.queries),
            quick_attack(point.attack),
            {name: _quick_all(offered) for name, offered in point.rivals.items()},
        )
        for point in curve.points
    )
    return replace(curve, points=tuple(points))


def quick_attack(attack: NamedAttack) -> NamedAttack:
    """The attack with few steps, or a hundredth of its queries."""
    values: dict[str, Any] = {}
    for part in fields(attack):
        value = getattr(attack, part.name)
        if part.name in ("queries", "query_budget"):
            values[part.name] = _quick_queries(value)
        elif part.name in ("steps", "min_steps", "samples"):
            values[part.name] = min(value, QUICK_STEPS)
        elif part.name == "preset":
            values[part.name] = "quick"
    return replace(attack, **values)


def _quick_all(attacks: tuple[NamedAttack, ...]) -> tuple[NamedAttack, ...]:
    return tuple(quick_attack(attack) for attack in attacks)


def _quick_queries(queries: int) -> int:
    return min(queries, max(LEAST_QUERIES, queries // QUICK_SHARE))


def _goals(objective: Objective) -> tuple[Objective, ...]:
    return (Lower(), Raise()) if objective.name in BOTH_WAYS else (objective,)


def _curve_runs(curve: QueryCurve, attack: NamedAttack) -> list[Run]:
    if not curve.once:
        return [Run(replace(attack, objective=objective), objective.name) for objective in (Lower(), Raise())]
    return [Run(attack, name) for name in curve.objectives]


def _point_notes(point: CurvePoint) -> dict[str, Any]:
    rivals = {name: [attack.label for attack in offered] for name, offered in point.rivals.items()}
    return {"queries": point.queries, "attack": point.attack.label, "rivals": rivals}
