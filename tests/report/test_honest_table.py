"""The honest table, recomputed from the records, and fakes that the paper's objective would let through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from robustiqa.evaluation.records import Record
from robustiqa.evaluation.study import study
from robustiqa.evaluation.views import Evaluation
from robustiqa.report.layouts import honest_table
from robustiqa.report.tables import Table
from tests.evaluation.synthetic import FGSM_LABEL, IFGSM_LABEL, compared, synthetic
from tests.report.oracle import Seen, attacked, drawn, interval, mean_of, measure
from tests.report.reading import cell_of, changed, estimate_of, kept, named

BASE, NT = ("base-1", "base-2"), ("nt-1", "nt-2")
GROUPS = {"base": BASE, "+NT": NT}
SPREADS, POINTS, RANKS = "Change / clean spread ↓", "RMSE ↓ before and after", "SROCC ↑ before and after"
MEASURES = {SPREADS: ("change_over_spread", 2, -1), POINTS: ("rmse_change", 2, -1), RANKS: ("srocc_change", 3, 1)}
OBJECTIVES = {
    "worst_of_both": "worst of both directions",
    "rank_split": "rank split",
    "farther_end": "farther end (the paper's)",
}
BUDGETS = {FGSM_LABEL: "2 whole 8-bit levels", IFGSM_LABEL: "4 whole 8-bit levels"}
BLOCKS = {
    f"{attack}, {BUDGETS[attack]}{patchwise}": (attack, "patchwise" if patchwise else "end_to_end")
    for attack in BUDGETS
    for patchwise in ("", ", patchwise")
}


@pytest.fixture(scope="module")
def table(tables: tuple[Table, ...]) -> Table:
    return named(tables, "honest")


def honest(evaluation: Evaluation) -> Table:
    table = honest_table(study(evaluation, samples=20))
    assert table is not None
    return table


def rows(variant: str) -> list[tuple[str, str, str]]:
    """Objective, precision and heading of every row of a block."""
    return [
        (objective, precision, f"{words}, {precision}")
        for objective, words in OBJECTIVES.items()
        if (objective, variant) != ("farther_end", "patchwise")
        for precision in ("8-bit", "float")
    ]


def test_the_honest_table_has_every_attack_variant_objective_and_precision(table: Table) -> None:
    assert [block.title for block in table.blocks] == list(BLOCKS)
    for block in table.blocks:
        _, variant = BLOCKS[block.title]
        assert [row.title for row in block.rows] == [heading for _, _, heading in rows(variant)]
    pair = ["base", "+NT"]
    assert [column.full for column in table.columns] == [
        *(f"{SPREADS}: {name}" for name in (*pair, "reduction")),
        *(f"{over}: {name}" for over in (POINTS, RANKS) for name in pair),
    ]


@pytest.mark.parametrize("block", BLOCKS)
def test_every_honest_number_is_what_the_records_say(block: str, table: Table, made_up: Evaluation) -> None:
    attack, variant = BLOCKS[block]
    for objective, precision, row in rows(variant):
        seen = {
            name: [
                attacked(made_up, label, attack, objective, variant=variant, precision=precision) for label in labels
            ]
            for name, labels in GROUPS.items()
        }
        for over, (kind, digits, _) in MEASURES.items():
            for name in GROUPS:
                expected = [measure(kind, one) for one in seen[name]]
                found = estimate_of(table, row, f"{over}: {name}", block)
                assert found.seeds == pytest.approx(expected, rel=1e-9), (row, over, name)
                said = cell_of(table, row, f"{over}: {name}", block).value
                assert said == f"{sum(expected) / 2:.{digits}f}".replace("-", "−")
        base, held = (mean_of("change_over_spread", seen[name]) for name in GROUPS)
        assert estimate_of(table, row, f"{SPREADS}: reduction", block).value == pytest.approx(1 - held / base)
        assert cell_of(table, row, f"{SPREADS}: reduction", block).value == f"{100 * (1 - held / base):.0f}\u00a0%"


def test_the_interval_of_a_reduction_is_of_the_ratio_within_each_resample(table: Table, made_up: Evaluation) -> None:
    seen = {name: [attacked(made_up, label, FGSM_LABEL, "rank_split") for label in GROUPS[name]] for name in GROUPS}

    def ratio(places: np.ndarray[Any, np.dtype[np.intp]]) -> float:
        base, held = (
            mean_of("change_over_spread", [drawn(one, places) for one in seen[name]]) for name in ("base", "+NT")
        )
        return 1 - held / base

    block = next(iter(BLOCKS))
    found = estimate_of(table, "rank split, 8-bit", f"{SPREADS}: reduction", block).interval
    assert (found.low, found.high) == pytest.approx(interval(ratio, 24, 40), rel=1e-9)


def test_the_better_honest_value_is_bold_in_each_pair_and_the_reduction_never(table: Table) -> None:
    for block in table.blocks:
        for row in block.rows:
            cells = dict(zip([column.full for column in table.columns], row.cells, strict=True))
            for over, (_, _, sign) in MEASURES.items():
                marked = {name for name in GROUPS if cells[f"{over}: {name}"].best}
                values = {name: float(cells[f"{over}: {name}"].value.replace("−", "-")) for name in GROUPS}
                best = max(sign * value for value in values.values())
                assert marked == {name for name, value in values.items() if sign * value == best}
            assert not cells[f"{SPREADS}: reduction"].best


def defended(change: Callable[[Record], dict[str, Any]], *, like: str = "base") -> Evaluation:
    """A comparison whose defended models hold, photograph by photograph, what a function makes of the baselines'."""
    evaluation = compared(30)
    source = {
        (record.identity[1].replace(like, "nt"), *record.identity[2:]): record
        for record in evaluation.records
        if record.scored_by.startswith(like)
    }
    return changed(
        evaluation,
        lambda record: (
            replace(record, **change(source[record.identity[1:]])) if record.scored_by.startswith("nt") else record
        ),
    )


def test_a_model_that_squeezes_its_scores_looks_good_in_points_and_gains_nothing_over_its_spread() -> None:
    table = honest(
        defended(
            lambda record: {
                name: 50 + (getattr(record, name) - 50) / 10 for name in ("clean_score", "score", "float_score")
            }
        )
    )
    row, block = "worst of both directions, 8-bit", next(iter(BLOCKS))
    points = [estimate_of(table, row, f"{POINTS}: {name}", block).value for name in GROUPS]
    assert points[1] == pytest.approx(points[0] / 10)
    assert cell_of(table, row, f"{SPREADS}: reduction", block).value == "0\u00a0%"
    assert cell_of(table, row, f"{SPREADS}: reduction", block).interval == "[0, 0]"
    marked = [heading for heading, cell in zip(table.columns, table.blocks[0].rows[0].cells, strict=True) if cell.best]
    assert [column.full for column in marked] == [f"{POINTS}: +NT"]


def test_a_model_that_says_the_same_of_every_photograph_gets_dashes_and_no_credit() -> None:
    table = honest(defended(lambda _: {"clean_score": 50.0, "score": 50.0, "float_score": 50.0}))
    for block in table.blocks:
        for row in block.rows:
            cells = dict(zip([column.full for column in table.columns], row.cells, strict=True))
            said = [cells[f"{SPREADS}: {name}"].value for name in ("+NT", "reduction")] + [cells[f"{RANKS}: +NT"].value]
            assert said == ["—"] * 3
            assert cells[f"{POINTS}: +NT"].value == "0.00"
            assert [name for name, cell in cells.items() if cell.best] == [f"{POINTS}: +NT"]


def test_a_shift_of_every_score_keeps_the_papers_order_and_not_the_rank_splits() -> None:
    """All scores lie above mid-scale, so that the paper's objective lowers all of them alike."""
    models = dict.fromkeys(("base-1", "base-2", "nt-1", "nt-2", "early-1", "noise-1"), (0.0, 0.8, 0.0))
    one_sided = changed(
        compared(20, models=models),
        lambda record: replace(
            record,
            clean_score=(place := 60 + int(record.key[6:10])),
            score=(moved := place + {"lower": -30, "raise": 30, "none": 0}[record.goal]),
            float_score=moved,
        ),
    )
    table, block = honest(one_sided), next(iter(BLOCKS))
    values = {
        objective: estimate_of(table, f"{words}, 8-bit", f"{RANKS}: base", block).value
        for objective, words in OBJECTIVES.items()
    }
    assert values["farther_end"] == pytest.approx(1)
    split = [place + (30 if place <= 69.5 else -30) for place in range(60, 80)]
    seen = Seen((), np.zeros(20), np.arange(60.0, 80.0), np.array(split, dtype=float))
    assert values["rank_split"] == pytest.approx(measure("srocc_change", seen)) and values["rank_split"] < 0


def test_without_a_comparison_there_is_no_reduction() -> None:
    table = honest(synthetic(8))
    assert not any("reduction" in column.full for column in table.columns)
    assert len(table.columns) == 3 * 6


def test_only_what_was_run_is_a_row() -> None:
    table = honest(compared(6, goals=("lower",)))
    assert [row.title for row in table.blocks[0].rows] == ["lower every score, 8-bit", "lower every score, float"]
    assert not any("The paper's objective" in note for note in table.notes)
    some = honest(kept(compared(6), lambda record: (record.attack, record.goal) != (FGSM_LABEL, "raise")))
    assert [row.title for row in some.blocks[0].rows] == ["lower every score, 8-bit", "lower every score, float"]
    assert len(some.blocks[1].rows) == 6
    assert any("The paper's objective" in note for note in some.notes)


def test_nothing_attacked_is_no_honest_table() -> None:
    assert honest_table(study(compared(4, attacks=()), samples=2)) is None
