"""Photographs a second of `model.score` on whole photographs, against the bare network on their crops.

A photograph of 512x512 pixels is nine crops of 224x224.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from benchmarks.cases import Case, Planned, Settings, Works
from benchmarks.store import Group
from benchmarks.timing import interleaved
from robustiqa.core.model import QualityModel
from robustiqa.models.crop_average import CropAverage
from robustiqa.models.folding import folded

SIDE, PHOTOS, QUICK_SIDE = 512, 4, 256
BARE = "bare forward passes over the crops"
ONE, TOGETHER = "score, one photograph at a time", f"score, {PHOTOS} at a time"
FOLDED = "the same, batch norms folded"  # as evaluations and the command line score
WORKS = (BARE, ONE, TOGETHER, FOLDED)


def measure(case: Case, settings: Settings) -> Group:
    """One network."""
    side = QUICK_SIDE if settings.quick else SIDE
    draw = torch.Generator().manual_seed(1)
    photos = torch.randint(256, (PHOTOS, 3, side, side), generator=draw).float().div(255).to(settings.device)
    model = case.build("channels_last", settings.device)
    whole, fewer_layers = CropAverage(model), CropAverage(folded(model))
    crops = whole.crops(photos)  # (N, K, 3, 224, 224)
    works: Works = {
        BARE: lambda: _bare(model, crops),
        ONE: lambda: [whole.score(photo[None]) for photo in photos],
        TOGETHER: lambda: whole.score(photos),
        FOLDED: lambda: fewer_layers.score(photos),
    }
    seconds = interleaved(works, settings.effort, settle=settings.settle)
    facts = {"photograph": f"{side}x{side}", "crops": crops.shape[1]}
    return Group(case.name, seconds, items=dict.fromkeys(works, float(PHOTOS)), facts=facts)


def _bare(model: QualityModel, crops: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return [model(of_photo) for of_photo in crops]


def plan(settings: Settings) -> Iterator[Planned]:
    """HyperIQA, light and full."""
    for case in settings.main_cases:
        yield Planned(case.name, partial(measure, case, settings))
