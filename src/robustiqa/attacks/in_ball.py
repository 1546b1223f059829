"""What attacks share that climb inside a ball of either norm: its choice, starts, random models, when to stop."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustiqa.attacks.base import GradientAttack, quiet_field
from robustiqa.attacks.objectives import Approach
from robustiqa.core.attack import Oracle
from robustiqa.core.checks import check_positive_integer
from robustiqa.core.errors import InputError
from robustiqa.core.objective import Goal, Push


@dataclass(frozen=True, kw_only=True)
class BallAttack(GradientAttack):
    """Base of iterative attacks on an L-infinity or an L2 budget.

    Args:
        eps: Budget, in `norm`; an L2 length over all values of the photo, which may exceed 1.
        objective: As in `NamedAttack`; one that is flat at the clean image needs `random_start`.
        seed: Of random starts.
        norm: `linf` or `l2`.
        random_start: Whether to start from a point drawn uniformly from the ball, one for each photo.
        eot: Passes whose gradients and scores are averaged at each point (expectation over transformation,
            Athalye et al. 2018), for models that draw at random; 1 for all others.
        score_bound: Stop a photo once its score is on the goal's side of this score, or at it; for objectives that
            lower or raise. A photo whose clean score is there already is left alone.
        tolerance: Stop a photo once its score is this close to that of `target`; for that objective.
    """

    norm: str = quiet_field("linf")
    random_start: bool = False
    eot: int = quiet_field(1)
    score_bound: float | None = None
    tolerance: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive_integer(self.eot, "eot")
        for name, least in (("score_bound", -math.inf), ("tolerance", 0.0)):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and math.isfinite(value) and value >= least):
                at_least = " of at least 0" if least == 0 else ""
                raise InputError(f"{name} must be a finite number{at_least} on the model's score scale, got {value!r}.")

    @property
    def leaves_clean_image(self) -> bool:
        """Whether the start is random."""
        return self.random_start

    def perturb(self, oracle: Oracle, images: Tensor, goal: Goal, generators: Sequence[torch.Generator]) -> Tensor:
        """Adversarial images, from the clean ones or a random start."""
        return self.perturb_from(images, oracle, images, goal, generators)

    @abstractmethod
    def perturb_from(
        self, start: Tensor, oracle: Oracle, images: Tensor, goal: Goal, generators: Sequence[torch.Generator]
    ) -> Tensor:
        """As `perturb`, from `start` (N, 3, H, W) inside the ball; a photo that is still clean there may leave it."""

    def begin(self, start: Tensor, images: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Where the first gradient is taken: `start`, or a random point of photos that are still clean there."""
        if not self.random_start:
            return start  # the very tensor: the oracle knows the gradient at the clean images already
        clean = (start == images).flatten(1).all(1)
        return torch.where(clean[:, None, None, None], self.ball.random_point(images, generators), start)

    def ascent(self, oracle: Oracle, images: Tensor, goal: Goal, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The goal's gradient and the scores, each the mean over `eot` passes; see `Oracle.ascent`."""
        if self.eot == 1:
            return oracle.ascent(images, goal, rows)
        gradient, scores = torch.zeros_like(images), images.new_zeros(len(images))
        for _ in range(self.eot):
            once, scored = oracle.ascent(images.clone(), goal, rows)  # a clone: each pass is a new one
            gradient, scores = gradient + once / self.eot, scores + scored / self.eot
        return gradient, scores

    def scores(self, oracle: Oracle, images: Tensor, rows: Tensor) -> Tensor:
        """Scores, the mean over `eot` passes; see `Oracle.scores`."""
        return torch.stack([oracle.scores(images, rows) for _ in range(self.eot)]).mean(0)

    def reached(self, goal: Goal, scores: Tensor) -> Tensor:
        """Which photos may stop, (n,).

        Raises:
            InputError: if the rule that is set does not go with the goal.
        """
        if self.score_bound is not None:
            if not isinstance(goal, Push):
                raise InputError(
                    f"score_bound stops objectives that lower or raise scores, not {self._goal_name!r}; leave it out."
                )
            return goal.signs * scores >= goal.signs * self.score_bound
        if self.tolerance is not None:
            if not isinstance(goal, Approach):
                raise InputError(f"tolerance stops the objective 'target', not {self._goal_name!r}; leave it out.")
            return (scores - goal.score).abs() <= self.tolerance
        return torch.zeros_like(scores, dtype=torch.bool)

    @property
    def _goal_name(self) -> str:
        return str(getattr(self.objective, "name", self.objective))


def all_rows(images: Tensor) -> Tensor:
    """0, 1, ..., N - 1."""
    return torch.arange(len(images), device=images.device)


def some(values: Tensor, rows: Tensor) -> Tensor:
    """`values[rows]`; the very tensor if `rows`, which are sorted and distinct, are all."""
    return values if len(rows) == len(values) else values[rows]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
