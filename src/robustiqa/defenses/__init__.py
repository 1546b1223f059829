"""Defenses: penalties that are added to a training loss. See `robustiqa.core.penalty.Penalty`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from robustiqa.core.registry import Registry

if TYPE_CHECKING:
    from robustiqa.core.penalty import Penalty

penalties: Registry[Penalty] = Registry(
    "penalty",
    {
        "nt": "robustiqa.defenses.norm_regularization:NormRegularization",
        "nt-standardized": "robustiqa.defenses.standardized_norm:StandardizedNormRegularization",
        "nt-published": "robustiqa.published.norm_regularization:NormRegularization",
    },
)
estimators: Registry[Any] = Registry(
    "estimator",
    {
        "finite_difference": "robustiqa.defenses.norm_regularization:FiniteDifference",
        "central_difference": "robustiqa.defenses.norm_regularization:CentralDifference",
        "double_backward": "robustiqa.defenses.norm_regularization:DoubleBackward",
    },
)
