"""What an attack wants: a goal a run, each a number an image to be made as large as possible."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from robustiqa.core.model import ScoreScale


class Goal(Protocol):
    """What one run of an attack climbs: scores (N,) to a differentiable value (N,)."""

    def __call__(self, scores: Tensor) -> Tensor:
        """Larger is better for the attacker."""
        ...

    @property
    def degree(self) -> int:
        """The power of a score difference that the value is: for attacks that put it in other units."""
        ...

    def at(self, rows: Tensor) -> Goal:
        """The goal of some photos of the batch, by place: for attacks that go on with a part of it."""
        ...


@dataclass(frozen=True)
class Push:
    """Raises the scores where `signs` is +1 and lowers them where it is -1; signs (N,)."""

    signs: Tensor

    def __call__(self, scores: Tensor) -> Tensor:
        """The signed scores."""
        return self.signs * scores

    @property
    def degree(self) -> int:
        """1: the score itself."""
        return 1

    def at(self, rows: Tensor) -> Push:
        """The directions of some photos."""
        return Push(self.signs[rows])


@dataclass(frozen=True)
class Objective(ABC):
    """Plain data that turns clean scores into goals; see `robustiqa.attacks.objectives` for all of them.

    Attributes:
        name: Its name in the registry and in records.
        flat_at_start: Whether the goal's gradient is zero at the clean image, so that an attack needs a random start.
    """

    name: ClassVar[str]
    flat_at_start: ClassVar[bool] = False

    @abstractmethod
    def goals(self, clean_scores: Tensor, scale: ScoreScale) -> tuple[Goal, ...]:
        """One goal a run. Where there are several, the run that changes a photo's 8-bit score most is kept.

        Args:
            clean_scores: Scores before the attack, (N,).
            scale: The model's score scale.
        """


def push(clean_scores: Tensor, sign: float | Tensor) -> Push:
    """A `Push` in one direction for all images, or in one direction an image."""
    return Push(torch.as_tensor(sign, dtype=clean_scores.dtype, device=clean_scores.device).expand_as(clean_scores))
