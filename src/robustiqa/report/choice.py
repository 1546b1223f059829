"""The table of how models were chosen: validation SROCC of all that was trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean

from robustiqa.evaluation.study import Study
from robustiqa.report.captions import quick_note
from robustiqa.report.tables import Block, Cell, Column, Row, Table, number

BASELINE = "baseline"
PLACES = {BASELINE: 0, "nt": 1, "noise": 2, "control": 3}  # by the first part of a kind's name
DIGITS = 3


def choice_table(study: Study) -> Table | None:
    """Every training of a comparison, seed by seed, and what it lost against the baselines; None if none was noted.

    It reads `info["info"]["choice"]`: the `rule`, the `seeds`, the chosen `weight`, and `validation_srocc`, the name of
    each training to its SROCC epoch by epoch.
    """
    choice = study.notes.get("choice")
    if not choice or not choice.get("validation_srocc"):
        return None
    seeds = [int(seed) for seed in choice["seeds"]]
    reached = _last(choice["validation_srocc"])
    order = sorted(reached, key=lambda kind: (PLACES.get(kind.partition("-")[0], len(PLACES)), _size(kind), kind))
    rows = tuple(_row(kind, reached[kind], reached.get(BASELINE, {}), seeds) for kind in order)
    chosen = [f"Chosen: weight {choice['weight']:g}."] if "weight" in choice else []
    return Table(
        "choice",
        "What was trained, and SROCC on validation photographs after the last epoch",
        "Training",
        (*(Column(f"seed {seed}") for seed in seeds), Column("lost on average")),
        (Block(rows),),
        (f"Rule: {choice['rule']}.", *chosen, f"Lost: against the baselines of the same seeds{quick_note(study)}."),
        main=False,
    )


def _last(trainings: Mapping[str, list[float | None]]) -> dict[str, dict[int, float]]:
    """Kind of training to seed to SROCC after the last epoch, from names such as `nt-8e-07-seed-0`."""
    found: dict[str, dict[int, float]] = {}
    for name, epochs in trainings.items():
        kind, _, seed = name.rpartition("-seed-")
        found.setdefault(kind, {})[int(seed)] = math.nan if epochs[-1] is None else epochs[-1]
    return found


def _row(kind: str, reached: Mapping[int, float], base: Mapping[int, float], seeds: list[int]) -> Row:
    cells = [Cell(text=number(reached.get(seed, math.nan), DIGITS)) for seed in seeds]
    lost = [base[seed] - srocc for seed, srocc in reached.items() if seed in base]
    mean = number(fmean(lost), DIGITS) if lost and kind != BASELINE else ""
    return Row(_words(kind), (*cells, Cell(text=mean)))


def _words(kind: str) -> str:
    name, _, size = kind.partition("-")
    words = {"nt": f"NT, weight {size}", "noise": f"noise up to {size}", "control": size.replace("-", " ")}
    return words.get(name, kind)


def _size(kind: str) -> float:
    """The number in a kind's name; 0 where there is none."""
    name, _, size = kind.partition("-")
    return float(size) if name in ("nt", "noise") else 0.0
