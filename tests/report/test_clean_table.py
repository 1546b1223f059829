"""The paper's Table 1, recomputed from the records; opinions that are missing, curves that could not be fitted."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from robustiqa.evaluation.study import Study, study
from robustiqa.evaluation.views import Evaluation
from robustiqa.report.layouts import all_tables, clean_table
from robustiqa.report.tables import Table
from tests.evaluation.synthetic import CALIBRATION, COMPARISON, MODELS, compared, synthetic
from tests.report.conftest import SAMPLES
from tests.report.oracle import Seen, clean, drawn, interval, mean_of, measure
from tests.report.reading import bold, cell_of, changed, estimate_of, named, titles, told

MEASURES = {
    "RMSE ↓": ("rmse_mos", 2, -1),
    "SROCC ↑": ("srocc_mos", 3, 1),
    "PLCC (raw) ↑": ("plcc_mos", 3, 1),
    "PLCC (mapped) ↑": ("plcc_mapped_mos", 3, 1),
    "KROCC ↑": ("krocc_mos", 3, 1),
    "Spread of clean scores": ("spread", 2, 0),
}
BASE, NT = ("base-1", "base-2"), ("nt-1", "nt-2")
CURVES = {name: [CALIBRATION[label] for label in labels] for name, labels in (("base", BASE), ("+NT", NT))}


@pytest.fixture(scope="module")
def table(tables: tuple[Table, ...]) -> Table:
    return named(tables, "clean")


@pytest.fixture(scope="module")
def seen(made_up: Evaluation) -> dict[str, list[Seen]]:
    return {"base": [clean(made_up, label) for label in BASE], "+NT": [clean(made_up, label) for label in NT]}


def test_the_clean_table_has_a_row_a_measure_and_a_difference(table: Table) -> None:
    assert titles(table) == list(MEASURES)
    assert [column.full for column in table.columns] == ["base", "+NT", "difference"]
    assert (table.name, table.title) == ("clean", "Clean photographs: scores against opinions")


@pytest.mark.parametrize("row", MEASURES)
def test_every_clean_number_and_every_seed_is_what_the_records_say(
    row: str, table: Table, seen: dict[str, list[Seen]]
) -> None:
    name, digits, _ = MEASURES[row]
    values = {}
    for group in ("base", "+NT"):
        found = estimate_of(table, row, group)
        values[group] = mean_of(name, seen[group], CURVES[group])
        expected = [measure(name, one, curve) for one, curve in zip(seen[group], CURVES[group], strict=True)]
        assert found.seeds == pytest.approx(expected, rel=1e-9)
        assert found.value == pytest.approx(values[group], rel=1e-9)
        assert cell_of(table, row, group).value == f"{values[group]:.{digits}f}"
    difference = cell_of(table, row, "difference")
    assert estimate_of(table, row, "difference").value == pytest.approx(values["+NT"] - values["base"], abs=1e-12)
    assert difference.value == f"{values['+NT'] - values['base']:+.{digits}f}".replace("-", "−")


@pytest.mark.parametrize("row", ["RMSE ↓", "SROCC ↑", "Spread of clean scores"])
def test_intervals_average_the_seeds_and_pair_the_models_within_each_resample(
    row: str, table: Table, seen: dict[str, list[Seen]]
) -> None:
    name = MEASURES[row][0]

    def value(group: str, places: np.ndarray[tuple[int], np.dtype[np.intp]]) -> float:
        return mean_of(name, [drawn(one, places) for one in seen[group]])

    statistics = {
        "base": lambda places: value("base", places),
        "difference": lambda places: value("+NT", places) - value("base", places),
    }
    for column, statistic in statistics.items():
        found = estimate_of(table, row, column).interval
        assert (found.low, found.high) == pytest.approx(interval(statistic, 24, SAMPLES), rel=1e-9)
        assert found.samples == SAMPLES


@pytest.mark.parametrize("row", MEASURES)
def test_the_better_clean_value_is_bold_and_of_the_spread_neither_is(
    row: str, table: Table, seen: dict[str, list[Seen]]
) -> None:
    name, _, sign = MEASURES[row]
    base, held = (mean_of(name, seen[group], CURVES[group]) for group in ("base", "+NT"))
    better = [] if not sign else ["+NT" if sign * held > sign * base else "base"]
    assert bold(table, row) == better


def test_the_worse_value_is_not_bold_when_the_defended_model_is_the_worse_one() -> None:
    swapped = {"base": COMPARISON["defended"], "defended": COMPARISON["base"]}
    evaluation = compared(24)
    one, other = (clean_table(study(found, samples=2)) for found in (evaluation, told(evaluation, comparison=swapped)))
    for row in MEASURES:
        turned = {"base": "+NT", "+NT": "base"}
        assert bold(other, row) == [turned[name] for name in bold(one, row)]


def test_values_that_read_the_same_are_neither_bold() -> None:
    twins = {"base": ["base-1"], "defended": ["base-1"]}
    table = clean_table(study(told(compared(10), comparison=twins), samples=2))
    assert not [name for row in titles(table) for name in bold(table, row)]
    nearly = changed(
        told(compared(10), comparison={"base": ["base-1"], "defended": ["base-2"]}),
        lambda record: replace(record, score=1e-7 * (record.scored_by == "base-2") + float(record.mos or 0) - 5),
    )
    table = clean_table(study(nearly, samples=2))
    assert estimate_of(table, "RMSE ↓", "base").value > estimate_of(table, "RMSE ↓", "+NT").value
    assert not bold(table, "RMSE ↓")


def test_without_opinions_no_table_has_anything_to_do_with_them() -> None:
    read = study(compared(6, transfer=True, mos=False), samples=2)
    for table in all_tables(read):
        said = " ".join((table.title, *titles(table), *(column.full for column in table.columns)))
        assert "pinion" not in said and "Clean: SROCC" not in said, table.name
    table = clean_table(read)
    assert titles(table) == ["Spread of clean scores"] and table.title == "Clean photographs"
    assert table.notes[0] == "These photographs carry no opinion scores, so there is no accuracy to show."
    assert not any("Bold" in note or "PLCC" in note for note in table.notes)


def test_one_photograph_without_an_opinion_is_enough_to_leave_accuracy_out() -> None:
    first = "photo-0000.jpg"
    cut = changed(compared(6), lambda record: replace(record, mos=None) if record.key == first else record)
    assert titles(clean_table(study(cut, samples=2))) == ["Spread of clean scores"]


@pytest.mark.parametrize(("failed", "column"), [("base-2", "base"), ("nt-1", "+NT")])
def test_a_curve_that_could_not_be_fitted_is_a_dash_that_the_notes_explain(failed: str, column: str) -> None:
    evaluation = told(compared(10), calibration={**CALIBRATION, failed: None})
    table = clean_table(study(evaluation, samples=2))
    row = "PLCC (mapped) ↑"
    other = {"base": "+NT", "+NT": "base"}[column]
    assert cell_of(table, row, column).value == cell_of(table, row, "difference").value == "—"
    assert cell_of(table, row, column).interval == "" and not bold(table, row)
    assert math.isfinite(estimate_of(table, row, other).value)
    assert math.isfinite(estimate_of(table, "PLCC (raw) ↑", column).value)
    assert "A dash: undefined, or the logistic was not fitted." in table.notes
    assert "A dash: undefined, or the logistic was not fitted." not in clean_table(study(compared(10), samples=2)).notes


def test_scores_that_are_all_the_same_have_no_correlation_and_no_claim_to_one() -> None:
    constant = changed(
        compared(10), lambda record: replace(record, clean_score=50.0, score=50.0) if record.scored_by in NT else record
    )
    table = clean_table(study(constant, samples=2))
    for row in ("SROCC ↑", "PLCC (raw) ↑", "PLCC (mapped) ↑", "KROCC ↑"):
        assert cell_of(table, row, "+NT").value == cell_of(table, row, "difference").value == "—"
        assert not bold(table, row)
    assert cell_of(table, "Spread of clean scores", "+NT").value == "0.00"
    assert "A dash: undefined, or the logistic was not fitted." in table.notes


def test_without_a_comparison_every_model_is_a_column_and_nothing_is_subtracted() -> None:
    evaluation = synthetic(8)
    table = clean_table(study(evaluation, samples=2))
    assert [column.full for column in table.columns] == list(MODELS)
    for label in MODELS:
        assert estimate_of(table, "SROCC ↑", label).value == pytest.approx(
            measure("srocc_mos", clean(evaluation, label))
        )
    best = min(MODELS, key=lambda label: measure("rmse_mos", clean(evaluation, label)))
    assert bold(table, "RMSE ↓") == [best]


def test_one_model_has_nothing_to_be_better_than() -> None:
    read: Study = study(synthetic(8, models={"only": MODELS["base-1"]}), samples=2)
    table = clean_table(read)
    assert not [name for row in titles(table) for name in bold(table, row)]
    assert not any("Bold" in note for note in table.notes)
