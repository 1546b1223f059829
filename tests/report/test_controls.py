"""The controls table, recomputed from the records, and what a defended model may claim beside its controls."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from robustiqa.evaluation.records import Record
from robustiqa.evaluation.study import study
from robustiqa.evaluation.views import Evaluation
from robustiqa.report.controls import controls_table
from robustiqa.report.tables import Table
from tests.evaluation.synthetic import COMPARISON, FGSM_LABEL, IFGSM_LABEL, MODELS, RANDOM_LABEL, compared, synthetic
from tests.report.oracle import Seen, attacked, clean, drawn, interval, mean_of, measure, shrunk
from tests.report.reading import bold, cell_of, changed, estimate_of, kept, named, titles, told

BASE, NT = ("base-1", "base-2"), ("nt-1", "nt-2")
GROUPS = {"base": BASE, "matched accuracy": ("early-1",), "noise": ("noise-1",), "+NT": NT}
WORST, SPLIT = "worst of both directions", "rank split"
COLUMNS = {
    "Clean: SROCC ↑": ("srocc_mos", "clean", 3),
    "Clean: Spread of clean scores": ("spread", "clean", 2),
    f"{WORST}: RMSE ↓": ("rmse_change", "worst_of_both", 2),
    f"{WORST}: Change / clean spread ↓": ("change_over_spread", "worst_of_both", 2),
    f"{SPLIT}: SROCC ↑": ("srocc_change", "rank_split", 3),
}
SPREADS, LOWER = f"{WORST}: Change / clean spread ↓", f"{WORST}: +NT lower by"


def seen_under(evaluation: Evaluation, attack: str, row: str, objective: str) -> list[Seen]:
    """What the models of a row made of the photographs, `shrink` and random signs included."""
    attack = RANDOM_LABEL if row == "base, random signs" else attack
    if row == "shrink":
        cleans = [
            (clean(evaluation, one).before, clean(evaluation, other).before)
            for one, other in zip(BASE, NT, strict=True)
        ]
        plain = seen_under(evaluation, attack, "base", objective)
        return [shrunk(one, *pair) for one, pair in zip(plain, cleans, strict=True)]
    labels = GROUPS.get(row, BASE)
    if objective == "clean":
        return [clean(evaluation, label) for label in labels]
    return [attacked(evaluation, label, attack, objective) for label in labels]


def controls(evaluation: Evaluation, attack: str = FGSM_LABEL) -> Table:
    table = controls_table(study(evaluation, samples=40), attack)
    assert table is not None
    return table


@pytest.mark.parametrize(("name", "attack"), [("controls-1", FGSM_LABEL), ("controls-2", IFGSM_LABEL)])
def test_every_number_of_every_control_is_what_the_records_say(
    name: str, attack: str, tables: tuple[Table, ...], made_up: Evaluation
) -> None:
    table = named(tables, name)
    assert table.title == f"Controls under {attack}"
    signs = ["base, random signs"] if attack == FGSM_LABEL else []
    assert titles(table) == ["base", *signs, "shrink", "matched accuracy", "noise", "+NT"]
    assert [column.full for column in table.columns] == [*list(COLUMNS)[:4], LOWER, *list(COLUMNS)[4:]]
    for row in titles(table):
        for column, (kind, objective, digits) in COLUMNS.items():
            expected = [measure(kind, one) for one in seen_under(made_up, attack, row, objective)]
            assert estimate_of(table, row, column).seeds == pytest.approx(expected, rel=1e-9), (row, column)
            mean = sum(expected) / len(expected)
            assert cell_of(table, row, column).value == f"{mean:.{digits}f}".replace("-", "−")


def marks(table: Table) -> set[tuple[str, str]]:
    return {(row, column) for row in titles(table) for column in bold(table, row)}


def test_the_best_is_bold_in_the_two_columns_that_squeezing_does_not_move(
    tables: tuple[Table, ...], made_up: Evaluation
) -> None:
    worse = credited({"early-1": 1.0, "noise-1": 3.0}, 2.0)
    for table, evaluation in ((named(tables, "controls-1"), made_up), (controls(worse), worse)):
        values = {
            (row, kind): mean_of(kind, seen_under(evaluation, FGSM_LABEL, row, objective))
            for row in GROUPS
            for kind, objective in (("change_over_spread", "worst_of_both"), ("srocc_change", "rank_split"))
        }
        least = min(GROUPS, key=lambda row: values[row, "change_over_spread"])
        most = max(GROUPS, key=lambda row: values[row, "srocc_change"])
        assert marks(table) == {(least, SPREADS), (most, f"{SPLIT}: SROCC ↑")}
        assert (least == "+NT") == (evaluation is made_up)


def test_each_control_says_how_far_the_defended_model_lies_below_it(
    tables: tuple[Table, ...], made_up: Evaluation
) -> None:
    table = named(tables, "controls-1")
    held = seen_under(made_up, FGSM_LABEL, "+NT", "worst_of_both")
    for row in ("base", "shrink", "matched accuracy", "noise"):
        plain = seen_under(made_up, FGSM_LABEL, row, "worst_of_both")
        share = 1 - mean_of("change_over_spread", held) / mean_of("change_over_spread", plain)
        assert estimate_of(table, row, LOWER).value == pytest.approx(share)
        assert cell_of(table, row, LOWER).value == f"{100 * share:.0f}\u00a0%"
    assert {cell_of(table, row, LOWER).value for row in ("base, random signs", "+NT")} == {"—"}
    ends = interval(
        lambda places: (
            1
            - mean_of("change_over_spread", [drawn(one, places) for one in held])
            / measure("change_over_spread", drawn(seen_under(made_up, FGSM_LABEL, "noise", "worst_of_both")[0], places))
        ),
        24,
        40,
    )
    found = estimate_of(table, "noise", LOWER).interval
    assert (found.low, found.high) == pytest.approx(ends, rel=1e-9)


def test_shrink_lowers_points_alone(tables: tuple[Table, ...]) -> None:
    """What the control is there to show: neither the spread ratio nor ranks are moved by squeezing."""
    table = named(tables, "controls-1")
    for column in (SPREADS, f"{SPLIT}: SROCC ↑", "Clean: SROCC ↑"):
        assert estimate_of(table, "shrink", column).seeds == pytest.approx(estimate_of(table, "base", column).seeds)
    spread = "Clean: Spread of clean scores"
    assert estimate_of(table, "shrink", spread).seeds == pytest.approx(estimate_of(table, "+NT", spread).seeds)


def credited(values: Mapping[str, float], defended: float) -> Evaluation:
    """A comparison in which every score of a model moves by a multiple of its clean spread, up or down."""
    evaluation = compared(24)
    moves = {"base-1": 4.0, "base-2": 4.0, **values, "nt-1": defended, "nt-2": defended}
    spreads = {label: measure("spread", clean(evaluation, label)) for label in moves}

    def move(record: Record) -> Record:
        if record.attack != FGSM_LABEL:
            return record
        jitter = 1 + 0.05 * (int(record.key[6:10]) % 3)  # so that resamples differ
        way = {"lower": -jitter, "raise": 0.5}[record.goal]
        return replace(record, score=record.clean_score + way * moves[record.scored_by] * spreads[record.scored_by])

    return changed(evaluation, move)


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ({"early-1": 2.0, "noise-1": 3.0}, "matched accuracy"),
        ({"early-1": 3.0, "noise-1": 2.0}, "noise"),
        ({"early-1": 5.0, "noise-1": 6.0}, "shrink"),
    ],
)
def test_the_defended_model_is_credited_with_what_it_gains_over_the_best_control(
    values: dict[str, float], best: str
) -> None:
    table, share = controls(credited(values, 1.0)), 1 - 1 / min(4.0, *values.values())
    found = estimate_of(table, best, LOWER)
    assert found.value == pytest.approx(share)
    assert table.notes[0] == (
        f"+NT is credited with what it gains over the best control ({best}) in change over spread: "
        f"{100 * share:.0f}\u00a0% less [{100 * found.interval.low:.0f}, {100 * found.interval.high:.0f}]."
    )
    assert SPREADS in bold(table, "+NT")


def test_a_defended_model_below_its_best_control_is_not_credited() -> None:
    table = controls(credited({"early-1": 1.0, "noise-1": 3.0}, 2.0))
    ends = estimate_of(table, "matched accuracy", LOWER).interval
    assert ends.high < 0
    assert table.notes[0] == (
        "+NT does worse than the best control (matched accuracy) in change over spread: "
        f"100\u00a0% more [{-100 * ends.high:.0f}, {-100 * ends.low:.0f}]."
    )
    assert SPREADS in bold(table, "matched accuracy") and SPREADS not in bold(table, "+NT")


def squeezed(moved: float) -> Evaluation:
    """A fake defense: a baseline's clean scores divided by ten, its changes too, and those times a number."""
    evaluation = compared(24)
    plain = {(r.scored_by, *r.identity[2:]): r for r in evaluation.records if r.scored_by.startswith("base")}

    def fake(record: Record) -> Record:
        if not record.scored_by.startswith("nt"):
            return record
        twin = plain[(record.scored_by.replace("nt", "base"), *record.identity[2:])]
        before = 50 + (twin.clean_score - 50) / 10
        after: dict[str, Any] = {
            name: before + moved * (getattr(twin, name) - twin.clean_score) / 10 for name in ("score", "float_score")
        }
        return replace(record, clean_score=before, **after)

    return told(changed(evaluation, fake), comparison={"base": list(BASE), "defended": list(NT)})


@pytest.mark.parametrize("moved", [1.0, 0.998])
def test_a_defense_that_only_squeezes_scores_gains_nothing_over_shrink(moved: float) -> None:
    """The fake that the control is for. Nor does a gain count that reads as none, if all resamples agree on it."""
    table = controls(squeezed(moved))
    assert titles(table) == ["base", "base, random signs", "shrink", "+NT"]
    assert estimate_of(table, "shrink", LOWER).interval.low == pytest.approx(1 - moved)
    assert table.notes[0] == (
        "Beside the best control (shrink) in change over spread +NT gains nothing that can be told from chance: "
        "0\u00a0% less [0, 0]."
    )
    points = f"{WORST}: RMSE ↓"
    expected = moved * estimate_of(table, "base", points).value / 10
    assert estimate_of(table, "+NT", points).value == pytest.approx(expected)


def test_baseline_and_shrink_are_both_bold_where_they_are_best() -> None:
    """They differ in rounding errors only."""
    table = controls(credited({"early-1": 5.0, "noise-1": 6.0}, 7.0))
    assert [row for row in titles(table) if SPREADS in bold(table, row)] == ["base", "shrink"]


def test_random_signs_are_never_the_best_and_say_what_they_are(tables: tuple[Table, ...]) -> None:
    table = named(tables, "controls-1")
    assert not bold(table, "base, random signs")
    assert estimate_of(table, "base, random signs", SPREADS).value < estimate_of(table, "+NT", SPREADS).value
    said = "random signs: noise of the same size on the baseline, a yardstick and no defense."
    assert said in table.notes
    assert said not in named(tables, "controls-2").notes
    late = kept(compared(6), lambda record: record.attack != FGSM_LABEL)
    resized = changed(
        late, lambda record: replace(record, eps=4 / 255, levels=4) if record.attack == RANDOM_LABEL else record
    )
    assert said in controls(resized, IFGSM_LABEL).notes


def test_what_the_controls_are_is_said_once(tables: tuple[Table, ...]) -> None:
    first, second = (named(tables, name).notes for name in ("controls-1", "controls-2"))
    said = (
        "shrink: the baseline's scores compressed linearly to +NT's clean spread, on paper.",
        "matched accuracy: the baseline stopped early at +NT's validation SROCC.",
        "noise: the baseline trained with Gaussian noise, at equal validation SROCC.",
    )
    assert first[1:4] == said and not set(said) & set(second)
    assert "Bold: the best, random signs aside." in first and "Bold: the best, random signs aside." in second


def test_a_control_that_was_not_attacked_so_has_dashes_and_is_not_the_best() -> None:
    evaluation = kept(compared(10), lambda record: (record.scored_by, record.attack) != ("early-1", FGSM_LABEL))
    table = controls(evaluation)
    shown = [cell.value for cell in table.blocks[0].rows[titles(table).index("matched accuracy")].cells]
    assert shown[2:] == ["—"] * 4 and "—" not in shown[:2]
    assert "(matched accuracy)" not in table.notes[0]


def test_a_constant_defended_model_is_credited_with_nothing() -> None:
    """Its spread is 0, and so is every change."""
    constant = changed(
        compared(10),
        lambda r: replace(r, clean_score=50.0, score=50.0, float_score=50.0) if r.scored_by in NT else r,
    )
    table = controls(constant)
    assert not any("credited" in note or "—" in note for note in table.notes)
    shown = {
        column.full: cell.value for column, cell in zip(table.columns, table.blocks[0].rows[-1].cells, strict=True)
    }
    assert (shown[SPREADS], shown[f"{SPLIT}: SROCC ↑"], shown["Clean: SROCC ↑"]) == ("—",) * 3
    assert not bold(table, "+NT")
    assert math.isnan(estimate_of(table, "shrink", SPREADS).value)


def test_without_opinions_the_controls_have_no_accuracy() -> None:
    table = controls(compared(6, mos=False))
    assert [column.full for column in table.columns] == [*list(COLUMNS)[1:4], LOWER, *list(COLUMNS)[4:]]
    marked = [row for row in titles(table) if SPREADS in bold(table, row)]
    models = [row for row in titles(table) if row != "base, random signs"]
    assert marked == [min(models, key=lambda row: estimate_of(table, row, SPREADS).value)]


def test_without_a_comparison_or_an_attack_there_are_no_controls() -> None:
    assert controls_table(study(synthetic(4, models={"a": MODELS["nt-1"]}), samples=2), FGSM_LABEL) is None
    cut = kept(told(compared(4), comparison=COMPARISON), lambda r: not (r.attack == FGSM_LABEL and r.scored_by in NT))
    assert controls_table(study(cut, samples=2), FGSM_LABEL) is None
