"""APGD (Auto-PGD): projected gradient ascent that chooses its own step sizes and keeps the best point it saw.

Every photo has a step of its own. It starts at twice the budget and is halved at a checkpoint where the photo has made
too little progress since the last one; the photo then goes on from its best point. There is no step size to tune.

Threat model: white-box.
Cost: a run takes `steps` backward and `steps` + 1 forward passes a goal, times `eot`; `restarts` are further runs. A
first pass at the clean image is the clean pass itself where the goal is a push. A photo that stops early costs no more.
Source: Croce and Hein 2020, Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free
Attacks, Algorithm 1 and section 3.
Deviations: what climbs is the objective itself, for a score needs no scale-free loss. The first run starts at the
clean image unless `random_start` is set, and the clean image is a candidate for the best point (with `eot`, if a run
starts there). A checkpoint is judged as soon as its point is scored, as the published code does, and not a step later.
The L2 projection is exact where values hit 0 or 1.
Published defects that are not reproduced: the first checkpoint compares its first score with an empty entry at the end
of the list, and can't see that nothing improved; checkpoints drift where their rounded spacings do not add up to those
of section 3; progress of just the share `RHO` counts as too little; the last gradient is never used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor

from robustiqa.attacks.base import quiet_field
from robustiqa.attacks.in_ball import BallAttack, all_rows, some
from robustiqa.core.attack import Oracle
from robustiqa.core.checks import check_positive_integer
from robustiqa.core.errors import InputError
from robustiqa.core.objective import Goal

MOMENTUM = 0.75  # Croce and Hein 2020, Algorithm 1: alpha, the weight of the new step
RHO = 0.75  # section 3: the share of steps that must climb
FIRST_STEP = 2.0  # section 3, in units of eps
RESTARTS_FROM = ("random", "best")


def checkpoints(steps: int) -> list[int]:
    """The steps after which progress is judged: ceil(p_j * steps) for p = .22, .41, .57, .7, .8, .87, .93, .99.

    Each spacing is .03 smaller than the one before and at least .06 (section 3). Counted in hundredths, so
    that no rounding error moves one. A checkpoint at the last step has nothing to decide and is left out.
    """
    found, last, now = set(), 0, 22
    while now < 100:
        found.add(-(-now * steps // 100))
        last, now = now, now + max(now - last - 3, 6)
    return sorted(found - {steps})


@dataclass(frozen=True, kw_only=True)
class APGD(BallAttack):
    """Projected gradient ascent with momentum and a step for each photo that halves itself; returns the best point.

    Args:
        eps: As in `BallAttack`, like all that follow up to `tolerance`.
        objective: What to do to the scores.
        seed: Of random starts.
        norm: `linf` or `l2`.
        random_start: Whether the first run, too, starts from a random point.
        eot: Passes to average.
        score_bound: Where a push may stop.
        tolerance: How close to `target` is close enough.
        steps: Steps of a run.
        restarts: Runs after the first.
        restart_from: Where those start: `random` (a new point of the ball) or `best` (the best point so far, with
            the step back at its first size).

    Source: Croce and Hein 2020, Algorithm 1.
    """

    name: ClassVar[str] = "apgd"

    steps: int = 50
    restarts: int = quiet_field(0)
    restart_from: str = quiet_field("random")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive_integer(self.steps, "steps")
        if isinstance(self.restarts, bool) or not isinstance(self.restarts, int) or self.restarts < 0:
            raise InputError(f"restarts must be a whole number of at least 0, got {self.restarts!r}.")
        if self.restart_from not in RESTARTS_FROM:
            raise InputError(f"restart_from must be one of {', '.join(RESTARTS_FROM)}, got {self.restart_from!r}.")

    def perturb_from(
        self, start: Tensor, oracle: Oracle, images: Tensor, goal: Goal, generators: Sequence[torch.Generator]
    ) -> Tensor:
        """The best point of all runs."""
        reached = self.reached(goal, oracle.clean_scores)
        value = goal(oracle.clean_scores) if self.eot == 1 else torch.full_like(oracle.clean_scores, -torch.inf)
        best = _Best(images.clone(), value, ~reached)  # one draw of a random model is not to compare means with
        for run in range(1 + self.restarts):
            rows = all_rows(images)[best.open]
            if not len(rows):
                break
            if run == 0:
                begin = some(self.begin(start, images, generators), rows)
            elif self.restart_from == "best":
                begin = best.images[rows]
            else:
                begin = self.ball.random_point(some(images, rows), [generators[row] for row in rows.tolist()])
            self._run_once(oracle, begin, rows, images, goal, best)
        return best.images

    def _run_once(self, oracle: Oracle, begin: Tensor, rows: Tensor, images: Tensor, goal: Goal, best: _Best) -> None:
        """Algorithm 1 on some photos; what it finds goes to `best`."""
        gradient, scores = self.ascent(oracle, begin, goal.at(rows), rows)
        value = goal.at(rows)(scores)
        best.offer(rows, begin, value, self.reached(goal.at(rows), scores))
        run = _Run.starting(rows, some(images, rows), begin, gradient, value, FIRST_STEP * self.budget)
        marks, judged = checkpoints(self.steps), 0
        for count in range(1, self.steps + 1):
            run = run.of(best.open[run.rows])
            if not len(run.rows):
                return
            aim = goal.at(run.rows)
            point = self._next(run, MOMENTUM if count > 1 else 1.0)
            if count < self.steps:
                gradient, scores = self.ascent(oracle, point, aim, run.rows)
            else:  # a gradient here would lead nowhere
                gradient, scores = run.gradient, self.scores(oracle, point, run.rows)
            run.move(point, gradient, aim(scores))
            best.offer(run.rows, point, aim(scores), self.reached(aim, scores))
            if count in marks:
                run.judge(count - judged)
                judged = count

    def _next(self, run: _Run, momentum: float) -> Tensor:
        """The projected step, then the projected mix of it with the last change."""
        stepped = self.ball.project(run.point + run.step * self.ball.steepest(run.gradient), run.center)
        if momentum == 1.0:
            return stepped
        mixed = run.point + momentum * (stepped - run.point) + (1 - momentum) * (run.point - run.previous)
        return self.ball.project(mixed, run.center)


@dataclass
class _Best:
    """The best point of each photo over all runs.

    Attributes:
        images: (N, 3, H, W).
        value: The goal there, (N,).
        open: Whether the search goes on, (N,).
    """

    images: Tensor
    value: Tensor
    open: Tensor

    def offer(self, rows: Tensor, points: Tensor, value: Tensor, reached: Tensor) -> None:
        """Takes points that are better, and closes photos that have reached their stop."""
        better = value > self.value[rows]
        self.images[rows[better]] = points[better]
        self.value[rows[better]] = value[better]
        self.open[rows[reached]] = False


@dataclass
class _Run:
    """What a run knows of the n photos that go on; every field is a tensor over them.

    Attributes:
        rows: Their places in the batch.
        center: Clean images.
        point: Where each is.
        previous: Where it was a step before.
        gradient: Of the goal at `point`.
        value: The goal there.
        step: Step size, (n, 1, 1, 1).
        top: The best point of this run.
        top_gradient: Of the goal there.
        top_value: The goal there.
        climbs: Steps since the last checkpoint that raised the goal.
        judged_value: `top_value` at the last checkpoint.
        halved: Whether the step was halved there.
    """

    rows: Tensor
    center: Tensor
    point: Tensor
    previous: Tensor
    gradient: Tensor
    value: Tensor
    step: Tensor
    top: Tensor
    top_gradient: Tensor
    top_value: Tensor
    climbs: Tensor
    judged_value: Tensor
    halved: Tensor

    @staticmethod
    def starting(rows: Tensor, center: Tensor, begin: Tensor, gradient: Tensor, value: Tensor, step: float) -> _Run:
        """A run at its first point."""
        steps = torch.full_like(begin[:, :1, :1, :1], step)
        at_top = (begin, gradient, value)
        climbs, halved = torch.zeros_like(rows), torch.zeros_like(rows, dtype=torch.bool)
        return _Run(rows, center, begin, begin, gradient, value, steps, *at_top, climbs, value, halved)

    def of(self, kept: Tensor) -> _Run:
        """The run of some of its photos; `kept` (n,) says which."""
        if kept.all():
            return self
        return _Run(*(getattr(self, part.name)[kept] for part in fields(self)))

    def move(self, point: Tensor, gradient: Tensor, value: Tensor) -> None:
        """Goes to a point whose gradient and value are known."""
        self.climbs = self.climbs + (value > self.value)
        self.previous, self.point, self.gradient, self.value = self.point, point, gradient, value
        better = value > self.top_value
        self.top, self.top_gradient, self.top_value = _where(better, self._here, self._at_top)

    def judge(self, length: int) -> None:
        """Halves the step of photos that did badly over the last `length` steps, and sends them to their best point.

        Condition 1: fewer than the share `RHO` of the steps climbed. Condition 2: the step was not halved at the
        last checkpoint and the best value has not changed since.
        """
        few_climbed = self.climbs < RHO * length
        stuck = ~self.halved & (self.top_value == self.judged_value)
        self.halved = few_climbed | stuck
        self.step = torch.where(self.halved[:, None, None, None], self.step / 2, self.step)
        self.point, self.gradient, self.value = _where(self.halved, self._at_top, self._here)
        self.judged_value, self.climbs = self.top_value, torch.zeros_like(self.climbs)

    @property
    def _here(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.point, self.gradient, self.value

    @property
    def _at_top(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.top, self.top_gradient, self.top_value


def _where(chosen: Tensor, yes: Sequence[Tensor], no: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Photo by photo, (n,), of several tensors over them."""
    return tuple(
        torch.where(chosen.reshape(-1, *[1] * (one.ndim - 1)), one, other) for one, other in zip(yes, no, strict=True)
    )
