"""Benchmarks by several processes on one run folder, and beside the comparisons whose trainings they take."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from robustiqa.core.dataset import Dataset
from robustiqa.evaluation.records import read_records
from robustiqa.experiments.benchmark import Benchmark
from robustiqa.experiments.benchmark_run import Found, run_benchmarks
from robustiqa.experiments.reproduction import Place
from robustiqa.experiments.sharing import claim
from robustiqa.experiments.trainings import LOCKS
from robustiqa.report.benchmark import benchmark_report
from robustiqa.training.loop import RunOptions
from robustiqa.training.spec import TrainingSpec
from tests.experiments.test_benchmark_run import COMPARISONS, TRAININGS, Toys, photos, stand_in, toy, untimed
from tests.experiments.test_benchmark_run import run as run_benchmark
from tests.experiments.test_benchmark_run import toys as toys
from tests.experiments.test_reproduction import run as run_comparison

MEETING = 800.0  # seconds: the other process imports everything anew, on a machine that may be busy


def shared() -> Benchmark:
    return toy(show=["clean", "attacks", "observations", "examples"])


def work(folder: Path, meet: Any) -> tuple[list[Found], list[str]]:
    """Runs it; at the first piece of work each process waits until the other holds one, too."""
    told: list[str] = []

    def tell(sentence: str) -> None:
        told.append(sentence)
        if len(told) == 1:
            meet.wait(MEETING)

    place = Place(folder=folder, kept=folder / "kept", options=RunOptions(), device="cpu", batch_size=1, tell=tell)
    return run_benchmarks([shared()], photos(), place), told


def page(found: list[Found]) -> str:
    return benchmark_report(found[0].sets, "", found[0].pictures, samples=20).html()


def other(folder: Path, meet: Any) -> None:
    torch.set_num_threads(1)
    toys = stand_in(pytest.MonkeyPatch())
    found, told = work(folder, meet)
    said = {"told": told, "trained": toys.trained, "fitted": toys.fitted, "page": page(found)}
    (folder / "theirs.json").write_text(json.dumps(said))


@pytest.mark.timeout(1800)
def test_two_processes_make_the_records_and_the_page_of_one(tmp_path: Path, toys: Toys) -> None:
    (alone,), alone_told = run_benchmark(tmp_path / "alone", shared())
    toys.trained.clear()
    toys.fitted.clear()
    context = multiprocessing.get_context("spawn")
    meet = context.Barrier(2)
    second = context.Process(target=other, args=(tmp_path / "both", meet))
    second.start()
    found, told = work(tmp_path / "both", meet)
    second.join()
    assert second.exitcode == 0
    theirs = json.loads((tmp_path / "both" / "theirs.json").read_text())
    assert told and theirs["told"]
    assert sorted(told + theirs["told"]) == sorted(alone_told)  # every piece once
    assert sorted(toys.trained + theirs["trained"]) == sorted(TRAININGS)
    assert toys.fitted + theirs["fitted"] == ["uap 3"]
    assert untimed(found[0].sets[0].records) == untimed(alone.sets[0].records)
    assert page(found) == theirs["page"] == page([alone])
    for path in sorted((tmp_path / "alone" / "kept").rglob("*.jsonl.gz")):
        both = (path, tmp_path / "both" / "kept" / path.relative_to(tmp_path / "alone" / "kept"))
        lines = [sorted(one.to_line() for one in untimed(tuple(read_records(file)))) for file in both]
        assert lines[0] == lines[1], path.name  # their order depends on which piece was done first


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
    (folder / "trainings").mkdir(parents=True)
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
    baseline.parent.mkdir(parents=True)
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
