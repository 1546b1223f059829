"""Runs of an evaluation, as diagnostics compare them: one attack with one goal on one model, photo by photo."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from robustiqa.attacks.names import BLACK_BOX_MEMBERS
from robustiqa.evaluation.records import CLEAN, Record

BUDGET_OPTIONS = ("eps", "step_size")  # differ where attacks are alike but for their budget
LENGTH_OPTIONS = ("steps", "queries", "step_size")  # likewise for how long they run
SIGNS = {"lower": -1.0, "raise": 1.0}
UNRANKED = ("target",)  # goals for which a larger change is no better


@dataclass(frozen=True)
class Run:
    """Records of one attack with one goal, scored by one model.

    Attributes:
        scored_by: Label of the model that scored.
        attacked_on: Label of the model that was attacked.
        attack: Label of the attack.
        goal: `lower`, `raise`, ...
        variant: `end_to_end` or `patchwise`.
        records: One a photo.
        member: Of an ensemble, if the run is of it alone.
    """

    scored_by: str
    attacked_on: str
    attack: str
    goal: str
    variant: str
    records: tuple[Record, ...]
    member: str = ""

    @property
    def title(self) -> str:
        """The attack, and which member of it, in words."""
        return f"{self.member} of {self.attack}" if self.member else self.attack

    @cached_property
    def members(self) -> tuple[Run, ...]:
        """An ensemble's members as runs of their own, whose images in float are not known; else the run itself."""
        names = [name for name in self.records[0].member_scores if name != CLEAN]
        return tuple(self._of(name) for name in names) if names else (self,)

    def _of(self, name: str) -> Run:
        blind = name in BLACK_BOX_MEMBERS
        alone = (
            replace(
                one,
                score=one.member_scores[name],
                float_score=math.nan,
                gradients=0 if blind else one.gradients,
            )
            for one in self.records
        )
        return replace(self, records=tuple(alone), member=name)

    @property
    def eps(self) -> float:
        """The budget, in [0, 1] units."""
        return self.records[0].eps

    @property
    def levels(self) -> int:
        """Whole 8-bit levels of it."""
        return self.records[0].levels

    @cached_property
    def gradients(self) -> int:
        """Backward passes that the attack spent on the photo that took most."""
        return max(record.gradients for record in self.records)

    @property
    def white_box(self) -> bool:
        """Whether gradients of the model that scored were followed."""
        return self.scored_by == self.attacked_on and self.gradients > 0

    @cached_property
    def looks(self) -> bool:
        """Whether the attack asked the model anything; random signs do not."""
        return self.gradients > 0 or any(record.queries > 0 for record in self.records)

    @cached_property
    def gains(self) -> dict[str, float]:
        """How far each photo's 8-bit score moved toward the goal, in score points, by key."""
        return {record.key: self._toward_goal(record.score - record.clean_score) for record in self.records}

    @cached_property
    def float_gains(self) -> dict[str, float]:
        """The same of the float images."""
        return {record.key: self._toward_goal(record.float_score - record.clean_score) for record in self.records}

    def _toward_goal(self, change: float) -> float:
        return SIGNS[self.goal] * change if self.goal in SIGNS else abs(change)

    def family(self, dropped: Collection[str]) -> tuple[str, ...]:
        """The attack's name and options, without some: equal for attacks that differ in those alone."""
        name, _, options = self.attack.partition("(")
        parts = options.removesuffix(")").split(", ")
        return (name, *(part for part in parts if part.partition("=")[0] not in dropped))

    @property
    def length(self) -> int | None:
        """Its `steps` or `queries`; None where its label names neither."""
        options = dict(part.split("=", 1) for part in self.family(())[1:] if "=" in part)
        return next((int(options[name]) for name in ("steps", "queries") if options.get(name, "").isdigit()), None)


def group_runs(records: Iterable[Record], model: str) -> list[Run]:
    """The runs that one model scored, in the order they were made; goals that rank no attack are left out."""
    found: dict[tuple[str, str, str, str], list[Record]] = {}
    for record in records:
        if record.scored_by == model and record.attack != CLEAN and record.goal not in UNRANKED:
            found.setdefault((record.attacked_on, record.attack, record.goal, record.variant), []).append(record)
    return [Run(model, *named, tuple(sorted(group, key=lambda r: r.key))) for named, group in found.items()]


def common_keys(runs: Sequence[Run]) -> list[str]:
    """Photos that all of some runs met, sorted."""
    return sorted(set.intersection(*(set(run.gains) for run in runs))) if runs else []


def mean_gain(run: Run, keys: Sequence[str]) -> float:
    """Mean over photos of how far the run moved them."""
    return math.fsum(run.gains[key] for key in keys) / len(keys)
