"""Learned state for attacks that need some, made on a toy in moments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustiqa.attacks.base import NamedAttack
from robustiqa.core.dataset import Dataset, Photo
from robustiqa.models.loading import save_model
from robustiqa.models.weights import state_hash
from robustiqa.training.attack_fitting import create_fit, fit_attack
from tests.toys import ConvModel, toy_photos

TOY, TOY_CLASS = "toy", "tests.learned:DrawingModel"  # what the fixture `learned` adds to the registry of models
SIDE = 24


class DrawingModel(ConvModel):
    """Draws from the global generator when it is built, as the networks of the registry do."""

    def __init__(self, seed: int = 0, width: int = 8, crop_size: int | None = None) -> None:
        super().__init__(seed, width, crop_size)
        torch.rand(1)


@dataclass(frozen=True)
class ToySource:
    """8-bit noise, made anew each time it is read."""

    seed: int
    side: int

    def read(self) -> Tensor:
        return toy_photos(1, self.side, self.seed)[0]


def toy_dataset(count: int = 8, side: int = SIDE) -> Dataset:
    """Photographs of noise without opinion scores, all of them in the part `train`."""
    photos = tuple(Photo(f"{place:03d}.png", ToySource(1000 + place, side)) for place in range(count))
    return Dataset("toys", photos, parts={"train": tuple(photo.key for photo in photos)})


def fitted(name: str, **options: Any) -> Callable[[ConvModel, Path], dict[str, Any]]:
    """Fits in a few steps."""

    def fit(model: ConvModel, folder: Path) -> dict[str, Any]:
        spec = create_fit(name, crop_size=SIDE, **options)
        return {"weights": str(fit_attack(spec, model, toy_dataset(), folder))}

    return fit


def copied(model: ConvModel, folder: Path) -> dict[str, Any]:
    """The model itself as a surrogate: what moves one moves the other; and a short search."""
    file = folder / "model.safetensors"
    if not file.is_file():
        save_model(model, file, TOY, {})
    return {"surrogate": str(folder), "steps": 8, "min_steps": 4}


NEEDS = {
    "uap": fitted("uap", epochs=4, learning_rate=0.01),
    "facpa": fitted("facpa", epochs=8, learning_rate=0.05, levels=3, width=4),
    "korhonen": copied,
}


@dataclass(frozen=True)
class LearnedState:
    """Gives an attack the state it needs against a model; others are returned as they are.

    Args:
        folder: Where states are kept.
    """

    folder: Path

    def __call__(self, attack: NamedAttack, model: ConvModel) -> NamedAttack:
        if attack.name not in NEEDS:
            return attack
        options = NEEDS[attack.name](model, self.folder / f"{attack.name}-{state_hash(model)}")
        return replace(attack, **options)
