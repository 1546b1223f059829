"""Photographs a second from the training loader, with 0 and 2 workers, against what the light NT recipe takes.

An epoch is timed as training runs it: workers are started, and every crop is read from the decoded photographs.
Decoding happens once a run, in the first epoch; its rate stands beside the others.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from benchmarks.cases import GUARDED_LIGHT, LIGHT_RECIPE, QUICK, Planned, Settings, Works
from benchmarks.nt_step import BASELINE, RECIPE, step
from benchmarks.store import Group
from benchmarks.timing import Work, interleaved

if TYPE_CHECKING:
    from robustiqa.core.dataset import Dataset

WORKERS = (0, 2)
PHOTOS, QUICK_PHOTOS = 480, 16
LARGEST_SIDE = 300  # of the builtin pictures


def loader_name(workers: int) -> str:
    """Name of the work."""
    return f"loader, {workers} workers"


def measure(dataset: Dataset, settings: Settings) -> Group:
    """One dataset."""
    import torch

    from robustiqa.training.crops import Crops, DecodedPhotos, EpochBatches, epoch_loader
    from robustiqa.training.spec import load_recipe

    recipe = load_recipe(LIGHT_RECIPE)
    case = next(iter(QUICK.values())) if settings.quick else GUARDED_LIGHT
    photos = dataset.part(recipe.data.part)
    photos = photos.select([photo.key for photo in photos][: QUICK_PHOTOS if settings.quick else PHOTOS])
    model = case.build("channels_last", settings.device).train()
    images = case.crops(settings.device)
    mos = torch.linspace(0, 100, case.batch, device=settings.device)
    with tempfile.TemporaryDirectory() as folder:
        crops = Crops(photos, DecodedPhotos(Path(folder)), case.side, recipe.data, recipe.seed)
        start = perf_counter()
        for place in range(len(photos)):
            crops[place, 0, 0]
        decoding = perf_counter() - start
        batches = EpochBatches(len(photos), 1, batch_size=case.batch, seed=0, epoch=0)

        def epoch(workers: int) -> Work:
            def work() -> None:
                for _ in epoch_loader(crops, batches, workers, settings.device != "cpu"):
                    pass

            return work

        works: Works = {loader_name(workers): epoch(workers) for workers in WORKERS}
        items = dict.fromkeys(works, float(len(batches) * case.batch))
        for method in (BASELINE, RECIPE):
            works[method] = step(model, images, mos, method, "float32")
            items[method] = float(case.batch)
        seconds = interleaved(works, settings.effort, settle=settings.settle)
    first = photos.photos[0].read()
    facts = {
        "photographs": len(photos),
        "pixels": f"{first.shape[-1]}x{first.shape[-2]}",
        "decoded_per_second": round(len(photos) / decoding, 1),
        "network": case.name,
    }
    return Group(dataset.name, seconds, items=items, facts=facts)


def plan(settings: Settings) -> Iterator[Planned]:
    """The dataset of the settings."""
    from robustiqa.datasets import create_dataset

    options = {"size": LARGEST_SIDE} if settings.data == "builtin" else {}
    dataset = create_dataset(settings.data, **options)
    yield Planned(dataset.name, partial(measure, dataset, settings))
