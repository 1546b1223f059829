"""What to do to the scores: every objective by name.

The choice changes what a table shows. `farther_end` is the paper's; where most scores lie on one side of
mid-scale it moves nearly all of them together, which keeps their ranks. `worst_of_both` and `rank_split` do
not have that gap.
"""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from robustiqa.attacks.names import objectives as objectives
from robustiqa.core.errors import InputError
from robustiqa.core.model import ScoreScale
from robustiqa.core.objective import Goal, Objective, push


def create_objective(objective: str | Objective, **options: Any) -> Objective:
    """The objective of that name; one that was built already is returned as it is.

    Args:
        objective: Registry name, such as `worst_of_both`, or an `Objective`.
        options: Its fields, such as `threshold=50.0` for `rank_split`.

    Raises:
        UnknownNameError: if no objective has that name.
        InputError: if a field is unknown or missing, or fields come with an objective that was built already.
    """
    if isinstance(objective, Objective):
        if options:
            raise InputError(f"fields of an objective go with its name, got {objective!r} and {sorted(options)}.")
        return objective
    if not isinstance(objective, str):
        raise InputError(f"objective must be a name or an Objective, got {type(objective).__name__}.")
    for part in fields(objectives.get(objective)):
        if part.default is MISSING and part.name not in options:
            raise InputError(
                f"objective {objective!r} needs a {part.name}; build it with "
                f"create_objective({objective!r}, {part.name}=...)."
            )
    return objectives.create(objective, **options)


@dataclass(frozen=True)
class Lower(Objective):
    """Every score down."""

    name: ClassVar[str] = "lower"

    def goals(self, clean_scores: Tensor, scale: ScoreScale) -> tuple[Goal, ...]:
        """One goal: minus the score."""
        return (push(clean_scores, -1.0),)


@dataclass(frozen=True)
class Raise(Objective):
    """Every score up."""

    name: ClassVar[str] = "raise"

    def goals(self, clean_scores: Tensor, scale: ScoreScale) -> tuple[Goal, ...]:
        """One goal: the score."""
        return (push(clean_scores, 1.0),)


@dataclass(frozen=True)
class FartherEnd(Objective):
    """Scores above mid-scale down, all others up: toward the end of the scale that is farther away.

    Args:
        once: See `RankSplit`.

    Source: Liu et al. 2024, the loss that their supplement calls L_mid.
    Deviations: the middle is the model's own scale's, where the published code has 50.
    """

    name: ClassVar[str] = "farther_end"

    once: bool = False

    def goals(self, clean_scores: Tensor, scale: ScoreScale) -> tuple[Goal, ...]:
        """One goal, its direction decided image by image."""
        return (_push_apart(clean_scores, scale.middle),)


@dataclass(frozen=True)
class WorstOfBoth(Objective):
    """Lowers and raises every score in two runs; the larger change is kept, photo by photo."""

    name: ClassVar[str] = "worst_of_both"

    def goals(self, clean_scores: Tensor, scale: ScoreScale) -> tuple[Goal, ...]:
        """Two goals: lowering (0) and raising (1)."""
        return (push(clean_scores, -1.0), push(clean_scores, 1.0))


@dataclass(frozen=True)
class RankSplit(Objective):
    """Scores above `threshold` down, all others up: what reverses ranks most with one direction a photo.

    Args:
        threshold: The model's own median score over the clean evaluation set, so that no batch decides it.
        once: Whether an evaluation attacks each photo in that direction alone, at half the price. By default it runs
            both, from which this and other objectives can be read.
    """

    name: ClassVar[str] = "rank_split"

    threshold: float
    once: bool = False

    def __post_init__(self) -> None:
        _check_finite(self.threshold, "threshold")

    def goals(self, clean_scores: Tensor, scale: ScoreScale) -> tuple[Goal, ...]:
        """One goal, its direction decided image by image."""
        return (_push_apart(clean_scores, self.threshold),)


@dataclass(frozen=True)
class AbsoluteShift(Objective):
    """Away from the clean score, in whichever direction the first step leads.

    Source: Liu et al. 2024, published code, a commented-out loss.
    Deviations: there its sign is that of a descent, which would pull scores back; here it is climbed.
    """

    name: ClassVar[str] = "absolute_shift"
    flat_at_start: ClassVar[bool] = True

    def goals(self, clean_scores: Tensor, scale: ScoreScale) -> tuple[Goal, ...]:
        """One goal: the absolute change."""
        return (_Shift(clean_scores, power=1),)


@dataclass(frozen=True)
class SquaredShift(Objective):
    """As `absolute_shift`, squared: the same direction for signed steps, larger gradients for weighted ones.

    Source: Liu et al. 2024, published code, a commented-out loss.
    """

    name: ClassVar[str] = "squared_shift"
    flat_at_start: ClassVar[bool] = True

    def goals(self, clean_scores: Tensor, scale: ScoreScale) -> tuple[Goal, ...]:
        """One goal: the squared change."""
        return (_Shift(clean_scores, power=2),)


@dataclass(frozen=True)
class Target(Objective):
    """Every score toward one value.

    Args:
        score: Where to, on the model's scale.

    Source: Yang et al. 2024 (score-manipulating attack, arXiv 2404.13277), second stage.
    """

    name: ClassVar[str] = "target"

    score: float

    def __post_init__(self) -> None:
        _check_finite(self.score, "score")

    def goals(self, clean_scores: Tensor, scale: ScoreScale) -> tuple[Goal, ...]:
        """One goal: minus the squared distance to `score`."""
        return (Approach(self.score),)


@dataclass(frozen=True)
class _Shift:
    clean_scores: Tensor  # (N,)
    power: int

    def __call__(self, scores: Tensor) -> Tensor:
        return (scores - self.clean_scores).abs() ** self.power

    @property
    def degree(self) -> int:
        return self.power

    def at(self, rows: Tensor) -> _Shift:
        return replace(self, clean_scores=self.clean_scores[rows])


@dataclass(frozen=True)
class Approach:
    """The goal of `target`: minus the squared distance to `score`."""

    score: float

    def __call__(self, scores: Tensor) -> Tensor:
        """Largest, 0, at the target."""
        return -((scores - self.score) ** 2)

    @property
    def degree(self) -> int:
        """2: a squared difference."""
        return 2

    def at(self, rows: Tensor) -> Approach:
        """The target of some photos, which is that of all."""
        return self


@dataclass(frozen=True)
class OneGoal(Objective):
    """One of an objective's goals, to be run by itself.

    Args:
        objective: What it is of.
        place: Which of its goals.
    """

    name: ClassVar[str] = "one_goal"

    objective: Objective
    place: int

    def goals(self, clean_scores: Tensor, scale: ScoreScale) -> tuple[Goal, ...]:
        """That goal."""
        return (self.objective.goals(clean_scores, scale)[self.place],)


def _push_apart(clean_scores: Tensor, threshold: float) -> Goal:
    """Down above `threshold`, up at it and below."""
    above = clean_scores > threshold
    return push(clean_scores, torch.where(above, -1.0, 1.0))


def _check_finite(value: float, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{name} must be a finite number on the model's score scale, got {value!r}.")
