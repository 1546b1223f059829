"""The test part of a comparison: each model is scored and attacked once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robustiqa.attacks import create_attack
from robustiqa.attacks.base import NamedAttack
from robustiqa.core.dataset import Dataset
from robustiqa.evaluation.run import evaluate
from robustiqa.evaluation.views import Evaluation
from robustiqa.metrics.mapping import fit_logistic
from robustiqa.models.loading import load_model

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Stage:
    """Attacks that are run together.

    Attributes:
        name: Of its folders.
        attacks: What to run.
        photos: How many of the photographs meet them, the first in the order of their keys' hashes; None for all.
        goals: What records are of in the end: both directions, unless the attacks have another objective.
    """

    name: str
    attacks: tuple[NamedAttack, ...]
    photos: int | None = None
    goals: tuple[str, ...] = ("lower", "raise")

    def of(self, dataset: Dataset) -> Dataset:
        """The photographs that meet the attacks."""
        if self.photos is None or self.photos >= len(dataset):
            return dataset
        return dataset.select(first_keys((photo.key for photo in dataset.photos), self.photos))

    def covered_by(self, evaluation: Evaluation, label: str, photos: Dataset) -> bool:
        """Whether an evaluation holds all that this stage finds out about a model."""
        if label not in evaluation.models:
            return False
        wanted = {photo.key for photo in photos}
        return all(
            wanted <= evaluation.keys(label, attack.label, goal) for attack in self.attacks for goal in self.goals
        )


def fewer(dataset: Dataset, photos: Mapping[str, int]) -> Dataset:
    """A dataset with at most so many photographs in each part named, the first in the order of their keys' hashes."""
    parts = {name: first_keys(keys, photos[name]) if name in photos else keys for name, keys in dataset.parts.items()}
    return replace(dataset, parts=parts)


def first_keys(keys: Iterable[str], count: int | None) -> tuple[str, ...]:
    """So many keys, sorted: the first in the order of their hashes; all if None."""
    return tuple(sorted(sorted(keys, key=_draw)[:count]))


def _draw(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def standard_stages(photos: int | None = None) -> tuple[Stage, ...]:
    """One FGSM step of .01, then ten I-FGSM steps at 4/255, each with sign noise of the same size.

    Args:
        photos: How many photographs meet I-FGSM, which costs ten times as much; all if None.
    """
    return (
        Stage("fgsm", (create_attack("fgsm", eps="0.01"), create_attack("random_sign", eps="0.01"))),
        Stage(
            "ifgsm",
            (create_attack("ifgsm", eps="4/255", steps=10), create_attack("random_sign", eps="4/255")),
            photos=photos,
        ),
    )


def evaluate_model(
    label: str,
    weights: Path,
    stage: Stage,
    dataset: Dataset,
    folder: Path,
    *,
    device: str,
    batch_size: int,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> tuple[Evaluation, dict[str, float] | None]:
    """Scores and attacks the test part with one model; goes on where it was stopped.

    Args:
        label: Of the model.
        weights: Its file.
        stage: The attacks.
        dataset: With validation and test parts; validation serves the logistic fit of PLCC alone.
        folder: One run folder for each stage and model goes below it.
        device: Where to compute.
        batch_size: Photographs at a time.
        progress: Called with (photographs done, photographs in all).
        tell: Called with a sentence if memory runs out.

    Returns:
        The records, and the logistic from clean validation scores to opinions (None where the fit fails).
    """
    model = {label: load_model(weights)}
    options: dict[str, Any] = {"device": device, "batch_size": batch_size, "small": "pad", "tell": tell}
    clean = evaluate(model, dataset.part("validation"), folder=folder / "validation" / label, **options)
    run = folder / stage.name / label
    found = evaluate(model, stage.of(dataset.part("test")), stage.attacks, folder=run, progress=progress, **options)
    return found, fitted_logistic(clean, label)


def fitted_logistic(clean: Evaluation, label: str) -> dict[str, float] | None:
    """The logistic from clean validation scores to MOS, or None where the fit fails."""
    scores = clean.clean(label)
    fitted = None if scores.mos is None else fit_logistic(scores.before, scores.mos)
    return None if fitted is None else dict(vars(fitted))
