"""MANIQA's training, end to end, on photographs made offline."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import torch

from robustiqa.core.dataset import Dataset
from robustiqa.datasets.builtin import load_builtin
from robustiqa.models.loading import load_model
from robustiqa.models.maniqa import MANIQA
from robustiqa.training.build import build_model
from robustiqa.training.loop import RunOptions, train
from robustiqa.training.spec import TrainingSpec
from tests.training.tiny import history_of


def few_photos() -> Dataset:
    """The best and the worst picture of one photograph to train on, three of another to validate on."""
    whole = load_builtin(scenes=1, size=224)
    by_mos = sorted(
        (photo for photo in whole.part("train") if photo.group == "astronaut"), key=lambda photo: photo.mos or 0.0
    )
    parts = {"train": (by_mos[0].key, by_mos[-1].key), "validation": whole.parts["validation"][:21:7]}
    kept = {key for keys in parts.values() for key in keys}
    return replace(whole, photos=tuple(photo for photo in whole.photos if photo.key in kept), parts=parts)


def test_a_light_network_trains_with_norm_regularization_and_its_weights_load(tmp_path: Path) -> None:
    spec = TrainingSpec().with_values(
        {
            "model.name": "maniqa",
            "model.backbone": "test_efficientnet",
            "model.backbone_weights": "",
            "model.grid": 8,
            "epochs": 5,
            "batch_size": 2,
            "penalty.weight": 1e-6,
            "optimizer.learning_rate": 5e-4,
            "optimizer.head_ratio": 1.0,
        }
    )
    weights = train(spec, few_photos(), tmp_path, RunOptions(device="cpu", validate_every=5))
    history = history_of(weights)
    losses, penalties = ([line[name] for line in history["steps"]] for name in ("loss", "penalty"))
    assert losses[-1] < 0.5 * losses[0]
    assert min(penalties) > 0
    assert math.isfinite(history["epochs"][-1]["rmse"])
    start, trained = build_model(spec), load_model(weights)
    assert isinstance(trained, MANIQA)
    assert trained.grid == 8  # not the light network's own, which is twice as fine
    assert (trained.scale.low, trained.scale.high) == (0, 100)
    unmoved = [name for name, weight in start.named_parameters() if torch.equal(weight, trained.get_parameter(name))]
    assert unmoved == []
