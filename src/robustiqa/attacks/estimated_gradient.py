"""NES and SPSA: signed steps along a gradient that is estimated from scores.

Scores are asked at pairs of points, a random direction forward and the same backward; the directions, weighted by
how much the goal differs, average to the gradient. One forward pass carries up to `batch` of these points.

Threat model: black-box, scores only.
Cost: `steps * (2 * samples + 1)` forward passes a photo and goal: the pairs, and each iterate to know its worth.
The cosine between estimate and gradient is about sqrt(samples / (samples + D)) for D numbers in a photo: .02 for 50
pairs on 224 x 224 pixels, so many cheap steps do more than a few careful ones.
Source: Ilyas et al. 2018, "Black-box adversarial attacks with limited queries and information", section 2.2 (NES,
antithetic Gaussian directions, radius .001, 25 pairs); Uesato et al. 2018, "Adversarial risk and the dangers of
evaluating against weak attacks", section 4 (SPSA, directions of signs, radius .01).
Deviations: both take signed steps within the ball, where NES adds momentum and SPSA runs Adam. The default step is
ours: eps / sqrt(steps), what a walk of random signs needs to cross the ball. The best iterate is returned, not the
last. Points that would leave [0, 1] are clamped, for no service scores them. Points lie off the 8-bit grid: a
service that takes files alone is `square`'s case.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robustiqa.attacks.base import NamedAttack, pixel_field
from robustiqa.core.attack import Oracle
from robustiqa.core.checks import check_positive_integer, parse_fraction
from robustiqa.core.errors import InputError
from robustiqa.core.objective import Goal
from robustiqa.core.pixels import project_linf

Draw = Callable[[], Tensor]


@dataclass(frozen=True, kw_only=True)
class EstimatedGradient(NamedAttack):
    """Base of both: what differs is where directions come from and how far the points lie.

    Args:
        eps: Budget.
        objective: As in `NamedAttack`.
        seed: Of the directions, with each photo's key.
        steps: Signed steps to take.
        samples: Pairs of points a step.
        radius: Of a pair about the iterate, in [0, 1] pixel units, times the direction.
        step_size: Length of a step; None for eps / sqrt(steps).
        batch: Most images in one forward pass; a limit of memory that does not change the draws.
    """

    threat_model: ClassVar[str] = "black-box"

    steps: int = 50
    samples: int = 50
    radius: float | str = pixel_field(0.001, resolved="reach")
    step_size: float | str | None = pixel_field(None, resolved="step")
    batch: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("steps", "samples", "batch"):
            check_positive_integer(getattr(self, name), name)
        if parse_fraction(self.radius, "radius") == 0:
            raise InputError("radius must be greater than 0, got 0; points at no distance say nothing.")
        if self.step_size is not None and parse_fraction(self.step_size, "step_size") == 0:
            raise InputError("step_size must be greater than 0, got 0; leave it out for eps / sqrt(steps).")

    @property
    def reach(self) -> float:
        """`radius` as a number."""
        return parse_fraction(self.radius, "radius")

    @property
    def step(self) -> float:
        """`step_size` as a number."""
        if self.step_size is None:
            return self.budget / math.sqrt(self.steps)
        return parse_fraction(self.step_size, "step_size")

    @staticmethod
    @abstractmethod
    def direction(image: Tensor, draw: torch.Generator) -> Tensor:
        """A random direction, shaped like one image (3, H, W), with mean 0 and variance 1 in every number."""

    def perturb(self, oracle: Oracle, images: Tensor, goal: Goal, generators: Sequence[torch.Generator]) -> Tensor:
        """The best iterate of each photo, the clean image among them; photos are climbed one after the other."""
        return torch.stack([self._climb(oracle, images, place, goal, draw) for place, draw in enumerate(generators)])

    def _climb(self, oracle: Oracle, images: Tensor, place: int, goal: Goal, draw: torch.Generator) -> Tensor:
        """One photo, (3, H, W)."""

        def values(points: Tensor) -> Tensor:
            rows = torch.full((len(points),), place, device=points.device)
            return goal.at(rows)(oracle.scores(points, rows))

        clean = images[place]
        best, adversarial = clean, clean
        highest = goal(oracle.clean_scores)[place]
        for _ in range(self.steps):
            ascent = estimated_gradient(
                values, adversarial, lambda: self.direction(clean, draw), self.samples, self.reach, self.batch
            )
            adversarial = project_linf(adversarial + self.step * ascent.sign(), clean, self.budget)
            value = values(adversarial[None])[0]
            if value > highest:
                best, highest = adversarial, value
        return best


@dataclass(frozen=True, kw_only=True)
class NES(EstimatedGradient):
    """Natural evolution strategies: antithetic Gaussian directions close by.

    Args:
        eps: As in `EstimatedGradient`, as are all fields.

    Source: Ilyas et al. 2018, section 2.2, after Wierstra et al. 2014.
    """

    name: ClassVar[str] = "nes"

    @staticmethod
    def direction(image: Tensor, draw: torch.Generator) -> Tensor:
        """Normal numbers."""
        return torch.randn(image.shape, generator=draw, device=draw.device).to(image)


@dataclass(frozen=True, kw_only=True)
class SPSA(EstimatedGradient):
    """Simultaneous perturbation: directions of random signs, farther away.

    Args:
        eps: As in `EstimatedGradient`, as are all fields.
        radius: Ten times NES's, as published: it sees past steps and roughness that hide a slope.

    Source: Uesato et al. 2018, section 4, after Spall 1992.
    """

    name: ClassVar[str] = "spsa"

    radius: float | str = pixel_field(0.01, resolved="reach")

    @staticmethod
    def direction(image: Tensor, draw: torch.Generator) -> Tensor:
        """Signs."""
        return 2 * torch.randint(2, image.shape, generator=draw, device=draw.device).to(image) - 1


def estimated_gradient(
    values: Callable[[Tensor], Tensor], image: Tensor, direction: Draw, samples: int, radius: float, batch: int
) -> Tensor:
    """Mean of `u * (value(image + radius * u) - value(image - radius * u)) / (2 * radius)` over directions u.

    For a linear value it is the gradient on average, and its squared length is 1 + (D + 1) / samples times the
    gradient's with normal u, 1 + (D - 1) / samples with signs.

    Args:
        values: Images (M, 3, H, W) to values (M,).
        image: Where, (3, H, W); points are clamped to [0, 1].
        direction: Draws one u, (3, H, W).
        samples: How many.
        radius: How far.
        batch: Most images in one call of `values`, a pair at least.

    Returns:
        (3, H, W), per unit of pixels.

    Source: Ilyas et al. 2018, section 2.2.
    """
    total = torch.zeros_like(image)
    pairs = max(batch // 2, 1)
    for start in range(0, samples, pairs):
        directions = torch.stack([direction() for _ in range(min(pairs, samples - start))])
        points = torch.cat([image + radius * directions, image - radius * directions]).clamp(0, 1)
        forward, backward = values(points).chunk(2)
        total += torch.einsum("m,mchw->chw", forward - backward, directions)
    return total / (2 * radius * samples)
