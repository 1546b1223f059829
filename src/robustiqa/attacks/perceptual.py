"""Perceptual attack: a large score change and a photo that still looks the same, weighed in one objective.

Climbs `g(s) + weight * Q(x, x0)` over the photo x by Adam: s is the score, g the goal, Q the similarity to the clean
photo x0 (SSIM, 1 - LPIPS or 1 - DISTS). A larger weight gives a smaller change that is harder to see;
`perceptual_sweep` runs a list of them. Scores enter in tenths of the model's scale, so that a weight means the same on
every scale.

Threat model: white-box. Q is a soft constraint, and `eps` a hard cap on top of it: the base class enforces one on every
attack, and the 8-bit image that counts needs one. The paper has no cap beside Q; the default is four times the pixel
change that it reports for one model, and still binds where scores move easily: compare results at equal similarity, not
at equal `eps`. `weight=0` is the paper's Chebyshev constraint: then `eps` alone bounds the change, and no similarity is
computed.
Cost: `steps` + 1 forward and `steps` backward passes a goal, and as many of Q: for `lpips` and `dists` a forward pass
is two of VGG-16, the clean photo's being made each time. `worst_of_both` has two goals, every other objective one.
Source: Zhang et al. 2022 (NeurIPS, "Perceptual attacks of no-reference image quality models with human-in-the-loop"),
the Lagrangian form of the attack; step, number of steps, weights and start from its published code.
Deviations: the default objective is ours (`worst_of_both`); the paper's is `squared_shift`. A `Push` enters to the
first power, so that a weight w there restrains as 2 * t * w does with `squared_shift` at a change of t tenths. The
logistic maps to 0..10, whose constants are known for four models only, are replaced by the model's own scale. The
paper shows people photos of several weights and lets them choose; here a weight is an option, 10 by default: then a
tenth of the scale is worth a loss of a tenth in similarity. That is the strong side: on the shipped `demo-baseline`
(three photos, 60 steps) weights 0, 10, 100 and 1000 leave an SSIM of .63, .71, .92 and .997 at 100, 101, 79 and 19 %
of the change. A fixed weight holds back more where scores move less, so sweep it before calling a model robust.
SSIM is torchmetrics', with reflected borders and without downsampling. The
iterate with the largest objective is returned, not the last, since steps of Adam do not shrink; each is projected onto
the budget and [0, 1].
Defects of the published code that are not reproduced: Adam is made anew at each step, which leaves the sign of the
gradient times the rate; the start's noise holds -1 and 0 levels but not +1, which darkens; DISTS, a distance, is added
where a similarity belongs, and without a gradient, so that it does nothing; the gradient is set to zero in two 5x5
corners; two of four models get constants of others; the Chebyshev branch never applies its radius; LPIPS is averaged
over the batch, so that a photo's weight depends on its company.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robustiqa.attacks.base import GradientAttack, pixel_field
from robustiqa.attacks.perceptual_similarity import Similarity, check_similarity, create_similarity, vgg16_hash
from robustiqa.core.attack import Oracle
from robustiqa.core.checks import check_positive_integer, parse_fraction
from robustiqa.core.errors import InputError
from robustiqa.core.objective import Goal
from robustiqa.core.pixels import project_linf

SCORE_SPAN = 10.0  # Zhang et al. 2022: scores are mapped to 0..10 before they are weighed


@dataclass(frozen=True, kw_only=True)
class Perceptual(GradientAttack):
    """Climbs the goal plus a weighted similarity to the clean photo, by Adam from a start one 8-bit level away.

    Args:
        eps: Cap on the change of a pixel, whatever the similarity.
        objective: As in `NamedAttack`; one that is flat at the clean image will do.
        seed: Of the start.
        similarity: `ssim`, `lpips` or `dists`.
        weight: Of the similarity, against the goal in tenths of the model's scale; 0 leaves it out. Published: 33
            values from 0 to 9e6 (`PUBLISHED_WEIGHTS`), for `squared_shift`.
        steps: Steps of Adam.
        step_size: Its rate, in [0, 1] pixel units, a number or a fraction: about the length of a step.
        perceptual_weights: A file with torchvision's VGG-16, for `lpips` and `dists`; None for torchvision's cache.

    Source: Zhang et al. 2022; Kingma and Ba 2015 (Adam).
    """

    name: ClassVar[str] = "perceptual"

    eps: float | str = pixel_field("16/255", resolved="budget")
    similarity: str = "ssim"
    weight: float = 10.0
    steps: int = 200
    step_size: float | str = pixel_field(0.005, resolved="step")
    perceptual_weights: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_similarity(self.similarity)
        check_positive_integer(self.steps, "steps")
        if parse_fraction(self.step_size, "step_size") == 0:
            raise InputError("step_size must be greater than 0, got 0.")
        number = isinstance(self.weight, int | float) and not isinstance(self.weight, bool)
        if not (number and math.isfinite(self.weight) and self.weight >= 0):
            raise InputError(f"weight must be a finite number of at least 0, got {self.weight!r}.")
        object.__setattr__(self, "weight", float(self.weight))

    @property
    def step(self) -> float:
        """`step_size` as a number."""
        return parse_fraction(self.step_size, "step_size")

    @property
    def leaves_clean_image(self) -> bool:
        """Yes: the start is a level away from it."""
        return True

    @property
    def label(self) -> str:
        """As every attack's, but a weights file is named by its hash."""
        text = super().label
        if self.perceptual_weights is None:
            return text
        found = vgg16_hash(self.similarity, self.perceptual_weights)
        return text.replace(f"perceptual_weights={self.perceptual_weights}", f"perceptual_weights={found}")

    def perturb(self, oracle: Oracle, images: Tensor, goal: Goal, generators: Sequence[torch.Generator]) -> Tensor:
        """The iterate with the largest objective, photo by photo."""
        similarity = create_similarity(self.similarity, self.perceptual_weights) if self.weight else None
        tradeoff = Tradeoff(oracle, goal, images, similarity, self.weight)
        adversarial = project_linf(images + one_level_noise(images, generators), images, self.budget)
        adam = torch.optim.Adam([adversarial], lr=self.step, maximize=True)
        best, best_value = adversarial.clone(), images.new_full((len(images),), -math.inf)
        for step in range(self.steps + 1):
            if step < self.steps:
                value, direction = tradeoff.ascent(adversarial)
            else:
                value = tradeoff.value(adversarial)
            better = value > best_value
            best_value = torch.where(better, value, best_value)
            best = torch.where(better[:, None, None, None], adversarial, best)
            if step < self.steps:
                adversarial.grad = unit_length(direction)
                adam.step()
                adversarial.copy_(project_linf(adversarial, images, self.budget))
        return best


@dataclass(frozen=True)
class Tradeoff:
    """What is climbed: the goal in tenths of the score scale, plus the weighted similarity to the clean images.

    Args:
        oracle: The model, counted.
        goal: Of the scores.
        clean: Clean images, (N, 3, H, W).
        similarity: Images and clean images to (N,); None for no such term.
        weight: Of the similarity.

    Source: Zhang et al. 2022, the Lagrangian form of the attack.
    """

    oracle: Oracle
    goal: Goal
    clean: Tensor
    similarity: Similarity | None
    weight: float

    @property
    def units(self) -> float:
        """What a goal on the model's scale is multiplied by."""
        return float((SCORE_SPAN / self.oracle.scale.span) ** self.goal.degree)

    @torch.no_grad()
    def value(self, images: Tensor) -> Tensor:
        """The objective, (N,); one query."""
        value = self.units * self.goal(self.oracle.scores(images))
        return value if self.similarity is None else value + self.weight * self.similarity(images, self.clean)

    def ascent(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The objective, (N,), and its gradient, (N, 3, H, W); one query and one gradient of the model."""
        gradient, scores = self.oracle.ascent(images, self.goal)
        value, gradient = self.units * self.goal(scores), self.units * gradient
        if self.similarity is None:
            return value, gradient
        with torch.enable_grad():
            leaf = images.detach().requires_grad_()
            alike = self.similarity(leaf, self.clean)
            (alike_gradient,) = torch.autograd.grad(alike.sum(), leaf)
        return value + self.weight * alike.detach(), gradient + self.weight * alike_gradient


def one_level_noise(images: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """-1, 0 or 1 level of 255 a pixel, all equally likely, (N, 3, H, W); each photo draws from its own generator."""
    draws = [torch.randint(-1, 2, images.shape[1:], generator=draw, device=draw.device) for draw in generators]
    return torch.stack(draws).to(images) / 255


def unit_length(gradient: Tensor) -> Tensor:
    """Each photo's gradient (N, 3, H, W) divided by its Euclidean norm; one that is zero stays."""
    norm: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1).clamp_min(torch.finfo(gradient.dtype).tiny)
    scaled: Tensor = gradient / norm[:, None, None, None]
    return scaled
