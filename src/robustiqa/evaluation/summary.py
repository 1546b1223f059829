"""Summary statistics: every number a table shows, with its interval and each seed's own value.

A number belongs to a group (the seeds of one recipe, or one model), a measure and a condition (clean, or one attack
under one objective). Its value is the mean over seeds. The intervals come from one bootstrap over photographs whose
resamples are the same for all models: seeds are averaged, and models subtracted, within a resample, so that
differences are paired. They say how far a number would move with other photographs and nothing about other seeds of
training; for those, each seed's value is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from robustiqa.core.calibration import Logistic
from robustiqa.core.errors import InputError
from robustiqa.evaluation.measures import MEASURES, UNTOUCHED, Condition, Estimate, Group, Measure
from robustiqa.evaluation.records import CLEAN
from robustiqa.evaluation.views import Array, Evaluation, Scores
from robustiqa.metrics import get_metric
from robustiqa.metrics.bootstrap import Interval, resample_counts
from robustiqa.metrics.mapping import fit_logistic
from robustiqa.metrics.resampled import Statistic, resampled_form
from robustiqa.metrics.robustness import Robustness, score_spread

LEVEL = 0.95
SAMPLES = 2000
FEWEST_PHOTOS = 2  # below it there is nothing to correlate and no spread


@dataclass(frozen=True)
class _Drawn:
    """Values on the photographs themselves (one a seed), and the seeds' mean on every resample (samples,)."""

    seeds: tuple[float, ...]
    resampled: Array
    keys: tuple[str, ...]
    floored: int = 0

    @property
    def value(self) -> float:
        return math.fsum(self.seeds) / len(self.seeds)


@dataclass(frozen=True)
class Summary:
    """The statistics of one evaluation; each is computed when first asked for and then kept.

    Args:
        evaluation: Records and what they are of.
        samples: Bootstrap resamples.
        seed: Of the resamples.
    """

    evaluation: Evaluation
    samples: int = SAMPLES
    seed: int = 0
    _kept: dict[tuple[str, str, Condition], _Drawn] = field(default_factory=dict, init=False, repr=False, compare=False)
    _fits: dict[str, Logistic | None] = field(default_factory=dict, init=False, repr=False, compare=False)

    def estimate(self, group: Group, measure: str, condition: Condition = UNTOUCHED) -> Estimate:
        """A measure of a group: `estimate(base, "srocc_mos")`.

        Raises:
            InputError: if the records that this needs were not made, or its seeds scored other photographs.
        """
        drawn = self._group(group, measure, condition)
        return self._estimate(drawn.value, drawn.resampled, drawn.seeds, drawn)

    def difference(
        self,
        first: Group,
        second: Group,
        measure: str,
        condition: Condition = UNTOUCHED,
    ) -> Estimate:
        """`second - first`, paired photo by photo; seeds pair by position where there are as many.

        Raises:
            InputError: as `estimate`, or if the groups scored other photographs.
        """
        return self._paired((first, condition), (second, condition), measure, lambda a, b: b - a)

    def reduction(self, first: Group, second: Group, measure: str, condition: Condition) -> Estimate:
        """How far `second` lies below `first`, as a share of it: `1 - second / first`, paired likewise."""
        return self._paired((first, condition), (second, condition), measure, _reduction)

    def contrast(self, group: Group, measure: str, first: Condition, second: Condition) -> Estimate:
        """`second - first` of one group under two conditions, paired photo by photo."""
        return self._paired((group, first), (group, second), measure, lambda a, b: b - a)

    def excess(self, group: Group, measure: str, first: Condition, second: Condition) -> Estimate:
        """How far a group's value under `second` lies above that under `first`, as a share of it, paired likewise."""
        return self._paired((group, first), (group, second), measure, lambda a, b: -_reduction(a, b))

    def weighted(self, terms: Sequence[tuple[float, Group, str, Condition]]) -> Estimate:
        """A sum of numbers of this evaluation, each times its weight: a mean over attacks, a difference of differences.

        Numbers of the same photographs are paired. Those of others are summed as they are, and the interval takes them
        for independent.

        Args:
            terms: Weight, group, measure and condition of each; at least one.
        """
        drawn = [(weight, self._group(group, measure, condition)) for weight, group, measure, condition in terms]
        value = math.fsum(weight * one.value for weight, one in drawn)
        resampled = np.sum([weight * one.resampled for weight, one in drawn], axis=0)
        return self._estimate(value, resampled, (), drawn[0][1])

    def logistic(self, label: str) -> Logistic | None:
        """The curve fitted to a model's clean validation scores; None if there is none or the fit failed.

        Raises:
            InputError: if what the evaluation holds is not a curve.
        """
        found: Any = self.evaluation.info.get("info", {}).get("calibration", {}).get(label)
        if found is None:
            return None
        if not isinstance(found, Mapping) or set(found) != {"low", "high", "center", "width"}:
            raise InputError(f"the calibration of {label!r} must hold low, high, center and width, got {found!r}.")
        return Logistic(**{name: float(value) for name, value in found.items()})

    def fit(self, label: str) -> Logistic | None:
        """The curve fitted to all clean scores and opinions that the evaluation holds of a model; None if it failed.

        It is the convention of the field since VQEG 2000: fitted to the photographs that it is judged on, so a
        little kind. Attacked scores and resamples go through the same curve.
        """
        if label not in self._fits:
            scores = self.evaluation.clean(label)
            self._fits[label] = None if scores.mos is None else fit_logistic(scores.before, scores.mos)
        return self._fits[label]

    def scores(self, label: str, condition: Condition, attacked_on: str | None = None) -> Scores:
        """The records behind the numbers of one model."""
        if condition.attack == CLEAN:
            return self.evaluation.clean(label)
        return self.evaluation.attacked(
            label, condition.attack, condition.objective, variant=condition.variant, attacked_on=attacked_on
        )

    def changes(self, group: Group, condition: Condition) -> Array:
        """Score after minus score before, seed after seed, (seeds * N,)."""
        return np.concatenate([self._changes(label, condition) for label in group.labels])

    def gradient_norms(self, group: Group, condition: Condition = UNTOUCHED) -> Array | None:
        """L1 norms of the clean photographs' gradients, in the order of `changes`; None if they were not kept.

        Args:
            group: Whose.
            condition: Only photographs that met it.
        """
        found: list[float | None] = []
        for label in group.labels:
            norms = {record.key: record.gradient_l1 for record in self.evaluation.clean(label).records}
            found += [norms[key] for key in self.scores(label, condition).keys]
        return None if None in found else np.array(found, dtype=np.float64)

    def _changes(self, label: str, condition: Condition) -> Array:
        scores = self.scores(label, condition)
        return scores.change if condition.precision == "8-bit" else scores.float_after - scores.before

    def _paired(
        self,
        first: tuple[Group, Condition],
        second: tuple[Group, Condition],
        measure: str,
        combine: Callable[[Array, Array], Array],
    ) -> Estimate:
        one, other = (self._group(group, measure, condition) for group, condition in (first, second))
        _check_same_photos(first[0].name, one.keys, second[0].name, other.keys)
        seeds: tuple[float, ...] = ()
        if len(one.seeds) == len(other.seeds):
            seeds = tuple(combine(np.array(one.seeds), np.array(other.seeds)).tolist())
        value = float(combine(np.array([one.value]), np.array([other.value]))[0])
        return self._estimate(value, combine(one.resampled, other.resampled), seeds, other)

    def _estimate(self, value: float, resampled: Array, seeds: tuple[float, ...], drawn: _Drawn) -> Estimate:
        defined = resampled[~np.isnan(resampled)]
        low = high = math.nan
        if not math.isnan(value) and len(defined):
            low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
        interval = Interval(value, low, high, len(resampled), len(resampled) - len(defined), LEVEL)
        return Estimate(interval, seeds, len(drawn.keys), drawn.floored)

    def _group(self, group: Group, measure: str, condition: Condition) -> _Drawn:
        sources: tuple[str | None, ...] = (None,) * len(group.labels)
        if condition.attacked_on is not None:
            sources = condition.attacked_on.labels
        if len(sources) != len(group.labels):
            raise InputError(
                f"{group.name} has {len(group.labels)} models and the attacked {len(sources)}; transfer pairs them."
            )
        drawn = [
            self._model(label, source, measure, condition) for label, source in zip(group.labels, sources, strict=True)
        ]
        for label, model in zip(group.labels, drawn, strict=True):
            _check_same_photos(group.labels[0], drawn[0].keys, label, model.keys)
        return _Drawn(
            seeds=tuple(model.seeds[0] for model in drawn),
            resampled=np.mean([model.resampled for model in drawn], axis=0),
            keys=drawn[0].keys,
            floored=sum(model.floored for model in drawn),
        )

    def _model(self, label: str, source: str | None, measure: str, condition: Condition) -> _Drawn:
        place = (f"{label}\n{source or label}", measure, condition)
        if place not in self._kept:
            self._kept[place] = self._draw(label, source, MEASURES[measure], condition)
        return self._kept[place]

    def _draw(self, label: str, source: str | None, measure: Measure, condition: Condition) -> _Drawn:
        scores = self.scores(label, condition, source)
        arrays = _arrays(scores, measure, condition)
        if arrays is None or len(scores) < FEWEST_PHOTOS:
            return _Drawn((math.nan,), np.full(self.samples, np.nan), tuple(scores.keys))
        statistic = self._statistic(measure, label)
        value = statistic(*arrays)
        return _Drawn(
            seeds=(float(value),),
            resampled=_resampled(statistic, arrays, self.samples, self.seed),
            keys=tuple(scores.keys),
            floored=value.floored if isinstance(value, Robustness) else 0,
        )

    def _statistic(self, measure: Measure, label: str) -> Statistic:
        if measure.against == "alone":
            return score_spread
        metric = get_metric(measure.metric)
        if measure.needs == "scale":
            return partial(metric, scale=self.evaluation.scale(label))
        if measure.needs == "fit":
            return partial(metric, logistic=self.fit(label))
        return partial(metric, logistic=self.logistic(label)) if measure.needs == "logistic" else metric


def _arrays(scores: Scores, measure: Measure, condition: Condition) -> tuple[Array, ...] | None:
    """What the metric takes; None if it needs opinion scores and a photo has none."""
    after = scores.after if condition.precision == "8-bit" else scores.float_after
    if measure.against == "alone":
        return (scores.before,)
    if measure.against == "before":
        return scores.before, after
    return None if scores.mos is None else (after, scores.mos)


def _resampled(statistic: Statistic, arrays: tuple[Array, ...], samples: int, seed: int) -> Array:
    """The statistic on every resample, (samples,)."""
    form = resampled_form(statistic)
    blocks = resample_counts(len(arrays[0]), samples, seed)
    if form is not None:
        return np.concatenate([form(counts, *arrays) for counts in blocks])
    return np.array(
        [
            float(statistic(*(np.repeat(array, counts) for array in arrays)))
            for block in blocks
            for counts in block.astype(np.intp)
        ]
    )


def _reduction(first: Array, second: Array) -> Array:
    share = np.full(first.shape, np.nan)
    np.divide(second, first, out=share, where=first > 0)
    return 1 - share


def _check_same_photos(first: str, keys: tuple[str, ...], second: str, others: tuple[str, ...]) -> None:
    if keys != others:
        raise InputError(
            f"{first!r} and {second!r} were evaluated on other photographs "
            f"({len(keys)} and {len(others)}); finish the evaluation first."
        )
