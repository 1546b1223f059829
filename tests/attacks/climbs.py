"""Iterative attacks again, in NumPy, a photo and a step at a time, to compare with."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Hill:
    """A score `-||matrix @ (image - peak)||^2` and what attacks do in a ball around one photo.

    Attributes:
        matrix: (K, n).
        peak: (n,).
        clean: The photo, (n,).
        norm: `linf` or `l2`.
        eps: Radius.
        sign: 1 to raise the score, -1 to lower it.
    """

    matrix: Array
    peak: Array
    clean: Array
    norm: str
    eps: float
    sign: float = 1.0

    def value(self, image: Array) -> float:
        return -self.sign * float(np.sum((self.matrix @ (image - self.peak)) ** 2))

    def gradient(self, image: Array) -> Array:
        return -2 * self.sign * (self.matrix.T @ (self.matrix @ (image - self.peak)))

    def project(self, image: Array) -> Array:
        if self.norm == "linf":
            return np.clip(np.clip(image, self.clean - self.eps, self.clean + self.eps), 0, 1)
        low, high = 0.0, 1.0  # how much of the change may be kept: by bisection
        if self.length(image, 1.0) > self.eps:
            for _ in range(200):
                middle = (low + high) / 2
                low, high = (middle, high) if self.length(image, middle) <= self.eps else (low, middle)
        else:
            low = 1.0
        return np.clip(self.clean + low * (image - self.clean), 0, 1)

    def length(self, image: Array, kept: float) -> float:
        return float(np.linalg.norm(np.clip(self.clean + kept * (image - self.clean), 0, 1) - self.clean))

    def steepest(self, gradient: Array) -> Array:
        return np.sign(gradient) if self.norm == "linf" else gradient / np.linalg.norm(gradient)


def mifgsm(hill: Hill, steps: int, step: float, decay: float) -> list[Array]:
    """Dong et al. 2018, Algorithm 1: every iterate, the first being the photo."""
    visited, momentum = [hill.clean], np.zeros_like(hill.clean)
    for _ in range(steps):
        gradient = hill.gradient(visited[-1])
        momentum = decay * momentum + gradient / np.abs(gradient).sum()
        visited.append(hill.project(visited[-1] + step * hill.steepest(momentum)))
    return visited


def apgd(hill: Hill, steps: int) -> tuple[list[Array], list[float], Array]:
    """Croce and Hein 2020, Algorithm 1: every point that is scored, each step's size, and the best point."""
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    marks = [0, *sorted({math.ceil(round(share * steps, 9)) for share in shares[1:]} - {steps})]
    size, sizes = 2 * hill.eps, []
    points: list[Array] = [hill.clean]  # after what a checkpoint moved
    scored: list[Array] = [hill.clean]
    best, bests = hill.clean, [hill.value(hill.clean)]
    last_halved = False
    rose: list[bool] = []
    for count in range(1, steps + 1):
        here = points[-1]
        stepped = hill.project(here + size * hill.steepest(hill.gradient(here)))
        if count > 1:
            stepped = hill.project(here + 0.75 * (stepped - here) + 0.25 * (here - points[-2]))
        sizes.append(size)
        scored.append(stepped)
        rose.append(hill.value(stepped) > hill.value(here))
        if hill.value(stepped) > hill.value(best):
            best = stepped
        bests.append(hill.value(best))
        points.append(stepped)
        if count in marks:
            before = max(mark for mark in marks if mark < count)
            condition_1 = sum(rose[before:count]) < 0.75 * (count - before)
            condition_2 = not last_halved and bests[count] == bests[before]
            last_halved = condition_1 or condition_2
            if last_halved:
                size /= 2
                points[-1] = best
    return scored, sizes, best
