"""FGSM and I-FGSM: signed steps along the input gradient of the goal.

Threat model: white-box.
Cost: FGSM one forward and one backward pass a goal, I-FGSM `steps` of each; a first pass at the clean image
is the clean pass itself where the goal is a push. `worst_of_both` has two goals, every other objective one.
Source: Goodfellow et al. 2015 (FGSM); Kurakin et al. 2017 (I-FGSM); Liu et al. 2024, supplement, for both on
quality models with the loss L_mid (the objective `farther_end`).
Deviations: the published demo is set to eps .03 but takes one step of .01, so its change is .01; here `fgsm`
steps by all of `eps`. Defaults are ours: the objective
`worst_of_both` and, for `ifgsm`, a step of 2.5 * eps / steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robustiqa.attacks.base import GradientAttack, pixel_field, random_in_ball
from robustiqa.core.attack import Oracle
from robustiqa.core.checks import check_positive_integer, parse_fraction
from robustiqa.core.errors import InputError
from robustiqa.core.objective import Goal
from robustiqa.core.pixels import project_linf


@dataclass(frozen=True, kw_only=True)
class FGSM(GradientAttack):
    """Moves every pixel by `eps` along the sign of the gradient: the best change there is for a linear score.

    Args:
        eps: Budget and step.
        objective: As in `NamedAttack`; one that is flat at the clean image is refused.
        seed: Not used.

    Source: Goodfellow et al. 2015, section 4.
    """

    name: ClassVar[str] = "fgsm"

    def perturb(self, oracle: Oracle, images: Tensor, goal: Goal, generators: Sequence[torch.Generator]) -> Tensor:
        """One signed step; a pixel without a gradient stays."""
        direction, _ = oracle.ascent(images, goal)
        return project_linf(images + self.budget * direction.sign(), images, self.budget)


@dataclass(frozen=True, kw_only=True)
class IFGSM(GradientAttack):
    """Repeats small signed steps, each projected onto the budget; returns the last iterate, as published.

    Args:
        eps: Budget.
        objective: As in `NamedAttack`; one that is flat at the clean image needs `random_start`.
        seed: Of the random start.
        steps: Signed steps to take.
        step_size: Length of each, in [0, 1] pixel units, a number or a fraction; None for 2.5 * eps / steps,
            enough to cross the ball.
        random_start: Whether to start from a point drawn uniformly from the ball, one for each photo.

    Source: Kurakin et al. 2017, equation 2; the random start is Madry et al.'s (2018).
    """

    name: ClassVar[str] = "ifgsm"

    steps: int = 10
    step_size: float | str | None = pixel_field(None, resolved="step")
    random_start: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive_integer(self.steps, "steps")
        if self.step_size is not None and parse_fraction(self.step_size, "step_size") == 0:
            raise InputError("step_size must be greater than 0, got 0; leave it out for 2.5 * eps / steps.")

    @property
    def step(self) -> float:
        """`step_size` as a number."""
        if self.step_size is None:
            return 2.5 * self.budget / self.steps
        return parse_fraction(self.step_size, "step_size")

    @property
    def leaves_clean_image(self) -> bool:
        """Whether the start is random."""
        return self.random_start

    def perturb(self, oracle: Oracle, images: Tensor, goal: Goal, generators: Sequence[torch.Generator]) -> Tensor:
        """The iterate after the last step."""
        adversarial = images  # the very tensor: the oracle knows its gradient already
        if self.random_start:
            adversarial = project_linf(random_in_ball(images, self.budget, generators), images, self.budget)
        for _ in range(self.steps):
            direction, _ = oracle.ascent(adversarial, goal)
            adversarial = project_linf(adversarial + self.step * direction.sign(), images, self.budget)
        return adversarial
