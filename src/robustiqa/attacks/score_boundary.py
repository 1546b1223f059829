"""Score-boundary attack: crosses one score boundary after another with textures, each with the least change.

A regression model has no wrong class, so success is set: a share b of the way from the clean score to the end of the
model's scale. Textures on edges and salient parts are tried until one crosses; SurFree then shrinks the change to what
the boundary needs, and the next boundary is set beyond. Boundaries go farther apart where crossing is easy and closer
together where 200 trials fail. No pixel leaves its just noticeable difference (JND) from the clean photograph.

Threat model: black-box, scores only.
Cost: up to `query_budget` forward passes a goal and photo, no backward pass; `worst_of_both` has two goals. A photo
ends earlier when boundaries 1/400 apart can not be crossed.
Source: Yang, Liu, Li and Jiang 2024, "Exploring Vulnerabilities of No-Reference Image Quality Assessment Models: A
Query-Based Black-Box Method", IEEE TCSVT (arXiv 2401.05217), and its published code.
Deviations: the ball is the smaller of the JND and `eps`, pixel by pixel, in whole 8-bit levels of the JND, so that a
file holds it; the default `eps` is the largest value that the scaled JND can have and does not bind. The change is
measured from the clean photograph in all rounds. The published code counts queries for a batch (6,000 trials,
and 20 rounds of 100 for SurFree); here each photo has its 8,000 and spends them where it needs them, in as many rounds
as they last. The best image asked about is returned, not the last. When a boundary is brought closer, the best trial
so far counts. The ends of the scale are the model's own and at least 1/100 of it away, where published code has 0 and
100 and no least. Deviations of the parts stand in `jnd`, `noise_masks` and `surfree`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from robustiqa.attacks.base import NamedAttack, pixel_field, quiet_field
from robustiqa.attacks.jnd import just_noticeable_difference
from robustiqa.attacks.lockstep import Scored, Search, ask, search_together
from robustiqa.attacks.noise_masks import noise_mask, texture_crop, texture_images
from robustiqa.attacks.objectives import create_objective
from robustiqa.attacks.surfree import LowFrequencies, SurFree
from robustiqa.core.attack import Oracle
from robustiqa.core.checks import check_positive_integer
from robustiqa.core.errors import InputError
from robustiqa.core.model import ScoreScale
from robustiqa.core.objective import Goal, Push
from robustiqa.core.registry import did_you_mean

JND_SHARE = 0.38  # published code: how much of the JND a pixel may change
TEXTURE_STEP = 0.1  # published code: largest texture, in pixels of [0, 1]
FIRST_BOUNDARY = 0.01  # published code, as the two below
CLOSEST_BOUNDARIES = 1 / 400
LEAST_UPPER_BOUNDARY = 0.005
DIRECTIONS = ("texture", "sparse_noise", "gaussian_noise")  # the second and third are ablations
LEAST_ROOM = 0.01  # ours, of the scale: a clean score at its end would leave none


@dataclass(frozen=True)
class Boundary:
    """Where success begins: a share of the way from the clean score to the end of the scale; beyond 1, past the end.

    Attributes:
        share: This boundary.
        last: The one that was crossed before.

    Source: Yang et al. 2024, the adaptive score boundaries.
    """

    share: float = FIRST_BOUNDARY
    last: float = 0.0

    @property
    def step(self) -> float:
        """How far beyond the last boundary this one lies."""
        return self.share - self.last

    @property
    def can_come_closer(self) -> bool:
        """Whether there is a boundary to try between the last one and this."""
        return self.step > CLOSEST_BOUNDARIES

    def closer(self) -> Boundary:
        """Half as far beyond the last, after trials that all failed."""
        return Boundary(self.last + self.step / 2, self.last)

    def after_crossing(self, reached: float) -> Boundary:
        """Half way to the upper boundary, three times as far from the last, if a trial crossed that, too."""
        upper = max(self.share + 2 * self.step, LEAST_UPPER_BOUNDARY)
        return Boundary(self.share + (upper - self.share) / 2, self.last) if reached > upper else self

    def following(self, reached: float) -> Boundary:
        """As far beyond this one as this lies beyond the last; counted from `reached` where that is past it."""
        passed = reached >= self.share + self.step
        origin = reached if passed else self.share
        return Boundary(origin + self.step, origin)


@dataclass(frozen=True)
class _Photo:
    """What the search for one photo knows: all tensors (3, H, W) but the mask, (1, H, W)."""

    clean: Scored
    low: Tensor  # of the box
    high: Tensor
    mask: Tensor
    sign: float
    room: float  # from the clean score to the end of the scale
    generator: torch.Generator

    def reached(self, score: float) -> float:
        """The share of the way to the end of the scale."""
        return self.sign * (score - self.clean.score) / self.room

    def is_past(self, share: float, score: float) -> bool:
        """Whether a score is past the boundary at `share`; one that is no number is not."""
        return self.reached(score) > share

    def with_texture(self, image: Tensor, textures: Tensor | None) -> Tensor:
        """The image plus a random multiple of a random texture, or of noise, where the mask allows, in the box."""
        draw = self.generator
        amount = 2 * torch.rand((), generator=draw, device=draw.device).item() - 1
        if textures is None:
            texture = torch.randn(image.shape, generator=draw, device=draw.device).to(image)
        else:
            texture = texture_crop(textures, image.shape[1], image.shape[2], draw)
        return torch.clamp(image + TEXTURE_STEP * amount * texture * self.mask, self.low, self.high)


@dataclass(frozen=True, kw_only=True)
class ScoreBoundary(NamedAttack):
    """Crosses score boundaries one by one with texture, shrinking each change with SurFree, all below the JND.

    How near it comes to the best there is with the default 8,000 queries, measured on linear models of 24x24 photos
    of noise, as a share of the sum over pixels of box times absolute slope: all of it where slopes are equal (after
    3,000), .54 where they are smooth (a 3x3 grid, interpolated; it ends after 1,700, unable to cross a boundary 1/400
    further on), .2 where they are white noise. Textures move all channels one way, so shifts of brightness come first.

    Args:
        eps: L-infinity budget beside the JND; by default the largest JND there can be, so that only the JND binds.
        objective: One that raises or lowers scores; `target` and the shifts name no direction and are refused.
        seed: Of textures and directions.
        query_budget: Most forward passes on one photo, a goal.
        search_trials: Textures to try before a boundary is brought closer.
        refine_queries: Most forward passes of SurFree, a boundary; 100 as published. With 20, boundaries follow faster:
            on 16 crops of validation photographs, light HyperIQA without NT, scores moved 7.0, 7.9 and 8.7 points after
            250, 500 and 1,000 queries (SSIM .944, .940, .941), with 100 by 3.8, 5.7 and 8.5 (.972, .960, .946). There
            Square at 2/255 moved them 8.0 after 500 at a higher SSIM (.976), so neither is the stronger attack.
        direction: What is tried first: `texture` as published; for ablations `sparse_noise` (normal noise where
            textures would be) or `gaussian_noise` (normal noise everywhere).

    Raises:
        InputError: if the objective has no direction or a count is not a whole number of at least 1.
        MissingExtraError: at the call, if kornia is not installed.
    """

    name: ClassVar[str] = "score_boundary"
    threat_model: ClassVar[str] = "black-box"

    eps: float | str = pixel_field("51/255", resolved="budget")
    query_budget: int = 8000
    search_trials: int = 200
    refine_queries: int = 100
    direction: str = quiet_field("texture")

    def __post_init__(self) -> None:
        super().__post_init__()
        for option in ("query_budget", "search_trials", "refine_queries"):
            check_positive_integer(getattr(self, option), option)
        if self.direction not in DIRECTIONS:
            hint = did_you_mean(str(self.direction), list(DIRECTIONS))
            raise InputError(f"direction must be one of {', '.join(DIRECTIONS)}, got {self.direction!r}{hint}")
        objective = create_objective(self.objective)
        if not all(isinstance(goal, Push) for goal in objective.goals(torch.zeros(1), ScoreScale())):
            raise InputError(
                f"{self.name!r} raises or lowers scores past boundaries, and {objective.name!r} does not say which; "
                "use 'lower', 'raise', 'farther_end', 'rank_split' or 'worst_of_both'."
            )

    def perturb(self, oracle: Oracle, images: Tensor, goal: Goal, generators: Sequence[torch.Generator]) -> Tensor:
        """The image asked about that moved each score farthest."""
        assert isinstance(goal, Push)  # else refused at construction
        if self.budget == 0:
            return images
        textures = texture_images().to(images) if self.direction == "texture" else None
        basis = LowFrequencies(images)
        everywhere = self.direction == "gaussian_noise"
        photos = [
            _photo(image, score, sign, oracle.scale, self.budget, generator, everywhere)
            for image, score, sign, generator in zip(
                images, oracle.clean_scores.tolist(), goal.signs.tolist(), generators, strict=True
            )
        ]
        searches = [self._search(photo, textures, basis) for photo in photos]
        return search_together(oracle, searches, images, goal, self.query_budget)

    def _search(self, photo: _Photo, textures: Tensor | None, basis: LowFrequencies) -> Search[None]:
        """One photo's attack: cross, shrink, set the next boundary."""
        boundary, here = Boundary(), photo.clean
        while True:
            crossing = yield from self._cross(photo, here, boundary, textures)
            if crossing is None:
                return
            found, boundary = crossing
            if found is not here:  # as it is where a boundary came so close that it is past already
                refinement = SurFree(
                    here.image,
                    photo.low,
                    photo.high,
                    is_past=partial(photo.is_past, boundary.share),
                    basis=basis,
                    generator=photo.generator,
                    queries=self.refine_queries,
                )
                here = yield from refinement.run(found)
            boundary = boundary.following(photo.reached(here.score))

    def _cross(
        self, photo: _Photo, here: Scored, boundary: Boundary, textures: Tensor | None
    ) -> Search[tuple[Scored, Boundary] | None]:
        """Tries textures from `here` until one is past the boundary, which comes closer; None when it can not."""
        best, trials = here, 0
        while not photo.is_past(boundary.share, best.score):
            if trials == self.search_trials:
                if not boundary.can_come_closer:
                    return None
                boundary, trials = boundary.closer(), 0
                continue
            trials += 1
            trial = yield from ask(photo.with_texture(here.image, textures))
            if photo.reached(trial.score) > photo.reached(best.score):
                best = trial
        return best, boundary.after_crossing(photo.reached(best.score))


def jnd_box(images: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Least and largest value of each pixel: within `eps`, within [0, 1], within the whole levels of the scaled JND.

    Args:
        images: Clean photographs, (N, 3, H, W), in [0, 1].
        eps: L-infinity budget, in [0, 1] pixel units.

    Returns:
        Two tensors of the shape of `images`.
    """
    whole_levels = torch.floor(255 * JND_SHARE * just_noticeable_difference(images) + 1e-4)  # float32 rounding
    bound = (whole_levels / 255).clamp(max=eps)
    return (images - bound).clamp(min=0), (images + bound).clamp(max=1)


def _photo(
    image: Tensor,
    score: float,
    sign: float,
    scale: ScoreScale,
    eps: float,
    generator: torch.Generator,
    everywhere: bool,
) -> _Photo:
    batch = image[None]
    low, high = jnd_box(batch, eps)
    end = scale.high if sign > 0 else scale.low
    room = max(abs(end - score), LEAST_ROOM * scale.span)
    mask = torch.ones_like(image[:1], dtype=torch.bool) if everywhere else noise_mask(batch)[0]
    return _Photo(Scored(image, score), low[0], high[0], mask, sign, room, generator)
