"""Square Attack: random search with colored squares that shrink as the queries are spent.

Each proposal recolors one square of the photo with the farthest colors the budget allows, and stays if the goal
grows. It follows no gradient, so gradients that mislead do not mislead it.

Threat model: black-box, scores only.
Cost: `queries` forward passes a photo and goal, the first for the start; fewer where `stop_change` ends a search.
Source: Andriushchenko et al. 2020, "Square Attack: a query-efficient black-box adversarial attack via random
search", algorithms 1 and 2 (L-infinity); the share schedule is that of its published code, for 10,000 queries.
Ran et al.'s version for quality scores is `squares=2, share=0.04, queries=10_000, eps="3/255"` (one of their models
takes .09 and 8); the logistic that they map scores through changes no comparison, so it changes no search.
Deviations: the schedule is stretched to `horizon` queries, where the code reaches its smallest squares after 8000
whatever it may spend. Squares may lie in the last row and column, which published code never reaches. A proposal
that changes nothing is drawn again, as there, but from the seven other colors at once. A search that never beats
the clean image returns it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robustiqa.attacks.base import NamedAttack
from robustiqa.core.attack import Oracle
from robustiqa.core.checks import check_positive_integer
from robustiqa.core.errors import InputError
from robustiqa.core.objective import Goal
from robustiqa.core.pixels import project_linf

HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # squares of 10,000: the share halves after each
SCHEDULE_LENGTH = 10_000
COLORS = 8  # each of three channels at the lower or the upper end of the budget
BLOCK = 256  # steps drawn at a time, whatever the budget of queries, so that a longer run begins as a shorter one


@dataclass(frozen=True, kw_only=True)
class Square(NamedAttack):
    """Recolors squares at random and keeps what helps; every photo accepts or rejects its own.

    The value of the goal never falls during a run. Runs of one `horizon` are continuations of each other: with it
    fixed, more queries never lose ground. By default the horizon is `queries`, and a longer run is another search.

    Args:
        eps: Budget; with whole 8-bit levels and 8-bit photos, every image asked about is an 8-bit image.
        objective: As in `NamedAttack`; any will do.
        seed: Of the search, with each photo's key.
        queries: Forward passes a photo and goal.
        share: Of the photo's pixels that the first squares cover, the paper's p.
        squares: How many are recolored in one proposal.
        horizon: Queries that the schedule is stretched over; None for `queries`.
        stop_change: Score points of change toward the goal, of the float image, after which a photo is asked about
            no more; None to spend all queries.

    Source: Andriushchenko et al. 2020, algorithms 1 and 2.
    """

    name: ClassVar[str] = "square"
    threat_model: ClassVar[str] = "black-box"

    queries: int = 5000
    share: float = 0.05
    squares: int = 1
    horizon: int | None = None
    stop_change: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive_integer(self.queries, "queries")
        check_positive_integer(self.squares, "squares")
        if self.horizon is not None:
            check_positive_integer(self.horizon, "horizon")
        if not 0 < self.share <= 1:
            raise InputError(f"share must lie in (0, 1], got {self.share!r}.")
        if self.stop_change is not None and not (math.isfinite(self.stop_change) and self.stop_change > 0):
            raise InputError(f"stop_change must be a number of score points above 0, got {self.stop_change!r}.")

    def perturb(self, oracle: Oracle, images: Tensor, goal: Goal, generators: Sequence[torch.Generator]) -> Tensor:
        """The best image that was asked about, or the clean one where none was better."""
        ends = torch.stack([project_linf(images + sign * self.budget, images, self.budget) for sign in (-1, 1)], 1)
        best = _striped(ends, generators)
        scores = oracle.scores(best)
        values, clean_values = goal(scores), goal(oracle.clean_scores)
        steps = _steps(generators, self.squares, images.device)
        for place in range(self.queries - 1):
            rows = self._unfinished(scores, oracle.clean_scores, values > clean_values)
            if not len(rows):
                break
            side = square_side(place, self.horizon or self.queries, self.share, *images.shape[2:])
            proposed = _recolored(best[rows], ends[rows], next(steps)[rows], side)
            proposed_scores = oracle.scores(proposed, rows)
            proposed_values = goal.at(rows)(proposed_scores)
            better = proposed_values > values[rows]
            accepted = rows[better]
            best[accepted], scores[accepted] = proposed[better], proposed_scores[better]
            values[accepted] = proposed_values[better]
        return torch.where((values > clean_values)[:, None, None, None], best, images)

    def _unfinished(self, scores: Tensor, clean_scores: Tensor, gained: Tensor) -> Tensor:
        """Places of the photos that go on, (M,)."""
        if self.stop_change is None:
            return torch.arange(len(scores), device=scores.device)
        finished = gained & ((scores - clean_scores).abs() >= self.stop_change)
        return (~finished).nonzero()[:, 0]


def square_side(place: int, horizon: int, share: float, height: int, width: int) -> int:
    """Side in pixels of the squares of one step.

    Args:
        place: Of the step, from 0.
        horizon: Queries that the schedule is stretched over.
        share: Of the pixels that the first squares cover.
        height: Of the photo.
        width: Of the photo.
    """
    halvings = bisect_left(HALVED_AFTER, place * SCHEDULE_LENGTH // horizon)  # thresholds strictly below
    side = round(math.sqrt(share / 2**halvings * height * width))
    return max(min(side, min(height, width) - 1), 1)


def _striped(ends: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """The start: every column of every channel at one end of the budget; ends (N, 2, 3, H, W), result (N, 3, H, W)."""
    shape = (3, 1, ends.shape[-1])
    up = torch.stack([torch.randint(2, shape, generator=draw, device=draw.device) for draw in generators])
    return torch.where(up.to(ends.device) == 1, ends[:, 1], ends[:, 0])


def _steps(generators: Sequence[torch.Generator], squares: int, device: torch.device) -> Iterator[Tensor]:
    """Uniform draws of one step after the other, (N, squares, 4): row, column, color, other color."""
    while True:
        shape = (BLOCK, squares, 4)
        block = [torch.rand(shape, generator=draw, device=draw.device) for draw in generators]
        yield from torch.stack(block, 1).to(device)


def _recolored(images: Tensor, ends: Tensor, draws: Tensor, side: int) -> Tensor:
    """Images (M, 3, H, W) with their squares recolored; draws (M, squares, 4)."""
    height, width = images.shape[2:]
    for square in draws.unbind(1):
        inside = _span(square[:, 0], side, height)[:, None, :, None] & _span(square[:, 1], side, width)[:, None, None]
        color = (COLORS * square[:, 2]).long()
        painted = _painted(images, ends, inside, color)
        same = (painted == images).flatten(1).all(1)
        if same.any():
            other = (color + 1 + ((COLORS - 1) * square[:, 3]).long()) % COLORS
            painted = _painted(images, ends, inside, torch.where(same, other, color))
        images = painted
    return images


def _span(draws: Tensor, side: int, length: int) -> Tensor:
    """Whether each place of a row or column lies in the square; draws (M,) in [0, 1), result (M, length)."""
    start = ((length - side + 1) * draws).long().clamp(max=length - side)[:, None]
    places = torch.arange(length, device=draws.device)
    return (places >= start) & (places < start + side)


def _painted(images: Tensor, ends: Tensor, inside: Tensor, color: Tensor) -> Tensor:
    """Images with the pixels `inside` (M, 1, H, W) at the ends of the budget that `color` (M,) names by its bits."""
    bits = torch.stack([color % 2, color // 2 % 2, color // 4], 1)[:, :, None, None]  # (M, 3, 1, 1)
    return torch.where(inside, torch.where(bits == 1, ends[:, 1], ends[:, 0]), images)
