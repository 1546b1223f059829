"""SurFree: from an image past a boundary to one nearer the start, without a gradient or a substitute model.

Around the start lies a boundary that the image found is past. In the plane of the way there and a random direction,
the circle over that way holds, by Thales, the foot of the perpendicular on a straight boundary: points
`start + r * cos(angle) * (cos(angle) * along + sin(angle) * across)` come nearer the start as the angle grows, and are
past a flat boundary up to the foot. Each step looks for the largest such angle.
Cost: up to `queries` forward passes; two for a direction that leads nowhere.
Source: Maho, Furon and Le Merrer 2021, "SurFree: a fast surrogate-free black-box attack", CVPR, its geometry
and its random directions in a DCT basis; constants from the published code of Yang, Liu, Li and Jiang 2024.
Deviations: every image is put into the box before the model is asked, so that what is found is both allowed and past
the boundary; there the final clamp can take it back. The box holds the start and is convex, so the clamp only
shortens the way. A direction is made orthogonal to the present way, not to the first one. Random coefficients stand
at all low frequencies; there only where the photograph's own transform is not zero, which is everywhere in practice.
The bisection of the angle does not look at the opposite angle, for both signs were tried.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from robustiqa.attacks.lockstep import Scored, Search, ask

STEPS = 10  # directions that lead nearer, a call; published configuration, as all below
FIRST_ANGLE = math.radians(30)
ANGLE_DECAY = 0.98  # of the angle tried first, after a direction that leads nowhere; its inverse after a success
KEPT_DIRECTIONS = 10  # that a new one is orthogonal to, beside the way itself
HALVINGS = 10
GAIN_TOLERANCE = 0.01  # of 1 - cos(angle), at which the bisection of an angle ends
LOW_FREQUENCIES = 0.5  # share of the DCT coefficients, in zigzag order


def dct_matrix(size: int, like: Tensor) -> Tensor:
    """The orthonormal DCT-II, (size, size), with the dtype and device of `like`; row k is the cosine of frequency k."""
    places = torch.arange(size, dtype=torch.float64)
    waves = torch.cos(torch.pi / size * (places + 0.5) * places[:, None])
    waves *= math.sqrt(2 / size)
    waves[0] /= math.sqrt(2)
    return waves.to(like)


def zigzag_mask(height: int, width: int, share: float) -> Tensor:
    """The first `share` of the DCT coefficients in zigzag order, at least one; (height, width), of booleans."""
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    diagonal = rows + columns
    along = torch.where(diagonal % 2 == 1, rows, columns)  # JPEG's direction: odd diagonals run down, even ones up
    order = (diagonal * (height + width) + along).flatten().argsort()
    mask = torch.zeros(height * width, dtype=torch.bool)
    mask[order[: max(1, int(share * height * width))]] = True
    return mask.reshape(height, width)


class LowFrequencies:
    """Random images of low frequency: coefficients -1, 0 or 1 in the lower half of the image's DCT.

    Args:
        like: An image batch whose size, dtype and device they have, (N, 3, H, W).
    """

    def __init__(self, like: Tensor) -> None:
        self._shape = like.shape[1:]
        height, width = self._shape[1:]
        self._mask = zigzag_mask(height, width, LOW_FREQUENCIES).to(like)
        self._down, self._across = dct_matrix(height, like), dct_matrix(width, like)

    def draw(self, generator: torch.Generator) -> Tensor:
        """One random image, (3, H, W), of no particular length."""
        signs = torch.randint(-1, 2, self._shape, generator=generator, device=generator.device)
        coefficients = signs.to(self._mask) * self._mask
        return self._down.T @ coefficients @ self._across


class SurFree:
    """One photo's way back toward its start.

    Args:
        start: Where to, (3, H, W), not past the boundary.
        low: Least value of each pixel, same shape.
        high: Largest value of each pixel, same shape.
        is_past: Whether a score is past the boundary; the start's is not.
        basis: Of random directions.
        generator: The photo's own.
        queries: Most queries to spend.
    """

    def __init__(
        self,
        start: Tensor,
        low: Tensor,
        high: Tensor,
        *,
        is_past: Callable[[float], bool],
        basis: LowFrequencies,
        generator: torch.Generator,
        queries: int,
    ) -> None:
        self.start, self.low, self.high = start, low, high
        self.is_past, self.basis, self.generator = is_past, basis, generator
        self.queries_left = queries

    def run(self, found: Scored) -> Search[Scored]:
        """Asks its way to an image past the boundary that is at most as far from the start as `found`.

        Args:
            found: An image in the box and past the boundary.
        """
        nearest = yield from self._toward_start(found)
        first_angle, successes = FIRST_ANGLE, 0
        tried: list[Tensor] = []
        while successes < STEPS and self.queries_left:
            way = nearest.image - self.start
            radius = torch.linalg.vector_norm(way)
            across = self._direction([way / radius, *tried])
            if across is None:
                break
            tried = [*tried, across][-KEPT_DIRECTIONS:]
            turned = yield from self._turn(_Circle(way, radius * across), first_angle)
            if turned is None:
                first_angle *= ANGLE_DECAY
            else:
                nearest, successes = turned, successes + 1
                first_angle = min(first_angle / ANGLE_DECAY, math.pi / 2)
        return (yield from self._toward_start(nearest))

    def _past(self, image: Tensor) -> Search[Scored | None]:
        """The image in its box with its score if that is past the boundary, else None; None without queries, too."""
        if not self.queries_left:
            return None
        self.queries_left -= 1
        scored = yield from ask(torch.clamp(image, self.low, self.high))
        return scored if self.is_past(scored.score) else None

    def _toward_start(self, found: Scored) -> Search[Scored]:
        """Bisects the straight way between the start and `found`."""
        nearest, near, far = found, 0.0, 1.0
        for _ in range(HALVINGS):
            middle = (near + far) / 2
            scored = yield from self._past(torch.lerp(self.start, found.image, middle))
            if scored is None:
                near = middle
            else:
                nearest, far = scored, middle
        return nearest

    def _direction(self, others: Sequence[Tensor]) -> Tensor | None:
        """A random unit direction orthogonal to `others`, or None where they leave none."""
        drawn = self.basis.draw(self.generator)
        length = torch.linalg.vector_norm(drawn)
        for _ in range(2):  # once more, for what rounding left
            for other in others:
                drawn = drawn - (drawn * other).sum() * other
        rest = torch.linalg.vector_norm(drawn)
        return drawn / rest if rest > 1e-3 * length else None

    def _turn(self, circle: _Circle, first_angle: float) -> Search[Scored | None]:
        """The image of the largest angle found to either side, or None if the first ones are not past the boundary."""
        for side in (1, -1):
            turned = yield from self._past(self.start + circle.at(side * first_angle))
            if turned is not None:
                return (yield from self._widest(circle, side, first_angle, turned))
        return None

    def _widest(self, circle: _Circle, side: int, first_angle: float, turned: Scored) -> Search[Scored]:
        """Widens the angle by its first value while the boundary is past, then bisects."""
        good, bad = first_angle, 2 * first_angle
        while bad < math.pi / 2:
            wider = yield from self._past(self.start + circle.at(side * bad))
            if wider is None:
                break
            turned, good, bad = wider, bad, bad + first_angle
        bad = min(bad, math.pi / 2)  # where the circle is back at the start, which is not past the boundary
        for _ in range(HALVINGS):
            if math.cos(good) - math.cos(bad) <= GAIN_TOLERANCE:
                break
            middle = (good + bad) / 2
            scored = yield from self._past(self.start + circle.at(side * middle))
            if scored is None:
                bad = middle
            else:
                turned, good = scored, middle
        return turned


class _Circle:
    """The circle over the way to an image, in the plane of that way and one across it of the same length."""

    def __init__(self, way: Tensor, across: Tensor) -> None:
        self._way, self._across = way, across

    def at(self, angle: float) -> Tensor:
        """From the start to the point at an angle from the way, in radians."""
        return math.cos(angle) * (math.cos(angle) * self._way + math.sin(angle) * self._across)
