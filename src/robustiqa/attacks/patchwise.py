"""Patchwise attack: each crop of a photograph gets a perturbation of its own, as the papers evaluate.

Threat model: as the attack's; overlapping crops may disagree about a pixel, so no image file can hold
the result. It is a column beside the end-to-end attack, never the headline.
Cost: the attack's, on crops; a photo's K crops count as one pass.
Source: Liu et al. 2024 (published code: 25 crops, the mean of their scores after the attack).
Deviations: none in the direction, which is decided crop by crop as published. Where an objective has several
goals, the one that is kept is chosen photo by photo, since crops that move apart would cancel in the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from robustiqa.attacks.base import NamedAttack
from robustiqa.attacks.objectives import OneGoal, create_objective
from robustiqa.core.attack import AttackResult, CleanPass, clean_pass
from robustiqa.core.checks import check_pixels, check_positive_integer
from robustiqa.core.errors import InputError
from robustiqa.core.model import ScoreScale


class CropModel(Protocol):
    """A model that averages an inner model's scores over crops, such as `CropAverage`."""

    @property
    def model(self) -> nn.Module:
        """What scores a crop."""
        ...

    def crops(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, K, 3, c, c)."""
        ...


@dataclass(frozen=True)
class PatchwiseResult(AttackResult):
    """As `AttackResult`, but images are N * K crops, photo by photo; all else is an array over the N photos.

    Attributes:
        crop_count: K.
    """

    crop_count: int

    @property
    def linf(self) -> Tensor:
        """Largest pixel change in any crop of the float images, (N,)."""
        return self.by_photo(super().linf).amax(1)

    @property
    def l2(self) -> Tensor:
        """Euclidean length of the change of all crops together, (N,)."""
        return self.by_photo(super().l2).square().sum(1).sqrt()

    @property
    def ssim(self) -> Tensor:
        """Structural similarity, the mean over crops, (N,)."""
        return self.by_photo(super().ssim).mean(1)

    def by_photo(self, values: Tensor) -> Tensor:
        """One value a crop (N * K,) as (N, K)."""
        return values.reshape(-1, self.crop_count)


def attack_patchwise(
    attack: NamedAttack,
    model: CropModel,
    images: Tensor,
    keys: Sequence[str] | None = None,
    *,
    chunk: int = 32,
) -> PatchwiseResult:
    """Attacks every crop for itself; a photo's score is the mean over its crops.

    Args:
        attack: Any attack.
        model: A crop-averaging model in eval mode; the attack sees its inner model.
        images: Clean photographs, (N, 3, H, W), in [0, 1].
        keys: What names each photo in random draws; crop k of photo `key` draws as `key#k`.
        chunk: Crops attacked at a time; the result does not depend on it.

    Raises:
        InputError: if the images leave [0, 1], the model is in training mode or has no crops.
    """
    check_pixels(images)
    check_positive_integer(chunk, "chunk")
    if not callable(getattr(model, "crops", None)) or not isinstance(getattr(model, "model", None), nn.Module):
        raise InputError(
            f"a patchwise attack needs a model that averages crops, got {type(model).__name__}; wrap it in CropAverage."
        )
    photos = [str(place) for place in range(len(images))] if keys is None else list(keys)
    if len(photos) != len(images):
        raise InputError(f"keys must name each of the {len(images)} images, got {len(photos)}.")
    with torch.no_grad():
        crops = model.crops(images)  # (N, K, 3, c, c)
    count = crops.shape[1]
    names = [f"{photo}#{place}" for photo in photos for place in range(count)]
    objective = create_objective(attack.objective)
    runs = [
        replace(attack, objective=OneGoal(objective, place))
        for place in range(len(objective.goals(images.new_zeros(1), ScoreScale())))
    ]
    parts: list[list[AttackResult]] = [[] for _ in runs]  # a list of chunks for each goal
    for pixels, named in _chunks(crops.flatten(0, 1), names, chunk):
        clean: CleanPass | None = clean_pass(model.model, pixels) if attack.threat_model == "white-box" else None
        for run, found in zip(runs, parts, strict=True):
            found.append(run(model.model, pixels, keys=named, clean=clean))
    return _keep_largest_change([_joined(found, count) for found in parts])


def _chunks(crops: Tensor, names: list[str], size: int) -> list[tuple[Tensor, list[str]]]:
    starts = range(0, len(names), size)
    return [(crops[start : start + size], names[start : start + size]) for start in starts]


def _joined(chunks: Sequence[AttackResult], count: int) -> PatchwiseResult:
    """One goal's crops, chunks put together, as photos."""

    def crops(name: str) -> Tensor:
        return torch.cat([getattr(part, name) for part in chunks])

    def mean(name: str) -> Tensor:
        return crops(name).reshape(-1, count).mean(1)

    def passes(name: str) -> Tensor:
        return -(-crops(name).reshape(-1, count).sum(1) // count)  # rounded up

    return PatchwiseResult(
        clean_images=crops("clean_images"),
        images=crops("images"),
        images_8bit=crops("images_8bit"),
        clean_scores=mean("clean_scores"),
        scores=mean("scores"),
        scores_8bit=mean("scores_8bit"),
        won=torch.zeros_like(mean("scores"), dtype=torch.long),
        queries=passes("queries"),
        gradients=passes("gradients"),
        crop_count=count,
    )


def _keep_largest_change(runs: Sequence[PatchwiseResult]) -> PatchwiseResult:
    """Picks, photo by photo, the goal whose 8-bit score moved farthest."""
    first = runs[0]
    won = torch.stack([(run.scores_8bit - run.clean_scores).abs() for run in runs]).argmax(0)

    def pick(name: str) -> Tensor:
        choices = torch.stack([getattr(run, name) for run in runs])  # (goals, N or N * K, ...)
        chosen = won.repeat_interleave(choices.shape[1] // len(won))
        return choices[chosen, torch.arange(len(chosen), device=won.device)]

    return replace(
        first,
        images=pick("images"),
        images_8bit=pick("images_8bit"),
        scores=pick("scores"),
        scores_8bit=pick("scores_8bit"),
        won=won,
        queries=torch.stack([run.queries for run in runs]).sum(0),
        gradients=torch.stack([run.gradients for run in runs]).sum(0),
    )
