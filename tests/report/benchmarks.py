"""Made-up evaluations of a benchmark: two models, plain and defended, under a white-box and a black-box attack."""

from __future__ import annotations

from typing import Any

from robustiqa.evaluation.views import Evaluation
from robustiqa.report.benchmark_study import BenchmarkStudy, benchmark_study
from tests.evaluation.synthetic import FGSM_LABEL, IFGSM_LABEL, synthetic

PAIRS = {"alpha": ("Alpha", "base-1", "nt-1"), "beta": ("Beta", "base-2", "nt-2")}
REPORTED: dict[str, Any] = {
    "rmse_change": {
        "fgsm": {"alpha": [20.0, 8.0], "beta": [30.0, 15.0]},
        "ifgsm": {"alpha": [10.0, 9.0], "beta": [6.0, 7.0]},
    },
    "srocc_mos": {"none": {"alpha": [0.9, 0.86]}},
}


def notes(**more: Any) -> dict[str, Any]:
    """What a report must know of the pairs."""
    columns = [
        {"model": model, "title": title, "name": name, "labels": [label]}
        for model, (title, *labels) in PAIRS.items()
        for name, label in zip(("base", "NT"), labels, strict=True)
    ]
    said = {
        "title": "Made-up",
        "experiment": "made-up",
        "quick": False,
        "show": ["clean", "attacks", "observations"],
        "source": "Somebody 2024",
        "reported": REPORTED,
        "varied": None,
        "columns": columns,
        "threats": {FGSM_LABEL: "white-box", IFGSM_LABEL: "black-box"},
        "shown": [FGSM_LABEL, IFGSM_LABEL],
        "where": "cpu, 1 threads, batches of 1",
    }
    return {**said, **more}


def evaluation(count: int = 60, *, moved: float = 7.0, correlation: float = 0.78, **more: Any) -> Evaluation:
    """Records of both pairs; the defended models move by `moved` points."""
    models = {
        "base-1": (17.0, 0.80, 24.0),
        "nt-1": (14.0, correlation, moved),
        "base-2": (16.0, 0.79, 26.0),
        "nt-2": (14.5, correlation, moved + 1),
    }
    attacks, transfer = more.pop("attacks", (FGSM_LABEL, IFGSM_LABEL)), more.pop("transfer", False)
    return synthetic(count, models=models, attacks=attacks, transfer=transfer, info=notes(**more))


def read(count: int = 60, **options: Any) -> BenchmarkStudy:
    """The same, read with few resamples."""
    return benchmark_study(evaluation(count, **options), samples=200)


def varied(**more: Any) -> BenchmarkStudy:
    """One model at three values of the penalty's weight."""
    labels = {"0": "base-1", "1e-07": "nt-2", "2e-07": "nt-1"}
    columns = [{"model": "alpha", "title": "Alpha", "name": name, "labels": [label]} for name, label in labels.items()]
    said = {"varied": "penalty.weight", "columns": columns, "show": ["sweep"], **more}
    return benchmark_study(evaluation(**said), samples=200)
