"""Comparisons of several models, side by side: the paper's tables as far as the records of comparisons fill them.

A comparison attacks its models by FGSM. So Table 1 and the FGSM rows of Tables 2 and 3 with their siblings follow from
records that are kept anyway, and nothing is computed again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

from robustiqa.core.errors import DataError
from robustiqa.evaluation.exported import INFO_FILE, load_exported
from robustiqa.evaluation.records import CLEAN, Record
from robustiqa.evaluation.views import Evaluation
from robustiqa.experiments.benchmark import Benchmark
from robustiqa.experiments.benchmark_notes import benchmark_notes
from robustiqa.experiments.declared import load_benchmarks
from robustiqa.report.benchmark_study import BASE, DEFENDED

SHOWN = {"paper-table-1": "Table 1", "paper-tables-2-3": "FGSM rows of Tables 2 and 3"}  # benchmark to title
SIDES = {BASE: "base", DEFENDED: "defended"}  # of a pair, to what a comparison calls it
Runs = Mapping[tuple[str, str], frozenset[str]]  # attack and goal to photographs


def side_by_side(folder: Path) -> list[Evaluation]:
    """The benchmarks of `SHOWN` on the models whose finished comparisons lie in a folder.

    Args:
        folder: Holds one folder a comparison, by its name, as `comparison_evaluation.export` wrote it.

    Returns:
        One evaluation a benchmark; none where fewer than two models are there.

    Raises:
        DataError: if they are of different datasets.
    """
    wanted = [replace(one, title=SHOWN[one.name]) for one in load_benchmarks() if one.name in SHOWN]
    return [made for one in wanted if (made := _of(one, folder)) is not None]


def _of(benchmark: Benchmark, folder: Path) -> Evaluation | None:
    found = {model: load_exported(path) for model in benchmark.models if (path := _run(benchmark, model, folder))}
    finished = {model: one for model, one in found.items() if "comparison" in one.info["info"]}
    if len(finished) < 2:
        return None
    datasets = {model: one.info["dataset"] for model, one in finished.items()}
    first, *others = datasets
    for other in others:
        if datasets[other] != datasets[first]:
            raise DataError(f"the comparisons of {first} and {other} are of different datasets or parts; repeat one.")
    return _merged(benchmark, finished)


def _run(benchmark: Benchmark, model: str, folder: Path) -> Path | None:
    path = folder / benchmark.subjects.models[model].comparison
    return path if (path / INFO_FILE).is_file() else None


def _merged(benchmark: Benchmark, found: Mapping[str, Evaluation]) -> Evaluation:
    """Pairs of every model under one name each, on the photographs that all of them met."""
    plan = benchmark.plan({})
    attacks = {attack.label for photos in plan.sets for attack in photos.attacks}
    records: list[Record] = []
    models: dict[str, Any] = {}
    calibration: dict[str, Any] = {}
    columns = []
    for model, one in found.items():
        title = benchmark.subjects.models[model].title
        for name, side in SIDES.items():
            names = {label: f"{title}, {label}" for label in one.info["info"]["comparison"][side]}
            columns.append({"model": model, "title": title, "name": name, "labels": list(names.values())})
            for label, new in names.items():
                models[new] = one.info["models"][label]
                calibration[new] = one.info["info"]["calibration"][label]
            records += [
                replace(record, scored_by=names[record.scored_by], attacked_on=names[record.attacked_on])
                for record in one.records
                if record.scored_by in names and record.attack in {CLEAN, *attacks}
            ]
    shared = reduce(_common, (_runs(records, label) for label in models))
    info = next(iter(found.values())).info
    notes = {**benchmark_notes(benchmark, (), plan, plan.sets), "columns": columns, "calibration": calibration}
    kept = tuple(one for one in records if one.key in shared.get((one.attack, one.goal), ()))
    return Evaluation(kept, {**info, "models": models, "info": notes})


def _runs(records: Sequence[Record], label: str) -> Runs:
    met: dict[tuple[str, str], set[str]] = {}
    for record in records:
        if record.scored_by == label:
            met.setdefault((record.attack, record.goal), set()).add(record.key)
    return {run: frozenset(keys) for run, keys in met.items()}


def _common(one: Runs, other: Runs) -> Runs:
    return {run: keys & other[run] for run, keys in one.items() if run in other}
