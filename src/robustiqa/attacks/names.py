"""Objectives by name, apart from what they are: to list them, nothing need be imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustiqa.core.registry import Registry

if TYPE_CHECKING:
    from robustiqa.core.objective import Objective

objectives: Registry[Objective] = Registry(
    "objective",
    {
        "lower": "robustiqa.attacks.objectives:Lower",
        "raise": "robustiqa.attacks.objectives:Raise",
        "farther_end": "robustiqa.attacks.objectives:FartherEnd",
        "worst_of_both": "robustiqa.attacks.objectives:WorstOfBoth",
        "rank_split": "robustiqa.attacks.objectives:RankSplit",
        "absolute_shift": "robustiqa.attacks.objectives:AbsoluteShift",
        "squared_shift": "robustiqa.attacks.objectives:SquaredShift",
        "target": "robustiqa.attacks.objectives:Target",
    },
)
