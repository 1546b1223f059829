"""Evaluations for the diagnostics: twelve photos, and runs whose every change the test says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from robustiqa.core.pixels import whole_levels
from robustiqa.evaluation.records import CLEAN, Record
from robustiqa.evaluation.views import Evaluation

COUNT = 12
SPREAD_OUT = [22.0 + 5 * place for place in range(COUNT)]  # mean and median 49.5; six above mid-scale
Change = float | Callable[[int], float]


def clean_records(
    model: str = "m", scores: Sequence[float] = SPREAD_OUT, gradient_l1: float | None = 1000.0
) -> list[Record]:
    """Untouched photos of one model."""
    return [
        Record(f"p{n:02d}", None, model, model, CLEAN, CLEAN, "end_to_end", 0.0, 0, score, score, score, gradient_l1)
        for n, score in enumerate(scores)
    ]


def attacked(
    attack: str,
    change: Change,
    *,
    model: str = "m",
    on: str | None = None,
    goal: str = "raise",
    eps: float = 4 / 255,
    queries: int = 1,
    gradients: int = 1,
    in_float: Change | None = None,
    linf: float | None = None,
    scores: Sequence[float] = SPREAD_OUT,
    variant: str = "end_to_end",
) -> list[Record]:
    """Photos of one run; `change` in score points, up for `raise` and down for `lower`, one or by place."""
    sign = -1 if goal == "lower" else 1
    made = []
    for place, record in enumerate(clean_records(model, scores, None)):
        step, float_step = (
            sign * (moved(place) if callable(moved) else moved)
            for moved in (change, change if in_float is None else in_float)
        )
        made.append(
            replace(
                record,
                attacked_on=model if on is None else on,
                attack=attack,
                goal=goal,
                variant=variant,
                eps=eps,
                levels=whole_levels(eps),
                score=record.clean_score + step,
                float_score=record.clean_score + float_step,
                linf=whole_levels(eps) if linf is None else linf,
                queries=queries,
                gradients=gradients,
            )
        )
    return made


def both(attack: str, change: Change, **options: Any) -> list[Record]:
    """The same in both directions, so that no run is one-sided."""
    return [record for goal in ("lower", "raise") for record in attacked(attack, change, goal=goal, **options)]


def evaluation(*records: Iterable[Record], **info: Any) -> Evaluation:
    """Of some runs."""
    return Evaluation(tuple(record for run in records for record in run), {"info": info})
