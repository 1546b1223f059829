"""What the light recipe's penalty costs by the share of each batch that it is measured on, and by how often.

A step on a share is timed; a step in so many follows from it, for the steps between are the baseline's. What such
savings cost in robustness is another matter: the experiments `penalty-fraction` and `penalty-every` train them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch

from benchmarks.cases import LIGHT_RECIPE, Case, Planned, Settings, Works
from benchmarks.nt_step import BASELINE, penalized_share, penalized_step, penalty_of
from benchmarks.store import Group
from benchmarks.timing import Spread, blend, interleaved, ratio
from robustiqa.core.penalty import Penalty
from robustiqa.training.build import build_penalty
from robustiqa.training.spec import load_recipe

FRACTIONS = (1.0, 0.5, 0.25, 0.125)
EVERY = (1, 2, 4, 8)  # steps


def share_name(fraction: float) -> str:
    """What tables call a step with the penalty on a share of the batch."""
    return f"penalty on {fraction:g} of the batch"


def _penalty(fraction: float) -> Penalty:
    recipe = load_recipe(LIGHT_RECIPE)
    return build_penalty(replace(recipe.penalty, fraction=fraction), recipe.epochs - 1)


def measure(case: Case, settings: Settings) -> Group:
    """One network, float32, channels_last."""
    model, images = case.build("channels_last", settings.device).train(), case.crops(settings.device)
    mos = torch.linspace(0, 100, len(images), device=images.device)
    penalties = {BASELINE: penalty_of(BASELINE), **{share_name(part): _penalty(part) for part in FRACTIONS}}
    works: Works = {name: penalized_step(model, images, mos, penalty) for name, penalty in penalties.items()}
    seconds = interleaved(works, settings.effort, settle=settings.settle)
    return Group(case.name, seconds, facts={"penalized_share": penalized_share()})


def training_ratio(group: Group, fraction: float, every: int) -> Spread:
    """Steps of a whole training over those of the baseline's, the epochs before the penalty begins included."""
    share = float(group.facts["penalized_share"]) / every
    plain = group.seconds[BASELINE]
    return ratio(blend([(share, group.seconds[share_name(fraction)]), (1 - share, plain)]), plain)


def plan(settings: Settings) -> Iterator[Planned]:
    """HyperIQA, light and full."""
    for case in settings.main_cases:
        yield Planned(case.name, partial(measure, case, settings))
