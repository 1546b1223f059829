"""From what was scored and attacked to records, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustiqa.attacks.base import NamedAttack
from robustiqa.attacks.patchwise import PatchwiseResult
from robustiqa.attacks.perceptual_similarity import Similarity
from robustiqa.core import pixels
from robustiqa.core.attack import AttackResult, CleanPass
from robustiqa.core.dataset import Photo
from robustiqa.core.model import QualityModel
from robustiqa.evaluation.records import CLEAN, Record
from robustiqa.evaluation.spending import Spent


@dataclass(frozen=True)
class Batch:
    """Photographs of one size.

    Attributes:
        photos: What they are.
        images: Their pixels, (N, 3, H, W), 8-bit, in [0, 1].
    """

    photos: Sequence[Photo]
    images: Tensor

    @property
    def keys(self) -> list[str]:
        """Their names."""
        return [photo.key for photo in self.photos]

    def __getitem__(self, part: slice) -> Batch:
        """Some of them."""
        return Batch(self.photos[part], self.images[part])


def clean_records(label: str, batch: Batch, clean: CleanPass) -> Iterator[Record]:
    """What a model says of untouched photographs."""
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


def attack_records(
    label: str,
    batch: Batch,
    attack: NamedAttack,
    goal: str,
    variant: str,
    result: AttackResult,
    spent: Spent,
    lpips: Similarity | None = None,
) -> list[Record]:
    """What an attack with one goal did to a model.

    Args:
        label: Of the model.
        batch: The photographs.
        attack: What was run.
        goal: Toward what.
        variant: `end_to_end` or `patchwise`.
        result: What it found.
        spent: On the whole batch, as far as it was measured.
        lpips: 1 minus LPIPS of 8-bit and clean images, if it is wanted.
    """
    linf = (255 * pixels.linf_distance(result.images_8bit, result.clean_images)).round()
    l2 = pixels.l2_distance(result.images_8bit, result.clean_images)
    ssim = pixels.ssim(result.images_8bit, result.clean_images)
    distance = None if lpips is None else _lpips(lpips, result)
    if isinstance(result, PatchwiseResult):
        linf, l2 = result.by_photo(linf).amax(1), result.by_photo(l2).square().sum(1).sqrt()
        ssim = result.by_photo(ssim).mean(1)
        distance = None if distance is None else result.by_photo(distance).mean(1)
    scores = (result.clean_scores, result.scores, result.scores_8bit)
    distances = [None] * len(batch.photos) if distance is None else distance.tolist()
    seconds = None if spent.seconds is None else spent.seconds / len(batch.photos)
    columns = (*scores, linf, l2, ssim, result.queries, result.gradients)
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
            levels=attack.ball.levels,
            clean_score=before,
            float_score=in_float,
            score=after,
            linf=largest,
            l2=length,
            ssim=similarity,
            queries=queries,
            gradients=gradients,
            lpips=apart,
            seconds=seconds,
            peak_memory=spent.memory,
            **found_by,
        )
        for photo, found_by, apart, before, in_float, after, largest, length, similarity, queries, gradients in zip(
            batch.photos, result.found_by, distances, *(column.tolist() for column in columns), strict=True
        )
    ]


@torch.no_grad()
def _lpips(similarity: Similarity, result: AttackResult) -> Tensor:
    return 1 - similarity(result.images_8bit, result.clean_images)


@torch.no_grad()
def transferred(
    label: str, scorer: QualityModel, batch: Batch, found: Sequence[Record], result: AttackResult
) -> Iterator[Record]:
    """What another model makes of the same adversarial images."""
    columns = (scorer(batch.images), scorer(result.images), scorer(result.images_8bit))
    for record, before, in_float, after in zip(found, *(column.tolist() for column in columns), strict=True):
        yield replace(record, scored_by=label, clean_score=before, float_score=in_float, score=after, member_scores={})
