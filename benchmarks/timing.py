"""Interleaved timing, and what is read from it: medians, quartiles and ratios.

Every work runs once a round, round after round, so that whatever the machine does meanwhile hits all alike. Every
second round runs backwards, which cancels a steady drift. The first round warms up and, as a rule, does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter

Work = Callable[[], object]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        rounds: At most.
        least: Rounds that are run however long they take.
        seconds: After which no further round begins, the warm-up included.
        warm_up: Whether a first round comes on top and does not count.
    """

    rounds: int = 9
    least: int = 3
    seconds: float = 600.0
    warm_up: bool = True


@dataclass(frozen=True)
class Spread:
    """A median, or a ratio of medians, and the quartiles of what it was made from."""

    middle: float
    low: float
    high: float


def interleaved(
    works: Mapping[str, Work], effort: Effort, *, settle: Work = lambda: None, clock: Clock = perf_counter
) -> dict[str, list[float]]:
    """Seconds of each work in each round.

    Args:
        works: What to run, by name.
        effort: How often.
        settle: Waits until the device is idle; called before each reading of the clock.
        clock: Seconds.
    """
    found: dict[str, list[float]] = {name: [] for name in works}
    begin = clock()
    for number in range(0 if effort.warm_up else 1, effort.rounds + 1):
        if number > effort.least and clock() - begin >= effort.seconds:
            break
        for name in list(works)[:: -1 if number % 2 else 1]:
            settle()
            start = clock()
            works[name]()
            settle()
            if number:
                found[name].append(clock() - start)
    return found


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles; of a single value, that value."""
    low, middle, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else (values[0],) * 3
    return Spread(middle, low, high)


def ratio(values: Sequence[float], units: Sequence[float]) -> Spread:
    """The ratio of the medians, and the quartiles of the ratios round by round.

    Raises:
        ValueError: if the two are not of the same rounds.
    """
    paired = spread([value / unit for value, unit in zip(values, units, strict=True)])
    return Spread(median(values) / median(units), paired.low, paired.high)


def blend(parts: Sequence[tuple[float, Sequence[float]]]) -> list[float]:
    """Round by round, the sum of each part's seconds times its share."""
    rounds = zip(*(seconds for _, seconds in parts), strict=True)
    shares = [share for share, _ in parts]
    return [sum(share * value for share, value in zip(shares, values, strict=True)) for values in rounds]
