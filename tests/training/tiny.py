"""A network and a spec so small that a whole training takes a second."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustiqa.core.dataset import Dataset
from robustiqa.core.model import QualityModel
from robustiqa.training.loop import RunOptions, train
from robustiqa.training.spec import TrainingSpec
from tests.photos import tiny_dataset

SIDE = 16


class TinyNet(QualityModel):
    """Two convolutions, on request with batch norm or dropout, and a linear head; for crops of 16 pixels.

    Args:
        batch_norm: Whether a batch norm follows the first convolution.
        dropout: Probability.
        seed: Of the weights; the global generator is left alone.
    """

    def __init__(self, *, batch_norm: bool = False, dropout: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        self.crop_size = SIDE
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.backbone = nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1),
                nn.BatchNorm2d(8) if batch_norm else nn.Identity(),
                nn.SiLU(),
                nn.Conv2d(8, 8, 3, stride=2, padding=1),
                nn.SiLU(),
            )
            self.head = nn.Linear(8, 1)
        self.dropout = nn.Dropout(dropout)

    def raw_scores(self, normalized: Tensor) -> Tensor:
        pooled = self.dropout(self.backbone(normalized).mean((2, 3)))  # (N, 8)
        scores: Tensor = 50 + 100 * self.head(pooled)[:, 0]
        return scores


def tiny_photos(train: int = 16, validation: int = 4, **options: Any) -> Dataset:
    """Photographs of 16 to 24 pixels."""
    return tiny_dataset(train=train, validation=validation, test=0, low=SIDE, high=24, **options)


def tiny_spec(**values: Any) -> TrainingSpec:
    """Two epochs of four steps; `penalty__weight=1e-3` stands for `penalty.weight`."""
    defaults = {"epochs": 2, "batch_size": 4, "optimizer.learning_rate": 1e-3, "optimizer.head_ratio": 1.0}
    return TrainingSpec().with_values(
        {**defaults, **{name.replace("__", "."): value for name, value in values.items()}}
    )


def train_tiny_net(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    spec: TrainingSpec,
    *,
    dataset: Dataset | None = None,
    net: Callable[[], QualityModel] = TinyNet,
    **options: Any,
) -> Path:
    """Trains a `TinyNet` in the place of the spec's network; returns its weights file."""
    monkeypatch.setattr("robustiqa.training.loop.build_model", lambda spec: net())
    carried_out = RunOptions(**{"device": "cpu", **options})
    return train(spec, tiny_photos() if dataset is None else dataset, folder, carried_out)


def history_of(weights: Path) -> dict[str, list[dict[str, Any]]]:
    """The history beside a weights file."""
    found: dict[str, list[dict[str, Any]]] = json.loads((weights.parent / "history.json").read_text())
    return found
