"""`robustiqa demo`: a thin caller of the demonstration, whose claims decide the exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from robustiqa.experiments import demo
from robustiqa.training.loop import TrainingProgress
from tests.cli.conftest import Run
from tests.evaluation.synthetic import synthetic

COMPARISON = {"base": ["base-1"], "defended": ["nt-1"], "controls": {}}


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A demonstration that is over at once; what it was called with is kept, its claims can be set."""
    kept: dict[str, Any] = {"claims": (demo.Claim("NT holds", True),)}

    def run_demo(folder: Path, **options: Any) -> demo.DemoResult:
        kept.update(options, folder=folder)
        options["tell"]("training the baseline model")
        options["on_training"]("baseline", TrainingProgress(1, 2, 1, 1, 3.0, 0.1, None))
        options["on_attack"](1, 2)
        evaluation = synthetic(20, info={"comparison": COMPARISON})
        return demo.DemoResult(evaluation, kept["claims"], folder / "report.html", "")

    monkeypatch.setattr(demo, "run_demo", run_demo)
    return kept


def test_the_demo_exits_with_0_when_its_claims_hold(run: Run, stub: dict[str, Any], tmp_path: Path) -> None:
    ran = run("demo", "--out", tmp_path / "demo", "--seed", "3", "--batch-size", "4", "--device", "cpu")
    assert ran.code == 0
    assert ran.err == "training the baseline model\n"
    assert "holds: NT holds" in ran.out
    assert ran.out.splitlines()[-1] == str(tmp_path / "demo" / "report.html")
    assert (stub["data"], stub["seed"], stub["batch_size"], stub["options"].device) == (None, 3, 4, "cpu")


def test_the_demo_exits_with_1_when_a_claim_fails(run: Run, stub: dict[str, Any], tmp_path: Path) -> None:
    stub["claims"] = (demo.Claim("it is accurate", True), demo.Claim("NT holds", False))
    ran = run("demo", "--out", tmp_path)
    assert ran.code == 1
    assert "FAILS: NT holds" in ran.out
    document = run("demo", "--out", tmp_path, "--json").document
    assert document["holds"] is False
    assert [claim["holds"] for claim in document["claims"]] == [True, False]


def test_the_demo_takes_photographs_with_scores(run: Run, stub: dict[str, Any], dataset: Path, tmp_path: Path) -> None:
    assert run("demo", "--data", dataset, "--out", tmp_path).code == 0
    assert len(stub["data"]) == 18
