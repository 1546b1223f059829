"""What is known of objectives and attacks by their names alone: to say it, nothing need be imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustiqa.core.registry import Registry

if TYPE_CHECKING:
    from robustiqa.core.objective import Objective

BLACK_BOX_MEMBERS = ("square",)  # of `ensemble`: they follow no gradient

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
