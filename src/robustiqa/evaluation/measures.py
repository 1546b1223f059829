"""What a number in a table is of: a group of models, a measure, a condition; and the number itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from robustiqa.evaluation.records import CLEAN
from robustiqa.metrics.bootstrap import Interval


@dataclass(frozen=True)
class Group:
    """Models that one column stands for.

    Attributes:
        name: What a table calls it.
        labels: Its models in the records; several are seeds of one recipe.
    """

    name: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Condition:
    """What was done to the photographs before they were scored; nothing, by default.

    Attributes:
        attack: Label of the attack, or `none`.
        objective: See `Evaluation.attacked`.
        precision: Whether the scores are of the 8-bit images or of the float ones.
        variant: `end_to_end` or `patchwise`.
        attacked_on: The models that were attacked, paired by position with those that score; None if the same.
    """

    attack: str = CLEAN
    objective: str = CLEAN
    precision: Literal["8-bit", "float"] = "8-bit"
    variant: str = "end_to_end"
    attacked_on: Group | None = None


UNTOUCHED = Condition()


@dataclass(frozen=True)
class Measure:
    """A metric and what it compares.

    Attributes:
        metric: Name in `robustiqa.metrics`, or `spread` for the standard deviation of the clean scores.
        title: As tables head it.
        against: `mos` (scores against opinions), `before` (scores before against after), `alone` (clean scores).
        higher_is_better: None where neither is.
        needs: What of the model the metric takes: its `scale`, its `logistic` (fitted on validation photographs), a
            logistic that is the `fit` to the very photographs that were evaluated, or nothing.
        digits: After the point.
    """

    metric: str
    title: str
    against: Literal["mos", "before", "alone"]
    higher_is_better: bool | None
    needs: Literal["", "scale", "logistic", "fit"] = ""
    digits: int = 3


MEASURES: Mapping[str, Measure] = {
    "rmse_mos": Measure("rmse", "RMSE", "mos", False, digits=2),
    "srocc_mos": Measure("srocc", "SROCC", "mos", True),
    "plcc_mos": Measure("plcc", "PLCC (raw)", "mos", True),
    "plcc_mapped_mos": Measure("plcc_mapped", "PLCC (mapped)", "mos", True, "logistic"),
    "plcc_fitted_mos": Measure("plcc_mapped", "PLCC (logistic fit)", "mos", True, "fit"),
    "krocc_mos": Measure("krocc", "KROCC", "mos", True),
    "rmse_change": Measure("rmse", "RMSE", "before", False, digits=2),
    "srocc_change": Measure("srocc", "SROCC", "before", True),
    "plcc_change": Measure("plcc", "PLCC (raw)", "before", True),
    "krocc_change": Measure("krocc", "KROCC", "before", True),
    "r_robustness": Measure("r_robustness", "R robustness", "before", True, "scale"),
    "change_over_spread": Measure("change_over_spread", "Change / clean spread", "before", False, digits=2),
    "change_mapped": Measure("change_mapped", "RMSE of mapped scores", "before", False, "logistic", digits=2),
    "mean_absolute_change": Measure("mean_absolute_change", "Mean |change|", "before", False, digits=2),
    "absolute_gain": Measure("absolute_gain", "Absolute gain", "before", False),
    "relative_gain": Measure("relative_gain", "Relative gain", "before", False),
    "wasserstein_gain": Measure("wasserstein_gain", "Wasserstein", "before", False),
    "energy_gain": Measure("energy_gain", "Energy distance", "before", False),
    "spread": Measure("spread", "Spread of clean scores", "alone", None, digits=2),
}


@dataclass(frozen=True)
class Estimate:
    """A number of a group.

    Attributes:
        interval: The mean over seeds and its 95 % bootstrap interval; NaN where it is undefined or can't be had.
        seeds: Each seed's value, in the group's order; empty for a difference of groups that do not pair.
        count: Photographs.
        floored: Changes below the floor of R robustness, over all seeds; 0 for other measures.
    """

    interval: Interval
    seeds: tuple[float, ...]
    count: int
    floored: int = 0

    @property
    def value(self) -> float:
        """The number itself."""
        return self.interval.value

    @property
    def defined(self) -> bool:
        """Whether there is a number."""
        return not math.isnan(self.value)
