"""Fittings of attacks by name, apart from what they are: to list them, nothing need be imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustiqa.core.registry import Registry

if TYPE_CHECKING:
    from robustiqa.training.learners import FitSpec

fits: Registry[FitSpec] = Registry(
    "fitting",
    {"facpa": "robustiqa.training.learners:FACPAFit", "uap": "robustiqa.training.learners:UAPFit"},
)
