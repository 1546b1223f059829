"""Evaluation: models, photographs and attacks in, records out; stopped at any moment, it goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustiqa.attacks.base import NamedAttack
from robustiqa.attacks.objectives import Lower, Raise, create_objective
from robustiqa.attacks.patchwise import PatchwiseResult, attack_patchwise
from robustiqa.core import pixels
from robustiqa.core.attack import AttackResult, CleanPass, clean_pass
from robustiqa.core.checks import check_positive_integer
from robustiqa.core.dataset import Dataset, Photo
from robustiqa.core.errors import InputError
from robustiqa.core.model import QualityModel
from robustiqa.core.run_folder import open_run_folder
from robustiqa.evaluation.records import CLEAN, Record, RecordStore
from robustiqa.evaluation.views import Evaluation
from robustiqa.models.crop_average import CropAverage
from robustiqa.models.weights import state_hash

RECORDS_FILE = "records.jsonl"
VARIANTS = ("end_to_end", "patchwise")
Listener = Callable[[int, int], None]


@dataclass(frozen=True)
class _Batch:
    photos: Sequence[Photo]
    images: Tensor

    @property
    def keys(self) -> list[str]:
        return [photo.key for photo in self.photos]


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
    progress: Listener | None = None,
) -> Evaluation:
    """Scores and attacks every photograph with every model.

    A model with a crop size is scored, and attacked end to end, through `CropAverage`. An objective that picks a
    direction for each photo is run as `lower` and `raise`, from which all such objectives can be read.

    Args:
        models: One model, or labels to models.
        dataset: The photographs, usually one part of a split; `mos` may be missing.
        attacks: White-box on each model in turn.
        folder: A run folder for the records, continued if it is there; in memory only if None.
        variants: `end_to_end`, `patchwise`, or both.
        transfer: Whether each model also scores what was found on the others.
        batch_size: Photographs of one size at a time; part of the run's identity, for float rounding depends on it.
        device: Where to compute.
        small: What to do with photographs smaller than a crop: `refuse` or `pad`.
        info: More about the run for captions, as plain values.
        progress: Called with (batches done, batches in all).

    Raises:
        InputError: if there are no photographs, a label is empty, or a photograph is too small.
        SpecError: if the folder is of another run.
    """
    check_positive_integer(batch_size, "batch_size")
    labeled = dict(models) if isinstance(models, Mapping) else {"model": models}
    unknown = [variant for variant in variants if variant not in VARIANTS]
    if unknown:
        raise InputError(f"unknown variant {unknown[0]!r}; known: {', '.join(VARIANTS)}.")
    if not len(dataset):
        raise InputError(f"dataset {dataset.name!r} has no photographs to evaluate.")
    whole = {label: _whole_photo(model, small).to(device).eval() for label, model in labeled.items()}
    described = _describe(labeled, dataset, attacks, variants, transfer, batch_size, small, info or {})
    store = None
    if folder is not None:
        open_run_folder(folder, described)
        store = RecordStore(folder / RECORDS_FILE)
    records = list(store) if store is not None else []
    done = {record.identity for record in records}
    batches = -(-len(dataset) // batch_size)
    for number, batch in enumerate(_batches(dataset, batch_size, device)):
        for label, model in whole.items():
            wanted = _identities(label, whole, batch, attacks, variants, transfer)
            if wanted <= done:
                continue
            others = {name: other for name, other in whole.items() if name != label} if transfer else {}
            made = [
                record
                for record in _run_batch(label, model, others, batch, attacks, variants)
                if record.identity not in done
            ]
            if store is not None:
                store.append(made)
            records += made
            done |= wanted
        if progress is not None:
            progress(min(number + 1, batches), batches)
    return Evaluation(tuple(records), described)


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
    }


def _batches(dataset: Dataset, batch_size: int, device: torch.device | str) -> Iterator[_Batch]:
    """Consecutive photographs of one size, at most `batch_size`; the same batches whatever is done already."""
    photos: list[Photo] = []
    images: list[Tensor] = []
    for photo in dataset:
        image = photo.read()
        if images and (len(images) == batch_size or image.shape != images[0].shape):
            yield _Batch(photos, torch.stack(images).to(device))
            photos, images = [], []
        photos.append(photo)
        images.append(image)
    if images:
        yield _Batch(photos, torch.stack(images).to(device))


def _runs(attacks: Sequence[NamedAttack], variants: Sequence[str]) -> Iterator[tuple[NamedAttack, str, str]]:
    """Each attack with one goal: (attack, goal, variant)."""
    for attack in attacks:
        for variant in variants:
            name = create_objective(attack.objective).name
            picks = ("worst_of_both",) if variant == "patchwise" else ("farther_end", "worst_of_both", "rank_split")
            if name in picks:  # patchwise, `farther_end` decides crop by crop
                yield replace(attack, objective=Lower()), "lower", variant
                yield replace(attack, objective=Raise()), "raise", variant
            else:
                yield attack, name, variant


def _identities(
    label: str,
    models: Mapping[str, QualityModel],
    batch: _Batch,
    attacks: Sequence[NamedAttack],
    variants: Sequence[str],
    transfer: bool,
) -> set[tuple[str, str, str, str, str, str]]:
    scorers = list(models) if transfer else [label]
    return {(label, label, CLEAN, CLEAN, "end_to_end", key) for key in batch.keys} | {
        (scorer, label, attack.label, goal, variant, key)
        for attack, goal, variant in _runs(attacks, variants)
        for scorer in (scorers if variant == "end_to_end" else [label])
        for key in batch.keys
    }


def _run_batch(
    label: str,
    model: QualityModel,
    others: Mapping[str, QualityModel],
    batch: _Batch,
    attacks: Sequence[NamedAttack],
    variants: Sequence[str],
) -> Iterator[Record]:
    """All records of one model as the attacked one on one batch."""
    clean = clean_pass(model, batch.images)
    yield from _clean_records(label, batch, clean)
    for attack, goal, variant in _runs(attacks, variants):
        if variant == "patchwise":
            if not isinstance(model, CropAverage):
                raise InputError(
                    f"{label!r} takes whole photographs; a patchwise variant needs a model that averages crops."
                )
            crops = attack_patchwise(attack, model, batch.images, batch.keys)
            yield from _attack_records(label, batch, attack, goal, variant, crops)
            continue
        result = attack(model, batch.images, keys=batch.keys, clean=clean)
        found = _attack_records(label, batch, attack, goal, variant, result)
        yield from found
        for other, scorer in others.items():
            yield from _transferred(other, scorer, batch, found, result)


def _clean_records(label: str, batch: _Batch, clean: CleanPass) -> Iterator[Record]:
    for photo, score, norm in zip(batch.photos, clean.scores.tolist(), clean.gradient_l1.tolist(), strict=True):
        yield Record(
            key=photo.key,
            mos=photo.mos,
            scored_by=label,
            attacked_on=label,
            attack=CLEAN,
            goal=CLEAN,
            variant="end_to_end",
            eps=0.0,
            levels=0,
            clean_score=score,
            float_score=score,
            score=score,
            gradient_l1=norm,
        )


def _attack_records(
    label: str, batch: _Batch, attack: NamedAttack, goal: str, variant: str, result: AttackResult
) -> list[Record]:
    linf = (255 * pixels.linf_distance(result.images_8bit, result.clean_images)).round()
    l2 = pixels.l2_distance(result.images_8bit, result.clean_images)
    ssim = pixels.ssim(result.images_8bit, result.clean_images)
    if isinstance(result, PatchwiseResult):
        linf, l2 = result.by_photo(linf).amax(1), result.by_photo(l2).square().sum(1).sqrt()
        ssim = result.by_photo(ssim).mean(1)
    columns = (
        result.clean_scores,
        result.scores,
        result.scores_8bit,
        linf,
        l2,
        ssim,
        result.queries,
        result.gradients,
    )
    return [
        Record(
            key=photo.key,
            mos=photo.mos,
            scored_by=label,
            attacked_on=label,
            attack=attack.label,
            goal=goal,
            variant=variant,
            eps=attack.budget,
            levels=pixels.whole_levels(attack.budget),
            clean_score=before,
            float_score=in_float,
            score=after,
            linf=largest,
            l2=length,
            ssim=similarity,
            queries=queries,
            gradients=gradients,
        )
        for photo, before, in_float, after, largest, length, similarity, queries, gradients in zip(
            batch.photos, *(column.tolist() for column in columns), strict=True
        )
    ]


@torch.no_grad()
def _transferred(
    label: str, scorer: QualityModel, batch: _Batch, found: Sequence[Record], result: AttackResult
) -> Iterator[Record]:
    """What another model makes of the same adversarial images."""
    columns = (scorer(batch.images), scorer(result.images), scorer(result.images_8bit))
    for record, before, in_float, after in zip(found, *(column.tolist() for column in columns), strict=True):
        yield replace(record, scored_by=label, clean_score=before, float_score=in_float, score=after)
