"""Evaluation: models, photographs and attacks in, records out; stopped at any moment, it goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustiqa.attacks.base import NamedAttack
from robustiqa.attacks.perceptual_similarity import Similarity
from robustiqa.core import pixels
from robustiqa.core.checks import check_positive_integer
from robustiqa.core.dataset import Dataset, Photo
from robustiqa.core.errors import InputError
from robustiqa.core.model import QualityModel
from robustiqa.core.run_folder import environment, open_run_folder
from robustiqa.evaluation.batch_runs import PlannedRun, Shared, plan_runs, run_batch
from robustiqa.evaluation.fitting import Fitting, Tell
from robustiqa.evaluation.recording import Batch
from robustiqa.evaluation.records import CLEAN, RECORDS_FILE, RecordStore, check_finite
from robustiqa.evaluation.shards import WHOLE, Shard
from robustiqa.evaluation.views import Evaluation
from robustiqa.models.crop_average import CropAverage
from robustiqa.models.folding import folded
from robustiqa.models.weights import state_hash

VARIANTS = ("end_to_end", "patchwise")
Listener = Callable[[int, int], None]


def evaluate(
    models: QualityModel | Mapping[str, QualityModel],
    dataset: Dataset,
    attacks: Sequence[NamedAttack] = (),
    *,
    folder: Path | None = None,
    variants: Sequence[str] = ("end_to_end",),
    transfer: bool = False,
    batch_size: int = 1,
    device: torch.device | str = "cpu",
    small: str = "refuse",
    info: Mapping[str, Any] | None = None,
    timed: bool = False,
    lpips: Similarity | None = None,
    shard: Shard = WHOLE,
    attacked: Sequence[str] | None = None,
    progress: Listener | None = None,
    tell: Tell | None = None,
) -> Evaluation:
    """Scores and attacks every photograph with every model.

    A model with a crop size is scored, and attacked end to end, through `CropAverage`; its batch norms are folded on a
    copy (`models.folding`), the same function in less time. An objective that picks a direction for each photo is run
    as `lower` and `raise`, from which all such objectives can be read, unless it is to be run `once`. What does not
    depend on the attacked model (`Attack.asks_model`) is found once for all models, and costs each what it cost once.

    Args:
        models: One model, or labels to models.
        dataset: The photographs, usually one part of a split; `mos` may be missing.
        attacks: White-box on each model in turn.
        folder: A run folder for the records, continued if it is there; in memory only if None.
        variants: `end_to_end`, `patchwise`, or both.
        transfer: Whether each model also scores what was found on the others.
        batch_size: Photographs of one size at a time; part of the run's identity, for float rounding depends on it. A
            batch that would not fit into memory is taken apart (`Fitting`), which is not.
        device: Where to compute.
        small: What to do with photographs smaller than a crop: `refuse` or `pad`.
        info: More about the run for captions, as plain values.
        timed: Whether records hold the seconds that each attack took, which no two runs share, and on a GPU the most
            memory that it held.
        lpips: `create_similarity("lpips", FILE)`, for records to hold LPIPS, too; its weights do not ship.
        shard: The part to do here, where several processes write into one folder, at once or one by one. Returns what
            the folder then holds: all records, once every shard is done.
        attacked: Labels of the models to attack; the others only score what is found on them. All if None.
        progress: Called with (photographs done, photographs in all); those of other shards count as done when passed.
        tell: Called with a sentence if memory runs out and batches are halved.

    Raises:
        InputError: if there are no photographs or models, a label is empty, two attacks would write the same records,
            or a photograph is too small or too large.
        SpecError: if the folder is of another run.
        WorkFailedError: if a model gives a score that is not finite; what was found before stays in the folder.
    """
    check_positive_integer(batch_size, "batch_size")
    labeled = dict(models) if isinstance(models, Mapping) else {"model": models}
    if not labeled or not all(labeled):
        raise InputError(f"each model needs a label that is not empty, got {list(labeled)}.")
    unknown = [variant for variant in variants if variant not in VARIANTS]
    if unknown:
        raise InputError(f"unknown variant {unknown[0]!r}; known: {', '.join(VARIANTS)}.")
    if not len(dataset):
        raise InputError(f"dataset {dataset.name!r} has no photographs to evaluate.")
    runs = plan_runs(attacks, variants)
    whole = {label: _whole_photo(folded(model), small).to(device).eval() for label, model in labeled.items()}
    targets = list(labeled) if attacked is None else list(attacked)
    strange = [label for label in targets if label not in labeled]
    if strange:
        raise InputError(f"there is no model {strange[0]!r} to attack; the models are {', '.join(labeled)}.")
    described = _describe(labeled, dataset, attacks, variants, transfer, batch_size, small, info or {})
    described |= {} if attacked is None else {"attacked": targets}
    store = None
    if folder is not None:
        open_run_folder(folder, described)
        store = RecordStore(folder / RECORDS_FILE)
    records = list(store) if store is not None else []
    done = {record.identity for record in records}
    fitting = Fitting(tell)
    places = {photo.key: place for place, photo in enumerate(dataset, start=1)}
    for batch in _batches(dataset, batch_size, device, shard):
        shared: Shared | None = {} if len(targets) > 1 else None
        for label in targets:
            model = whole[label]
            wanted = _identities(label, list(whole) if transfer else [label], batch, runs)
            if wanted <= done:
                continue
            others = {name: other for name, other in whole.items() if name != label} if transfer else {}
            work = partial(run_batch, label, model, others, batch, runs, timed, lpips, shared)
            found = fitting.in_parts(model, batch.images, work)
            made = [record for record in found if record.identity not in done]
            check_finite(made)
            if store is not None:
                store.append(made)
            records += made
            done |= wanted
        if progress is not None:
            progress(places[batch.keys[-1]], len(dataset))
    if store is not None and shard != WHOLE:
        records = list(store)
    return Evaluation(tuple(records), {**described, "environment": environment()})


def _whole_photo(model: QualityModel, small: str) -> QualityModel:
    return model if model.crop_size is None else CropAverage(model, small=small)


def _describe(
    models: Mapping[str, QualityModel],
    dataset: Dataset,
    attacks: Sequence[NamedAttack],
    variants: Sequence[str],
    transfer: bool,
    batch_size: int,
    small: str,
    info: Mapping[str, Any],
) -> dict[str, Any]:
    """The run as plain values: its identity, and what captions need."""
    learned = {attack.label: dict(attack.provenance) for attack in attacks if attack.provenance}
    return {
        "models": {
            label: {
                "kind": type(model).__name__,
                "state": state_hash(model),
                "scale": {"low": model.scale.low, "high": model.scale.high},
                "protocol": "covering grid" if model.crop_size is not None else "as the model has it",
            }
            for label, model in models.items()
        },
        "dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint(), "n": len(dataset)},
        "attacks": [repr(attack) for attack in attacks],
        "variants": list(variants),
        "transfer": transfer,
        "batch_size": batch_size,
        "small": small,
        "info": dict(info),
        **({"learned": learned} if learned else {}),
    }


def record_count(
    photos: int, models: int, attacks: Sequence[NamedAttack], variants: Sequence[str], transfer: bool
) -> int:
    """How many records a whole evaluation makes."""
    scored = [models if transfer and run.variant == "end_to_end" else 1 for run in plan_runs(attacks, variants)]
    return photos * models * (1 + sum(scored))


def _batches(dataset: Dataset, batch_size: int, device: torch.device | str, shard: Shard) -> Iterator[Batch]:
    """A shard's batches, in 8 bits; the same whatever is done already."""
    for neighbors in _neighbors(dataset, batch_size, shard):
        photos, images = zip(*neighbors, strict=True)
        yield Batch(photos, pixels.quantize(torch.stack(images)).to(device))


def _neighbors(dataset: Dataset, batch_size: int, shard: Shard) -> Iterator[list[tuple[Photo, Tensor]]]:
    """Consecutive photographs of one size that a shard takes together."""
    if batch_size == 1:  # one by one, no photograph of another shard has to be read for its size
        yield from ([(photo, photo.read())] for photo in shard.of(dataset))
    else:
        yield from shard.of(_all_neighbors(dataset, batch_size))


def _all_neighbors(dataset: Dataset, batch_size: int) -> Iterator[list[tuple[Photo, Tensor]]]:
    found: list[tuple[Photo, Tensor]] = []
    for photo in dataset:
        image = photo.read()
        if found and (len(found) == batch_size or image.shape != found[0][1].shape):
            yield found
            found = []
        found.append((photo, image))
    if found:
        yield found


def _identities(
    label: str, scorers: Sequence[str], batch: Batch, runs: Sequence[PlannedRun]
) -> set[tuple[str, str, str, str, str, str]]:
    """Of all records that one model as the attacked one gives on a batch."""
    return {(label, label, CLEAN, CLEAN, "end_to_end", key) for key in batch.keys} | {
        (scorer, label, attack.label, goal, variant, key)
        for attack, goal, variant in runs
        for scorer in (scorers if variant == "end_to_end" else [label])
        for key in batch.keys
    }
