"""The paper's Tables 2 and 3 and their kin, recomputed from the records: against opinions, and before against after."""

from __future__ import annotations

from dataclasses import replace

import pytest

from robustiqa.evaluation.records import Record
from robustiqa.evaluation.study import study
from robustiqa.evaluation.views import Evaluation
from robustiqa.report.layouts import paper_table
from robustiqa.report.tables import Table
from tests.evaluation.synthetic import CALIBRATION, FGSM_LABEL, IFGSM_LABEL, compared
from tests.report.oracle import Seen, attacked, drawn, interval, mean_of, measure
from tests.report.reading import bold, cell_of, changed, estimate_of, kept, named, titles, told

BASE, NT = ("base-1", "base-2"), ("nt-1", "nt-2")
GROUPS = {"base": BASE, "+NT": NT}
OPINIONS, CHANGES = "Opinions and score after: ", "Score before and after: "
# table: heading to measure, digits, and whether higher is better
TABLES = {
    "rmse": {f"{OPINIONS}RMSE ↓": ("rmse_mos", 2, -1), f"{CHANGES}RMSE ↓": ("rmse_change", 2, -1)},
    "srocc": {f"{OPINIONS}SROCC ↑": ("srocc_mos", 3, 1), f"{CHANGES}SROCC ↑": ("srocc_change", 3, 1)},
    "plcc": {f"{OPINIONS}PLCC (raw) ↑": ("plcc_mos", 3, 1), f"{CHANGES}PLCC (raw) ↑": ("plcc_change", 3, 1)},
    "krocc": {f"{OPINIONS}KROCC ↑": ("krocc_mos", 3, 1), f"{CHANGES}KROCC ↑": ("krocc_change", 3, 1)},
    "mapped": {
        f"{OPINIONS}PLCC (mapped) ↑": ("plcc_mapped_mos", 3, 1),
        f"{CHANGES}RMSE of mapped scores ↓": ("change_mapped", 2, -1),
    },
    "r-robustness": {f"{CHANGES}R robustness ↑": ("r_robustness", 3, 1)},
}
ROWS = {
    f"{FGSM_LABEL}, farther end (the paper's)": (FGSM_LABEL, "farther_end", "end_to_end"),
    f"{IFGSM_LABEL}, farther end (the paper's)": (IFGSM_LABEL, "farther_end", "end_to_end"),
    f"{FGSM_LABEL}, worst of both directions, patchwise": (FGSM_LABEL, "worst_of_both", "patchwise"),
    f"{IFGSM_LABEL}, worst of both directions, patchwise": (IFGSM_LABEL, "worst_of_both", "patchwise"),
}


def seeds(evaluation: Evaluation, row: str) -> dict[str, list[Seen]]:
    attack, objective, variant = ROWS[row]
    return {
        name: [attacked(evaluation, label, attack, objective, variant=variant) for label in labels]
        for name, labels in GROUPS.items()
    }


@pytest.mark.parametrize("name", TABLES)
def test_a_paper_table_has_a_row_an_attack_under_the_papers_objective(name: str, tables: tuple[Table, ...]) -> None:
    table = named(tables, name)
    assert titles(table) == list(ROWS)
    expected = [f"{over}: {column}" for over in TABLES[name] for column in ("base", "+NT", "difference")]
    assert [column.full for column in table.columns] == expected
    assert table.main == (name in ("rmse", "srocc"))


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("name", TABLES)
def test_every_number_under_attack_is_what_the_records_say(
    name: str, row: str, tables: tuple[Table, ...], made_up: Evaluation
) -> None:
    table, seen = named(tables, name), seeds(made_up, row)
    for over, (kind, digits, sign) in TABLES[name].items():
        values = {}
        for group, labels in GROUPS.items():
            found = estimate_of(table, row, f"{over}: {group}")
            curves = [CALIBRATION[label] for label in labels]
            expected = [measure(kind, one, curve) for one, curve in zip(seen[group], curves, strict=True)]
            assert found.seeds == pytest.approx(expected, rel=1e-9)
            assert found.value == pytest.approx(sum(expected) / 2, rel=1e-9)
            assert cell_of(table, row, f"{over}: {group}").value == f"{sum(expected) / 2:.{digits}f}".replace("-", "−")
            values[group] = sum(expected) / 2
        difference = estimate_of(table, row, f"{over}: difference")
        assert difference.value == pytest.approx(values["+NT"] - values["base"], rel=1e-9)
        better = "+NT" if sign * values["+NT"] > sign * values["base"] else "base"
        assert [heading for heading in bold(table, row) if heading.startswith(over)] == [f"{over}: {better}"]


def test_intervals_of_differences_under_attack_are_paired(tables: tuple[Table, ...], made_up: Evaluation) -> None:
    row = next(iter(ROWS))
    seen = seeds(made_up, row)
    found = estimate_of(named(tables, "rmse"), row, f"{CHANGES}RMSE ↓: difference").interval
    expected = interval(
        lambda places: (
            mean_of("rmse_change", [drawn(one, places) for one in seen["+NT"]])
            - mean_of("rmse_change", [drawn(one, places) for one in seen["base"]])
        ),
        24,
        40,
    )
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-9)


def test_changes_at_the_floor_of_r_robustness_are_counted_and_said() -> None:
    evaluation = changed(compared(10), unmoved)
    table = paper_table(study(evaluation, samples=2), "", "r_robustness", "R robustness")
    assert table is not None
    assert table.notes[1] == (
        "R is log10 of the room a score had before, over its change, with a floor of a thousandth of the scale; "
        f"changes at the floor: base 0 ({FGSM_LABEL}), +NT 4 ({FGSM_LABEL}), base 0 "
        f"({IFGSM_LABEL}), +NT 0 ({IFGSM_LABEL})."
    )
    seen = [attacked(evaluation, label, FGSM_LABEL, "farther_end") for label in NT]
    found = estimate_of(table, f"{FGSM_LABEL}, farther end (the paper's)", f"{CHANGES}R robustness ↑: +NT")
    assert found.seeds == pytest.approx([measure("r_robustness", one) for one in seen])


def unmoved(record: Record) -> Record:
    """Two photographs that FGSM does not move, on both seeds of the defended model."""
    few = record.scored_by in NT and record.attack == FGSM_LABEL and record.key in ("photo-0001.jpg", "photo-0004.jpg")
    return replace(record, score=record.clean_score + 0.01, float_score=record.clean_score) if few else record


def test_without_opinions_only_before_and_after_is_left() -> None:
    read = study(compared(6, mos=False), samples=2)
    table = paper_table(read, "rmse_mos", "rmse_change", "RMSE under attack")
    assert table is not None
    assert [column.full for column in table.columns] == [
        f"{CHANGES}RMSE ↓: {name}" for name in ("base", "+NT", "difference")
    ]


def test_a_curve_that_could_not_be_fitted_leaves_both_mapped_numbers_out() -> None:
    evaluation = told(compared(6), calibration={**CALIBRATION, "nt-2": None})
    table = paper_table(study(evaluation, samples=2), "plcc_mapped_mos", "change_mapped", "Mapped")
    assert table is not None
    for row in titles(table):
        cells = [cell.value for cell in table.blocks[0].rows[0].cells]
        assert [cells[1], cells[2], cells[4], cells[5]] == ["—"] * 4 and "—" not in (cells[0], cells[3])
        assert not bold(table, row)


def test_an_attack_that_was_run_one_way_is_shown_that_way() -> None:
    evaluation = compared(6, goals=("raise",))
    table = paper_table(study(evaluation, samples=2), "", "rmse_change", "RMSE")
    assert table is not None
    assert titles(table) == [f"{label}, raise every score" for label in (FGSM_LABEL, IFGSM_LABEL)]
    seen = [attacked_one_way(evaluation, label) for label in BASE]
    assert estimate_of(table, titles(table)[0], f"{CHANGES}RMSE ↓: base").seeds == pytest.approx(seen)


def attacked_one_way(evaluation: Evaluation, label: str) -> float:
    squares = [
        (record.score - record.clean_score) ** 2
        for record in evaluation.records
        if record.scored_by == label and record.attack == FGSM_LABEL
    ]
    return float((sum(squares) / len(squares)) ** 0.5)


def test_nothing_attacked_is_no_table() -> None:
    clean_only = kept(compared(6), lambda record: record.attack == "none")
    assert paper_table(study(clean_only, samples=2), "rmse_mos", "rmse_change", "RMSE") is None
