"""The table of how models were chosen, cell by cell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from robustiqa.evaluation.study import study
from robustiqa.evaluation.views import Evaluation
from robustiqa.report.choice import choice_table
from robustiqa.report.layouts import all_tables
from robustiqa.report.tables import Table

CHOICE: dict[str, Any] = {
    "rule": "the largest that holds",
    "seeds": [0, 1],
    "weight": 1e-3,
    "validation_srocc": {
        "control-raw-form-seed-0": [0.1, 0.77],
        "noise-0.05-seed-0": [0.1, 0.75],
        "nt-0.01-seed-0": [0.1, 0.5],
        "nt-0.001-seed-0": [None, 0.79],
        "nt-0.001-seed-1": [None, 0.81],
        "baseline-seed-0": [0.7, 0.8],
        "baseline-seed-1": [0.7, 0.83],
    },
}


def table_of(evaluation: Evaluation, **notes: Any) -> Table | None:
    told = {**evaluation.info["info"], "choice": {**CHOICE, **notes}}
    changed = replace(evaluation, info={**evaluation.info, "info": told})
    found = [table for table in all_tables(study(changed, samples=2)) if table.name == "choice"]
    return found[0] if found else None


def test_every_training_stands_with_what_it_lost(made_up: Evaluation) -> None:
    table = table_of(made_up)
    assert table is not None
    assert not table.main
    assert [column.title for column in table.columns] == ["seed 0", "seed 1", "lost on average"]
    (block,) = table.blocks
    assert [(row.title, *(cell.value for cell in row.cells)) for row in block.rows] == [
        ("baseline", "0.800", "0.830", "—"),
        ("NT, weight 0.001", "0.790", "0.810", "0.015"),
        ("NT, weight 0.01", "0.500", "—", "0.300"),
        ("noise up to 0.05", "0.750", "—", "0.050"),
        ("raw form", "0.770", "—", "0.030"),
    ]
    assert table.notes[:2] == ("Rule: the largest that holds.", "Chosen: weight 0.001.")


def test_what_was_not_measured_is_a_dash(made_up: Evaluation) -> None:
    table = table_of(made_up, validation_srocc={"baseline-seed-0": [0.8], "nt-0.1-seed-0": [None]})
    assert table is not None
    assert [cell.value for row in table.blocks[0].rows for cell in row.cells] == ["0.800", "—", "—", "—", "—", "—"]


def test_without_a_choice_there_is_no_table(made_up: Evaluation) -> None:
    assert choice_table(study(made_up, samples=2)) is None
    assert table_of(made_up, validation_srocc={}) is None
