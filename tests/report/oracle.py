"""Every number of a table once more: from the raw records with NumPy and SciPy, sharing no code with the package."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from robustiqa.evaluation.records import Record
from robustiqa.evaluation.views import Evaluation

Array = npt.NDArray[np.float64]
Curve = Mapping[str, float] | None


@dataclass(frozen=True)
class Seen:
    """Opinions, scores before and scores after, (N,) each, sorted by key."""

    keys: tuple[str, ...]
    mos: Array
    before: Array
    after: Array


def records_of(
    evaluation: Evaluation, scorer: str, source: str, attack: str, goal: str, variant: str
) -> dict[str, Record]:
    """Records of one run by key."""
    wanted = (scorer, source, attack, goal, variant)
    return {r.key: r for r in evaluation.records if (r.scored_by, r.attacked_on, r.attack, r.goal, r.variant) == wanted}


def clean(evaluation: Evaluation, label: str) -> Seen:
    """A model on untouched photographs."""
    found = records_of(evaluation, label, label, "none", "none", "end_to_end")
    return _seen(found, {key: record.clean_score for key, record in found.items()})


def attacked(
    evaluation: Evaluation,
    label: str,
    attack: str,
    objective: str,
    *,
    source: str = "",
    variant: str = "end_to_end",
    precision: str = "8-bit",
) -> Seen:
    """A model before and after an attack; the attacked model decides the direction of each photograph."""
    source = source or label
    both = [records_of(evaluation, label, source, attack, goal, variant) for goal in ("lower", "raise")]
    seen = [records_of(evaluation, source, source, attack, goal, variant) for goal in ("lower", "raise")]
    middle = float(np.median([record.clean_score for record in seen[0].values()]))
    after, before = {}, {}
    for key in seen[0]:
        down, up = (run[key] for run in seen)
        if objective == "worst_of_both":
            way = 0 if abs(down.score - down.clean_score) >= abs(up.score - up.clean_score) else 1
        elif objective == "rank_split":
            way = 0 if down.clean_score > middle else 1
        elif objective == "farther_end":
            way = 0 if down.clean_score > 50 else 1
        else:
            way = ("lower", "raise").index(objective)
        chosen = both[way][key]
        before[key] = chosen
        after[key] = chosen.score if precision == "8-bit" else chosen.float_score
    return _seen(before, after)


def shrunk(plain: Seen, plain_clean: Array, held_clean: Array) -> Seen:
    """Scores of a baseline, compressed about its clean mean to the spread of another model."""
    mean, factor = plain_clean.mean(), held_clean.std() / plain_clean.std()
    return replace(plain, before=mean + factor * (plain.before - mean), after=mean + factor * (plain.after - mean))


def _seen(records: Mapping[str, Record], after: Mapping[str, float]) -> Seen:
    keys = tuple(sorted(records))
    mos = [math.nan if (opinion := records[key].mos) is None else opinion for key in keys]
    before = [records[key].clean_score for key in keys]
    return Seen(keys, np.array(mos), np.array(before), np.array([after[key] for key in keys]))


def _rmse(first: Array, second: Array) -> float:
    return math.sqrt(float(np.square(first - second).sum()) / len(first))


def _mapped(scores: Array, curve: Curve) -> Array:
    assert curve is not None
    return np.array(
        [
            curve["low"] + (curve["high"] - curve["low"]) / (1 + math.exp(-(score - curve["center"]) / curve["width"]))
            for score in scores
        ]
    )


def _room(seen: Seen) -> float:
    parts = [
        math.log10(max(100 - before, before) / max(abs(after - before), 0.1))
        for before, after in zip(seen.before, seen.after, strict=True)
    ]
    return sum(parts) / len(parts)


def _correlation(test: Any) -> Callable[[Array, Array], float]:
    return lambda first, second: float(test(first, second)[0])


_PAIRS: Mapping[str, Callable[[Array, Array], float]] = {
    "rmse": _rmse,
    "srocc": _correlation(stats.spearmanr),
    "plcc": _correlation(stats.pearsonr),
    "krocc": _correlation(stats.kendalltau),
}


def measure(name: str, seen: Seen, curve: Curve = None) -> float:
    """A measure by its name in the package; NaN where a curve is needed and there is none."""
    if name == "spread":
        return math.sqrt(float(np.square(seen.before - seen.before.mean()).mean()))
    if name == "change_over_spread":
        return _rmse(seen.before, seen.after) / measure("spread", seen)
    if name == "r_robustness":
        return _room(seen)
    if name in ("plcc_mapped_mos", "change_mapped"):
        if curve is None:
            return math.nan
        before, after = _mapped(seen.before, curve), _mapped(seen.after, curve)
        return _PAIRS["plcc"](after, seen.mos) if name == "plcc_mapped_mos" else _rmse(before, after)
    kind, against = name.split("_")
    return _PAIRS[kind](seen.mos if against == "mos" else seen.before, seen.after)


def mean_of(name: str, seeds: Iterable[Seen], curves: Sequence[Curve] = (None, None)) -> float:
    """A measure averaged over seeds."""
    values = [measure(name, seen, curve) for seen, curve in zip(seeds, curves, strict=False)]
    return sum(values) / len(values)


def interval(statistic: Callable[[npt.NDArray[np.intp]], float], count: int, samples: int) -> tuple[float, float]:
    """Percentile bootstrap: places drawn from the upper 32 bits of PCG64's raw words, seed 0."""
    words = np.random.PCG64(0).random_raw(samples * count)
    places = [[(int(word) >> 32) * count >> 32 for word in words[row * count :][:count]] for row in range(samples)]
    values = [statistic(np.array(drawn, dtype=np.intp)) for drawn in places]
    low, high = np.percentile([value for value in values if not math.isnan(value)], [2.5, 97.5])
    return float(low), float(high)


def drawn(seen: Seen, places: npt.NDArray[np.intp]) -> Seen:
    """The photographs of one resample."""
    return replace(seen, mos=seen.mos[places], before=seen.before[places], after=seen.after[places])
