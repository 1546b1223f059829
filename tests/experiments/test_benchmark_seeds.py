"""Benchmarks of several seeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from robustiqa.core.errors import SpecError
from robustiqa.experiments.benchmark import Benchmark
from robustiqa.report.benchmark import benchmark_report
from tests.experiments.test_benchmark_run import COMPARISONS, Toys, run, stand_in, toy

FEW: dict[str, Any] = {"sets": [{"name": "few", "photos": 2, "attacks": [{"name": "fgsm"}]}]}


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> Toys:
    made = stand_in(monkeypatch)
    three = {name: replace(one, seeds=(0, 1, 2)) for name, one in COMPARISONS.items()}
    monkeypatch.setattr("robustiqa.experiments.benchmark_models.load_comparison", three.__getitem__)
    return made


def swept(**sweep: Any) -> Benchmark:
    return replace(toy(show=["sweep"], clean=False, sweep=sweep, **FEW), models=("alpha",))


def test_two_seeds_of_a_pair_are_attacked_as_one_column(tmp_path: Path) -> None:
    (found,), _ = run(tmp_path, replace(toy(**FEW), models=("alpha",)), seeds=2)
    assert found.sets[0].models == [f"{name}, seed {seed}" for name in ("Alpha", "Alpha+NT") for seed in (0, 1)]
    assert "Alpha 2 seeds, Alpha+NT 2 seeds" in benchmark_report(found.sets, samples=20).to_markdown()


def test_a_sweep_of_two_seeds_trains_and_attacks_both_at_every_value(tmp_path: Path, toys: Toys) -> None:
    (found,), _ = run(tmp_path, swept(field="penalty.h", multiples=[1, 10]), seeds=2)
    wide = "Alpha+NT, h 0.1, weight 0.0001"
    assert found.sets[0].models == [f"{name}, seed {seed}" for name in ("Alpha+NT", wide) for seed in (0, 1)]
    assert toys.trained.count("nt-0.0001-seed-1") == 2  # as the recipe has it, and with the other step
    page = benchmark_report(found.sets, samples=20).to_markdown()
    assert "Alpha, 0.01 2 seeds, Alpha, 0.1 2 seeds" in page


def test_more_seeds_than_there_are_is_refused_before_any_work(tmp_path: Path, toys: Toys) -> None:
    with pytest.raises(SpecError, match=r"4 seeds were asked for; the comparison of 'alpha' has 0, 1, 2\."):
        run(tmp_path, toy(**FEW), seeds=4)
    assert toys.trained == []
