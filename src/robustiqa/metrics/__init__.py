"""Metrics by name. Each takes two 1-D NumPy arrays over the same photos; its options are keywords.

Scores against opinion scores, or scores before an attack against scores after it: `rmse`, `plcc`, `srocc`, `krocc`.
Before against after: `r_robustness`, `change_over_spread`, `mean_absolute_change`, `max_absolute_change`.
Rises, as the MSU benchmark scores them: `absolute_gain`, `relative_gain`, `wasserstein_gain`, `energy_gain`.
With a logistic that was fitted elsewhere: `plcc_mapped`, `rmse_mapped`, `change_mapped`.
An interval for any of them: `robustiqa.metrics.bootstrap`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import SupportsFloat, cast

from robustiqa.core.registry import Registry

__all__ = ["get_metric", "list_metrics", "metrics"]

metrics: Registry[SupportsFloat] = Registry(
    "metric",
    {
        "absolute_gain": "robustiqa.metrics.gains:absolute_gain",
        "change_mapped": "robustiqa.metrics.mapping:change_mapped",
        "change_over_spread": "robustiqa.metrics.robustness:change_over_spread",
        "energy_gain": "robustiqa.metrics.gains:energy_gain",
        "krocc": "robustiqa.metrics.correlation:krocc",
        "max_absolute_change": "robustiqa.metrics.robustness:max_absolute_change",
        "mean_absolute_change": "robustiqa.metrics.robustness:mean_absolute_change",
        "plcc": "robustiqa.metrics.correlation:plcc",
        "plcc_mapped": "robustiqa.metrics.mapping:plcc_mapped",
        "r_robustness": "robustiqa.metrics.robustness:r_robustness",
        "relative_gain": "robustiqa.metrics.gains:relative_gain",
        "rmse": "robustiqa.metrics.correlation:rmse",
        "rmse_mapped": "robustiqa.metrics.mapping:rmse_mapped",
        "srocc": "robustiqa.metrics.correlation:srocc",
        "wasserstein_gain": "robustiqa.metrics.gains:wasserstein_gain",
    },
)


def list_metrics() -> list[str]:
    """Names of all metrics, sorted."""
    return metrics.names()


def get_metric(name: str) -> Callable[..., SupportsFloat]:
    """The function called `name`; `float()` of what it returns is the metric's value.

    Raises:
        UnknownNameError: with the closest known name and the list of all.
    """
    return cast("Callable[..., SupportsFloat]", metrics.get(name))
