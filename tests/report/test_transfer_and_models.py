"""The transfer table and the table of single models, recomputed from the records."""

from __future__ import annotations

import pytest

from robustiqa.evaluation.study import study
from robustiqa.evaluation.views import Evaluation
from robustiqa.report.controls import models_table, transfer_table
from robustiqa.report.tables import Table
from tests.evaluation.synthetic import COMPARISON, FGSM_LABEL, IFGSM_LABEL, MODELS, compared, synthetic
from tests.report.oracle import attacked, clean, measure
from tests.report.reading import cell_of, estimate_of, kept, named, titles, told

BASE, NT = ("base-1", "base-2"), ("nt-1", "nt-2")
GROUPS = {"base": BASE, "+NT": NT}
OVER = "Score before and after"
COLUMNS = {
    f"{OVER}: Change / clean spread ↓": ("change_over_spread", 2),
    f"{OVER}: RMSE ↓": ("rmse_change", 2),
    f"{OVER}: SROCC ↑": ("srocc_change", 3),
}
BLOCKS = {
    f"{FGSM_LABEL}, 2 whole 8-bit levels, worst of both directions": FGSM_LABEL,
    f"{IFGSM_LABEL}, 4 whole 8-bit levels, worst of both directions": IFGSM_LABEL,
}


def test_every_transferred_number_is_what_the_records_say(tables: tuple[Table, ...], made_up: Evaluation) -> None:
    table = named(tables, "transfer")
    assert [block.title for block in table.blocks] == list(BLOCKS)
    assert [column.full for column in table.columns] == list(COLUMNS)
    assert not table.main
    for block, attack in BLOCKS.items():
        for source, sources in GROUPS.items():
            for scorer, scorers in GROUPS.items():
                seen = [
                    attacked(made_up, two, attack, "worst_of_both", source=one)
                    for one, two in zip(sources, scorers, strict=True)
                ]
                for column, (kind, digits) in COLUMNS.items():
                    expected = [measure(kind, one) for one in seen]
                    found = estimate_of(table, f"{source} → {scorer}", column, block)
                    assert found.seeds == pytest.approx(expected, rel=1e-9)
                    said = cell_of(table, f"{source} → {scorer}", column, block).value
                    assert said == f"{sum(expected) / 2:.{digits}f}".replace("-", "−")


def test_white_box_rows_of_the_transfer_table_are_the_honest_ones(tables: tuple[Table, ...]) -> None:
    transfer, honest = named(tables, "transfer"), named(tables, "honest")
    for name in GROUPS:
        assert estimate_of(transfer, f"{name} → {name}", f"{OVER}: RMSE ↓", next(iter(BLOCKS))) == estimate_of(
            honest,
            "worst of both directions, 8-bit",
            f"RMSE ↓ before and after: {name}",
            f"{FGSM_LABEL}, 2 whole 8-bit levels",
        )


def test_transfer_notes_name_the_attacks_that_were_transferred_and_no_others(tables: tuple[Table, ...]) -> None:
    assert "attacked on → scored by, as marked" in named(tables, "transfer").notes[-1]
    cut = kept(compared(8, transfer=True), lambda r: r.attack == FGSM_LABEL or r.attacked_on == r.scored_by)
    table = transfer_table(study(cut, samples=2))
    assert table is not None
    assert [block.title for block in table.blocks] == list(BLOCKS)[:1]
    assert FGSM_LABEL in table.notes[-1] and IFGSM_LABEL not in table.notes[-1]


def test_one_way_of_transfer_is_enough_for_a_row() -> None:
    cut = kept(compared(8, transfer=True), lambda r: not (r.attacked_on in NT and r.scored_by in BASE))
    table = transfer_table(study(cut, samples=2))
    assert table is not None
    assert titles(table) == ["base → base", "base → +NT", "+NT → +NT"] * 2


def test_what_was_not_transferred_seed_by_seed_is_no_table() -> None:
    assert transfer_table(study(compared(6), samples=2)) is None
    uneven = told(compared(6, transfer=True), comparison={**COMPARISON, "defended": ["nt-1"]})
    assert transfer_table(study(uneven, samples=2)) is None
    cut = kept(compared(6, transfer=True), lambda r: {r.attacked_on, r.scored_by} not in ({"base-2", "nt-2"},))
    assert transfer_table(study(cut, samples=2)) is None


def test_every_single_model_stands_by_itself_with_its_own_numbers(
    tables: tuple[Table, ...], made_up: Evaluation
) -> None:
    table = named(tables, "models")
    assert [(block.title, [row.title for row in block.rows]) for block in table.blocks] == [
        ("base", list(BASE)),
        ("+NT", list(NT)),
        ("matched accuracy", ["early-1"]),
        ("noise", ["noise-1"]),
    ]
    worst = f"{FGSM_LABEL}, worst of both directions"
    for label in MODELS:
        untouched, moved = clean(made_up, label), attacked(made_up, label, FGSM_LABEL, "worst_of_both")
        expected = {
            "Clean: SROCC ↑": measure("srocc_mos", untouched),
            "Clean: Spread of clean scores": measure("spread", untouched),
            f"{worst}: Change / clean spread ↓": measure("change_over_spread", moved),
            f"{worst}: RMSE ↓": measure("rmse_change", moved),
        }
        assert [column.full for column in table.columns] == list(expected)
        for column, value in expected.items():
            assert estimate_of(table, label, column).value == pytest.approx(value, rel=1e-9)
    assert not table.main and "each 1 seed" in table.notes[-1]


def test_models_outside_the_comparison_come_last() -> None:
    one_each = {"base": ["base-1"], "defended": ["nt-1"], "controls": {"noise": ["noise-1"]}}
    table = models_table(study(told(compared(6), comparison=one_each), samples=2))
    assert table is not None
    assert [(block.title, [row.title for row in block.rows]) for block in table.blocks][-1] == (
        "other models",
        ["base-2", "nt-2", "early-1"],
    )


def test_single_models_need_no_table_of_their_own_where_each_is_a_column_already() -> None:
    pair = {label: MODELS[label] for label in ("base-1", "nt-1")}
    info = {"comparison": {"base": ["base-1"], "defended": ["nt-1"]}}
    assert models_table(study(synthetic(6, models=pair, info=info), samples=2)) is None
    assert models_table(study(synthetic(6), samples=2)) is None


def test_single_models_without_an_attack_or_opinions_show_what_is_left() -> None:
    table = models_table(study(compared(6, attacks=(), mos=False), samples=2))
    assert table is not None
    assert [column.full for column in table.columns] == ["Clean: Spread of clean scores"]
