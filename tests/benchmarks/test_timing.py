from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from benchmarks.timing import Effort, Spread, Work, blend, interleaved, ratio, spread


class Clock:
    """Moves only when a work runs."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ran: list[str] = []

    def __call__(self) -> float:
        return self.now

    def works(self, **seconds: float) -> dict[str, Work]:
        def work(name: str) -> None:
            self.now += seconds[name]
            self.ran.append(name)

        return {name: partial(work, name) for name in seconds}


def test_each_round_runs_every_work_once_and_every_second_round_backwards() -> None:
    clock = Clock()
    interleaved(clock.works(a=1, b=1, c=1), Effort(rounds=2), clock=clock)
    assert "".join(clock.ran) == "abccbaabc"


def test_the_warm_up_is_run_and_does_not_count() -> None:
    clock = Clock()
    found = interleaved(clock.works(a=2, b=3), Effort(rounds=4), clock=clock)
    assert found == {"a": [2.0] * 4, "b": [3.0] * 4}
    assert clock.ran.count("a") == 5


def test_without_a_warm_up_every_round_counts() -> None:
    clock = Clock()
    found = interleaved(clock.works(a=2), Effort(rounds=3, warm_up=False), clock=clock)
    assert found == {"a": [2.0] * 3}
    assert len(clock.ran) == 3


@pytest.mark.parametrize(("seconds", "rounds"), [(0.0, 2), (35.0, 3), (1e9, 6)])
def test_no_round_begins_after_the_time_is_spent_but_the_least_are_run(seconds: float, rounds: int) -> None:
    clock = Clock()
    effort = Effort(rounds=6, least=2, seconds=seconds)
    found = interleaved(clock.works(a=4, b=6), effort, clock=clock)
    assert len(found["a"]) == len(found["b"]) == rounds


def test_the_device_is_waited_for_before_each_reading_of_the_clock() -> None:
    clock, order = Clock(), []

    def settle() -> None:
        clock.now += 10
        order.append("settle")

    found = interleaved({"a": lambda: order.append("work")}, Effort(rounds=1), settle=settle, clock=clock)
    assert order == ["settle", "work", "settle"] * 2
    assert found == {"a": [10.0]}


def test_a_spread_is_the_median_and_the_quartiles() -> None:
    values = [3.0, 1.0, 7.0, 2.0, 9.0, 4.0]
    low, middle, high = np.percentile(values, [25, 50, 75])
    assert spread(values) == Spread(middle, low, high)
    assert spread([5.0]) == Spread(5.0, 5.0, 5.0)


def test_a_ratio_is_of_medians_and_its_brackets_are_round_by_round() -> None:
    found = ratio([3.0, 9.0, 4.0], [1.0, 2.0, 8.0])
    assert found.middle == 4.0 / 2.0
    low, high = np.percentile([3.0, 4.5, 0.5], [25, 75])
    assert (found.low, found.high) == (low, high)


def test_a_ratio_of_other_rounds_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio([1.0, 2.0], [1.0])


def test_a_blend_is_the_weighted_sum_of_each_round() -> None:
    assert blend([(0.25, [4.0, 8.0]), (0.75, [2.0, 4.0])]) == [2.5, 5.0]
