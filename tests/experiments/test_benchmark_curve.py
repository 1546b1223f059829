"""A query curve of a benchmark that some of its models meet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from robustiqa.evaluation.study import study
from robustiqa.report.benchmark import benchmark_report
from robustiqa.report.query_curve import query_curve
from tests.experiments.test_benchmark_run import Toys, run, stand_in, toy

CURVE: dict[str, Any] = {
    "set": "crops",
    "attack": {"name": "square", "eps": "2/255"},
    "option": "queries",
    "budgets": [3, 6],
    "models": ["alpha"],
    "once": True,
    "rivals": [{"attack": {"name": "random_sign"}, "eps": ["1/255", "4/255"]}],
}
CROPS = {"name": "crops", "photos": 2, "crop": 16, "attacks": [{"name": "fgsm"}]}
CURVED = toy(sets=[CROPS], show=["each_attack", "query_curve"], query_curve=CURVE, clean=False)


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> Toys:
    return stand_in(monkeypatch)


def test_a_curve_of_one_model_leaves_the_others_out(tmp_path: Path) -> None:
    (found,), _ = run(tmp_path, CURVED)
    (evaluation,) = found.sets
    met = {(record.scored_by, record.attack.partition("(")[0]) for record in evaluation.records}
    for label in evaluation.models:
        assert (label, "fgsm") in met
        assert ((label, "square") in met) == label.startswith("Alpha")
    read = query_curve(study(evaluation, samples=20))
    assert read is not None
    assert [line.group.name for line in read.lines] == ["Alpha, seed 0", "Alpha+NT, seed 0"]
    assert "square by queries" in benchmark_report(found.sets, samples=20).to_markdown()


def test_a_curve_of_models_that_are_left_out_is_left_out(tmp_path: Path) -> None:
    (found,), _ = run(tmp_path, CURVED.of_models(["beta"]))
    (evaluation,) = found.sets
    assert {record.attack.partition("(")[0] for record in evaluation.records} == {"none", "fgsm"}
    assert "square by queries" not in benchmark_report(found.sets, samples=20).to_markdown()
    assert CURVED.of_models(["beta", "alpha"]).values["query_curve"]["models"] == ["alpha"]
