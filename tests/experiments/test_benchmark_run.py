"""Benchmarks run on toys: to the end, again, in pieces, several at once, and from what comparisons trained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from robustiqa.attacks.learned import STATE_FILE
from robustiqa.core.dataset import Dataset
from robustiqa.core.model import QualityModel
from robustiqa.core.tensor_files import write_tensors
from robustiqa.experiments.benchmark import Benchmark, benchmark_from_dict
from robustiqa.experiments.benchmark_run import Found, run_benchmarks
from robustiqa.experiments.comparison import Comparison
from robustiqa.experiments.reproduction import Place
from robustiqa.experiments.subjects_spec import Fit, Subject, Subjects
from robustiqa.report.benchmark import benchmark_report
from robustiqa.training.loop import RunOptions
from robustiqa.training.spec import TrainingSpec
from tests.photos import tiny_dataset
from tests.toys import ConvModel

SUBJECTS = Subjects(
    models={"alpha": Subject("Alpha", "of-alpha"), "beta": Subject("Beta", "of-beta")},
    sources={"teacher": "paq2piq-biq2021-scratch"},
    fits={"uap": Fit("uap", "teacher", {"epochs": 3})},
)
COMPARISONS = {
    "of-alpha": Comparison(
        recipe=TrainingSpec(epochs=2).with_values({"penalty.weight": 1e-4}), weights=(1e-4,), seeds=(0,)
    ),
    "of-beta": Comparison(recipe=TrainingSpec(epochs=2, batch_size=8), weights=(2e-4,), seeds=(0,)),
}
SPEC: dict[str, Any] = {
    "title": "Toys",
    "models": ["hyperiqa", "dbcnn"],
    "show": ["clean", "attacks", "observations"],
    "clean": True,
    "sets": [
        {
            "name": "photographs",
            "photos": 3,
            "attacks": [
                {"name": "fgsm"},
                {"name": "ifgsm", "steps": 2},
                {"name": "uap", "eps": "8/255", "weights": "@uap"},
            ],
        }
    ],
    "source": "Somebody 2024, Table 2",
    "reported": {"rmse_change": {"fgsm": {"hyperiqa": [20.0, 10.0]}}},
}
TRAININGS = ["baseline-seed-0", "nt-0.0001-seed-0", "baseline-seed-0", "nt-0.0002-seed-0", "baseline-seed-0"]


def toy(**more: Any) -> Benchmark:
    made = benchmark_from_dict("toys", {**SPEC, **more})
    reported = {"rmse_change": {"fgsm": {"alpha": [20.0, 10.0]}}}
    return replace(made, models=("alpha", "beta"), subjects=SUBJECTS, reported=reported)


def photos() -> Dataset:
    return tiny_dataset(train=3, validation=8, test=5, low=16, high=20)


class Toys:
    """Stands in for training, fitting and loading: weights are a file that names a seeded toy."""

    def __init__(self) -> None:
        self.trained: list[str] = []
        self.fitted: list[str] = []

    def train(self, spec: TrainingSpec, dataset: Dataset, folder: Path, options: RunOptions) -> Path:
        self.trained.append(folder.name)
        folder.mkdir(parents=True, exist_ok=True)
        epochs = [{"epoch": number, "srocc": 0.8} for number in (1, 2)]
        (folder / "history.json").write_text(json.dumps({"epochs": epochs}))
        seed = spec.batch_size + round(1e5 * spec.penalty.weight) + round(1e6 * spec.penalty.h)
        for name in ("epoch-01", "epoch-02", "model"):
            (folder / f"{name}.safetensors").write_text(str(seed))
        return folder / "model.safetensors"

    def fit(self, spec: Any, model: QualityModel, dataset: Dataset, folder: Path, options: Any) -> Path:
        import torch

        self.fitted.append(f"{spec.attack} {spec.epochs}")
        tile = 8 / 255 * torch.ones(3, 4, 4)
        tensors = {"lower.perturbation": -tile, "raise.perturbation": tile}
        folder.mkdir(parents=True)
        write_tensors(folder / STATE_FILE, tensors, {"attack": "uap", "goals": ["lower", "raise"], "eps": 8 / 255})
        return folder / STATE_FILE

    @staticmethod
    def load(weights: Path) -> QualityModel:
        return ConvModel(seed=int(Path(weights).read_text()), crop_size=16).eval()


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Toys:
    made = Toys()
    models = "robustiqa.experiments.benchmark_models"
    monkeypatch.setattr("robustiqa.experiments.trainings.train", made.train)
    monkeypatch.setattr(f"{models}.fit_attack", made.fit)
    monkeypatch.setattr(f"{models}.load_model", made.load)
    monkeypatch.setattr(f"{models}.load_comparison", COMPARISONS.__getitem__)
    monkeypatch.setattr("robustiqa.experiments.benchmark_run.load_model", made.load)
    return made


def run(folder: Path, *benchmarks: Benchmark, kept: Path | None = None, **more: Any) -> tuple[list[Found], list[str]]:
    told: list[str] = []
    place = Place(
        folder=folder, kept=kept or folder / "kept", options=RunOptions(), device="cpu", batch_size=1, tell=told.append
    )
    return run_benchmarks(benchmarks, photos(), place, **more), told


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock")}


def test_a_benchmark_trains_fits_attacks_and_reports_and_then_does_nothing_more(tmp_path: Path, toys: Toys) -> None:
    (found,), told = run(tmp_path / "run", toy())
    assert toys.trained == TRAININGS
    assert toys.fitted == ["uap 3"]
    (evaluation,) = found.sets
    labels = ["Alpha, seed 0", "Alpha+NT, seed 0", "Beta, seed 0", "Beta+NT, seed 0"]
    assert evaluation.models == labels
    assert {label: len(evaluation.clean(label)) for label in labels} == dict.fromkeys(labels, 5)
    for label in labels:
        for attack in evaluation.attacks:
            assert len(evaluation.attacked(label, attack, "worst_of_both")) == 3
    made = benchmark_report(found.sets, samples=50)
    page = made.to_markdown()
    for text in ("20.00 → 10.00", "Somebody 2024", "FGSM", "UAP*", "Observation 4", "Alpha+NT"):
        assert text in page
    before = files(tmp_path / "run")
    (again,), told = run(tmp_path / "run", toy())
    assert again.sets == found.sets
    assert (told, toys.fitted, len(toys.trained)) == ([], ["uap 3"], len(TRAININGS))
    assert files(tmp_path / "run") == before
    assert benchmark_report(again.sets, samples=50) == made
    assert str(tmp_path) not in json.dumps(evaluation.info)
