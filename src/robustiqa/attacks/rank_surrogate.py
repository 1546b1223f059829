"""A rank surrogate: the share of nearby scores that a photo's score passes, as a smooth number to climb.

A rank has no gradient, so its place is taken by the share of other photos that are overtaken, counted as if their
scores lay around the photo's own by a Cauchy distribution of a tenth of the scale: most are near, and however far a
score has gone, some are still ahead, so that the gradient never vanishes. No other photo is asked about: what an attack
finds must not depend on its company.
For a score that is always the same the share rises just when the score does, and an attack that follows signs of
gradients and compares values, such as APGD, takes the very steps that it takes to the score itself. It differs where
scores are drawn at random: the mean share weighs most the draws that have passed few others yet, where the mean score
weighs all draws alike.
Source: ours; that a published attack on ranks puts a sum of sigmoids in their place is common in learning to rank
(Qin, Liu and Li 2010, "A general approximation framework for direct optimization of information retrieval measures").
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from robustiqa.core.model import ScoreScale
from robustiqa.core.objective import Goal, Objective, Push

WIDTH = 0.1  # of the score scale: half of the other scores lie this near


@dataclass(frozen=True)
class PassedShare:
    """The goal: the share of other scores that a score passes from its clean one on, in (-1/2, 1/2).

    Attributes:
        signs: +1 where passing is rising, -1 where it is falling, (N,).
        clean_scores: Around which the others lie, (N,).
        width: Within which half of them lie, in score points.
    """

    signs: Tensor
    clean_scores: Tensor
    width: float

    def __call__(self, scores: Tensor) -> Tensor:
        """The share passed, (N,); negative where the score went the other way."""
        return torch.atan(self.signs * (scores - self.clean_scores) / self.width) / math.pi

    @property
    def degree(self) -> int:
        """1: near the clean score it grows as the score does."""
        return 1

    def at(self, rows: Tensor) -> PassedShare:
        """The goal of some photos."""
        return replace(self, signs=self.signs[rows], clean_scores=self.clean_scores[rows])


def by_rank(goal: Goal, clean_scores: Tensor, scale: ScoreScale) -> Goal:
    """The rank surrogate of a direction; any other goal is returned as it is."""
    if not isinstance(goal, Push):
        return goal
    return PassedShare(goal.signs, clean_scores, WIDTH * scale.span)


@dataclass(frozen=True)
class ByRank(Objective):
    """The goals of an objective, each direction by its rank surrogate.

    Args:
        objective: What is to happen to the scores.
    """

    name: ClassVar[str] = "by_rank"

    objective: Objective

    def goals(self, clean_scores: Tensor, scale: ScoreScale) -> tuple[Goal, ...]:
        """As many as the objective has."""
        return tuple(by_rank(goal, clean_scores, scale) for goal in self.objective.goals(clean_scores, scale))
