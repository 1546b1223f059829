"""MI-FGSM: steps along a momentum of normalized gradients.

Threat model: white-box.
Cost: `steps` forward and backward passes a goal, times `eot`; a first pass at the clean image is the clean pass itself
where the goal is a push. A photo that stops early costs no more.
Source: Dong, Liao, Pang, Su, Zhu, Hu, Li 2018, Boosting Adversarial Attacks with Momentum, Algorithm 1 (equations 6 and
7, L-infinity) and section 3.3 (L2).
Deviations: each step is projected onto ball and pixel range, which the paper's step of eps / steps needs for the range
alone. Published ports divide the gradient by its mean absolute value in place of its L1 norm; the direction is the
same. The random start, `eot` and the stops are ours. Like I-FGSM, it returns its last iterate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robustiqa.attacks.base import pixel_field
from robustiqa.attacks.in_ball import BallAttack, all_rows, some
from robustiqa.core.attack import Oracle
from robustiqa.core.balls import parse_size
from robustiqa.core.checks import check_positive_integer
from robustiqa.core.errors import InputError
from robustiqa.core.objective import Goal


@dataclass(frozen=True, kw_only=True)
class MIFGSM(BallAttack):
    """Steps along a momentum of L1-normalized gradients, each projected onto the budget; returns the last iterate.

    Args:
        eps: As in `BallAttack`, like all that follow up to `tolerance`.
        objective: What to do to the scores.
        seed: Of the random start.
        norm: `linf` or `l2`.
        random_start: Whether to start from a random point.
        eot: Passes to average.
        score_bound: Where a push may stop.
        tolerance: How close to `target` is close enough.
        steps: Steps to take.
        step_size: Length of each, in `norm`; None for eps / steps, the paper's.
        decay: Of the momentum, mu; 0 forgets all but the newest gradient, which is I-FGSM.

    Source: Dong et al. 2018, Algorithm 1.
    """

    name: ClassVar[str] = "mifgsm"

    steps: int = 10
    step_size: float | str | None = pixel_field(None, resolved="step")
    decay: float = 1.0  # Dong et al. 2018

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive_integer(self.steps, "steps")
        if self.step_size is not None and parse_size(self.step_size, self.norm, "step_size") == 0:
            raise InputError("step_size must be greater than 0, got 0; leave it out for eps / steps.")
        if not (isinstance(self.decay, int | float) and math.isfinite(self.decay) and self.decay >= 0):
            raise InputError(f"decay must be a finite number of at least 0, got {self.decay!r}.")

    @property
    def step(self) -> float:
        """`step_size` as a number."""
        if self.step_size is None:
            return self.budget / self.steps
        return parse_size(self.step_size, self.norm, "step_size")

    def perturb_from(
        self, start: Tensor, oracle: Oracle, images: Tensor, goal: Goal, generators: Sequence[torch.Generator]
    ) -> Tensor:
        """The iterate after the last step, or the one that met the stop."""
        rows = all_rows(images)[~self.reached(goal, oracle.clean_scores)]  # photos that go on, (n,)
        found, point = images, some(self.begin(start, images, generators), rows)
        momentum = torch.zeros_like(point)
        for _ in range(self.steps):
            if not len(rows):
                break
            gradient, scores = self.ascent(oracle, point, goal.at(rows), rows)
            stops = self.reached(goal.at(rows), scores)
            if stops.any():
                found = found.index_copy(0, rows[stops], point[stops])
                rows, point, gradient, momentum = (part[~stops] for part in (rows, point, gradient, momentum))
            momentum = self.decay * momentum + _over_l1_norm(gradient)  # eq. 6
            moved = point + self.step * self.ball.steepest(momentum)  # eq. 7
            point = self.ball.project(moved, some(images, rows))
        return found.index_copy(0, rows, point)


def _over_l1_norm(gradient: Tensor) -> Tensor:
    """Each image's gradient over its L1 norm; one that is zero stays."""
    length = gradient.abs().sum((1, 2, 3), keepdim=True)
    return gradient / torch.where(length > 0, length, 1)
