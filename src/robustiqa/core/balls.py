"""Budgets as balls: all images within `eps` of a clean one, in L-infinity or L2, cut to [0, 1].

A ball projects, draws, steps and rounds, each an image at a time. The base class of attacks projects and rounds
with it, so that what `eps` means stands here and nowhere else.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robustiqa.core import pixels
from robustiqa.core.checks import parse_fraction, parse_length
from robustiqa.core.errors import InputError
from robustiqa.core.registry import did_you_mean

ROUNDING = 1e-6  # relative; what float32 does to a length
MOST_REFINEMENTS = 50  # of the L2 projection; each clips at least one value more, and a handful is usual


@dataclass(frozen=True)
class Ball(ABC):
    """All images in [0, 1] within `eps` of a clean one. Shapes are (N, 3, H, W) throughout.

    Attributes:
        norm: Its name: `linf` or `l2`.
        eps: Its radius, in [0, 1] pixel units.
    """

    norm: ClassVar[str]

    eps: float

    @abstractmethod
    def project(self, images: Tensor, center: Tensor) -> Tensor:
        """The nearest images (in L2) within `eps` of `center` and within [0, 1]."""

    @abstractmethod
    def steepest(self, gradient: Tensor) -> Tensor:
        """The direction of length 1, in this norm, in which a linear score climbs most; 0 where the gradient is."""

    @abstractmethod
    def random_point(self, center: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """A uniform draw from the ball, cut to [0, 1]; each image draws from its own generator."""

    @abstractmethod
    def to_8bit(self, images: Tensor, center: Tensor) -> Tensor:
        """8-bit images near `images`, within the ball around 8-bit `center`."""

    @abstractmethod
    def distance(self, images: Tensor, center: Tensor) -> Tensor:
        """Size of the change in this norm, (N,)."""

    @property
    def levels(self) -> int:
        """The most whole 8-bit levels that one value can change by."""
        return min(pixels.whole_levels(self.eps), 255)


@dataclass(frozen=True)
class LinfBall(Ball):
    """No value changes by more than `eps`."""

    norm: ClassVar[str] = "linf"

    def project(self, images: Tensor, center: Tensor) -> Tensor:
        """Clips value by value."""
        return pixels.project_linf(images, center, self.eps)

    def steepest(self, gradient: Tensor) -> Tensor:
        """The signs."""
        return gradient.sign()

    def random_point(self, center: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Each value moves by a uniform draw from [-eps, eps]."""
        return self.project(center + self.eps * uniform_noise(center, generators), center)

    def to_8bit(self, images: Tensor, center: Tensor) -> Tensor:
        """The nearest level, then clamped to the budget level by level; see `pixels.to_8bit`."""
        return pixels.to_8bit(images, center, self.eps)

    def distance(self, images: Tensor, center: Tensor) -> Tensor:
        """Largest absolute change of one value, (N,)."""
        return pixels.linf_distance(images, center)


@dataclass(frozen=True)
class L2Ball(Ball):
    """The change has a Euclidean length, over all values of the image, of at most `eps`."""

    norm: ClassVar[str] = "l2"

    def project(self, images: Tensor, center: Tensor) -> Tensor:
        """The exact projection onto ball and pixel range together: `clip(center + scale * change)`.

        Clipping after shrinking, as is usual, leaves part of the budget unused where values hit 0 or 1. The
        scale at which the clipped change is just `eps` long is found by solving for it with the values clipped
        so far, until no more are; it grows from below, so that each step is within the budget.
        """
        change = images - center
        size = change.abs().flatten(1)  # (N, 3 * H * W)
        room = torch.where(change > 0, 1 - center, center).flatten(1)
        within = torch.linalg.vector_norm(torch.minimum(size, room), dim=1) <= self.eps
        length = torch.linalg.vector_norm(size, dim=1)
        tiny = torch.finfo(length.dtype).tiny
        scale = torch.where(within, 1.0, self.eps / length.clamp_min(tiny))  # (N,)
        for _ in range(MOST_REFINEMENTS):
            clipped = scale[:, None] * size > room
            used = (room * clipped).square().sum(1)
            free = (size * ~clipped).square().sum(1)
            refined = ((self.eps**2 - used).clamp_min(0) / free.clamp_min(tiny)).sqrt()
            refined = torch.where(within, scale, torch.maximum(scale, refined.clamp_max(1)))
            if torch.equal(refined, scale):
                break
            scale = refined
        shrunk = center + scale[:, None, None, None] * change
        return torch.where(within[:, None, None, None], images, shrunk).clamp(0, 1)

    def steepest(self, gradient: Tensor) -> Tensor:
        """The gradient over its length."""
        length = torch.linalg.vector_norm(gradient.flatten(1), dim=1)[:, None, None, None]
        return gradient / torch.where(length > 0, length, 1)

    def random_point(self, center: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """A normal draw sets the direction; the length is eps * u ** (1 / n), in n values, for a uniform u."""
        shifts = []
        for draw in generators:
            direction = torch.randn(center.shape[1:], generator=draw, device=draw.device)
            radius = self.eps * torch.rand((), generator=draw, device=draw.device) ** (1 / direction.numel())
            shifts.append(direction * (radius / torch.linalg.vector_norm(direction)))
        return (center + torch.stack(shifts).to(center)).clamp(0, 1)

    def to_8bit(self, images: Tensor, center: Tensor) -> Tensor:
        """The nearest level; where that is too long, values go back a level toward `center`.

        They go back in the order of what it costs in distance to `images`, by what it saves in length, until the
        change fits. One level each is always enough: with all that were rounded away from `center` back, no value
        has changed more than in `images`. A change of less than half a level is lost: small L2 budgets on large
        photographs leave little in 8 bits.
        """
        clean = torch.round(center.cpu().double() * 255)  # in double precision, for sums of squares must be exact
        change = 255 * self.project(images.cpu().double(), clean / 255) - clean  # levels, not whole
        whole = torch.round(change)
        size, rounded = change.abs().flatten(1), whole.abs().flatten(1)
        excess = rounded.square().sum(1) - (255 * self.eps) ** 2 * (1 + ROUNDING)  # (N,), squared levels
        saved = torch.where(rounded > 0, 2 * rounded - 1, 0.0)  # by one level back
        cost = torch.where(saved > 0, (2 * (size - rounded) + 1) / saved.clamp_min(1), math.inf)
        order = cost.argsort(dim=1, stable=True)
        in_order = saved.gather(1, order)
        goes_back = (in_order.cumsum(1) - in_order < excess[:, None]) & (in_order > 0)
        back = torch.zeros_like(saved).scatter(1, order, goes_back.to(saved))
        levels = clean + whole - whole.sign() * back.reshape(whole.shape)
        return pixels.quantize((levels / 255).to(images))

    def distance(self, images: Tensor, center: Tensor) -> Tensor:
        """Euclidean length of the change, (N,)."""
        return pixels.l2_distance(images, center)


NORMS: dict[str, type[Ball]] = {ball.norm: ball for ball in (LinfBall, L2Ball)}


def create_ball(norm: str, eps: float | str) -> Ball:
    """The ball of that norm and radius.

    Args:
        norm: `linf` or `l2`.
        eps: A number or a fraction such as `4/255`; an L2 length may exceed 1.

    Raises:
        InputError: if there is no such norm or `eps` is no size in it.
    """
    if norm not in NORMS:
        raise InputError(f"unknown norm {norm!r}{did_you_mean(str(norm), sorted(NORMS))} Known: l2, linf.")
    return NORMS[norm](parse_size(eps, norm, "eps"))


def parse_size(value: float | str, norm: str, name: str) -> float:
    """A budget or step in a norm: in [0, 1] for `linf`, any length of at least 0 for `l2`.

    Raises:
        InputError: if it is not.
    """
    return parse_fraction(value, name) if norm == "linf" else parse_length(value, name)


def uniform_noise(images: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Uniform draws from [-1, 1] of the shape of `images`; each image draws from its own generator."""
    draws = [torch.rand(images.shape[1:], generator=draw, device=draw.device) for draw in generators]
    return 2 * torch.stack(draws).to(images) - 1
