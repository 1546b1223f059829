"""Benchmarks beside the comparisons whose trainings they take."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from robustiqa.core.dataset import Dataset
from robustiqa.experiments.sharing import claim
from robustiqa.experiments.trainings import LOCKS
from robustiqa.training.loop import RunOptions
from robustiqa.training.spec import TrainingSpec
from tests.experiments.test_benchmark_run import COMPARISONS, Toys, photos, toy
from tests.experiments.test_benchmark_run import run as run_benchmark
from tests.experiments.test_benchmark_run import toys as toys
from tests.experiments.test_reproduction import run as run_comparison


class Watching(Toys):
    """Notes of each training in a run folder of a comparison whether its lock there was held meanwhile."""

    def __init__(self, comparison: Path) -> None:
        super().__init__()
        self.comparison = comparison
        self.held: list[tuple[str, bool]] = []

    def train(self, spec: TrainingSpec, dataset: Dataset, folder: Path, options: RunOptions) -> Path:
        if folder.is_relative_to(self.comparison):
            with claim(self.comparison / LOCKS / f"{folder.name}.lock", wait=False) as mine:
                self.held.append((folder.name, not mine))
        return super().train(spec, dataset, folder, options)


def test_a_benchmark_holds_the_locks_of_the_comparison_in_whose_folder_it_trains(
    tmp_path: Path, toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "of-alpha"
    watching = Watching(folder)
    monkeypatch.setattr("robustiqa.experiments.trainings.train", watching.train)
    few = [{"name": "few", "photos": 2, "attacks": [{"name": "fgsm"}]}]
    run_benchmark(tmp_path / "benchmark", toy(sets=few), runs={"alpha": folder})
    expected = [("baseline-seed-0", True), ("nt-0.0001-seed-0", True)]
    assert watching.held == expected
    assert len(watching.trained) == 4
    watching.held.clear()
    shutil.rmtree(folder / "trainings")
    run_comparison(monkeypatch, folder, tmp_path / "kept", watching, photos(), COMPARISONS["of-alpha"])  # type: ignore[arg-type]
    assert watching.held == expected


def test_what_a_comparison_is_at_is_left_to_it_and_not_trained_again(
    tmp_path: Path, toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the comparison trains the baseline, the benchmark goes on with the rest and then takes what was made."""
    folder = tmp_path / "of-alpha"
    baseline = folder / "trainings" / "baseline-seed-0"
    held = claim(folder / LOCKS / "baseline-seed-0.lock")
    held.__enter__()

    def train(spec: TrainingSpec, dataset: Dataset, at: Path, options: RunOptions) -> Path:
        made = toys.train(spec, dataset, at, options)
        if len(toys.trained) == 3 and not baseline.exists():  # all but that baseline; the comparison ends its own
            toys.train(spec.with_values({"penalty.weight": 0.0}), dataset, baseline, options)
            toys.trained.pop()
            held.__exit__(None, None, None)
        return made

    monkeypatch.setattr("robustiqa.experiments.trainings.train", train)
    few = [{"name": "few", "photos": 2, "attacks": [{"name": "fgsm"}]}]
    run_benchmark(tmp_path / "benchmark", toy(sets=few), runs={"alpha": folder})
    assert toys.trained == ["nt-0.0001-seed-0", "baseline-seed-0", "nt-0.0002-seed-0"]
