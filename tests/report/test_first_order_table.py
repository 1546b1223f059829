"""The first-order table, recomputed from the records: which photographs, which eps, what is pooled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from robustiqa.evaluation.study import study
from robustiqa.evaluation.views import Evaluation
from robustiqa.report.controls import first_order_table
from robustiqa.report.tables import Table
from tests.evaluation.synthetic import FGSM_LABEL, IFGSM_LABEL, compared
from tests.report.oracle import Array, attacked, clean, records_of
from tests.report.reading import changed, kept, named, row_of, shown

BASE, NT = ("base-1", "base-2"), ("nt-1", "nt-2")
GROUPS = {"base": BASE, "+NT": NT, "matched accuracy": ("early-1",), "noise": ("noise-1",)}
BLOCKS = {
    f"{FGSM_LABEL}, 2 whole 8-bit levels, worst of both directions": (FGSM_LABEL, 0.01),
    f"{IFGSM_LABEL}, 4 whole 8-bit levels, worst of both directions": (IFGSM_LABEL, 4 / 255),
}
OVER = "Median over photographs"


def pooled(evaluation: Evaluation, labels: tuple[str, ...], attack: str) -> tuple[Array, Array]:
    """Gradient norms and achieved changes of the photographs that met an attack, by key, seed after seed."""
    norms: list[float] = []
    changes: list[float] = []
    for label in labels:
        gradients = records_of(evaluation, label, label, "none", "none", "end_to_end")
        seen = attacked(evaluation, label, attack, "worst_of_both")
        for key, before, after in zip(seen.keys, seen.before, seen.after, strict=True):
            norm = gradients[key].gradient_l1
            assert norm is not None
            norms.append(norm)
            changes.append(abs(after - before))
    return np.array(norms), np.array(changes)


def expected(norms: Array, changes: Array, eps: float) -> list[str]:
    estimate = eps * norms
    beyond = sum(value > 25 for value in estimate) / len(estimate)
    ratios = [change / value for change, value in zip(changes, estimate, strict=True) if value > 0]
    return [
        shown(float(np.median(estimate)), 2),
        shown(float(np.median(changes)), 2),
        shown(float(np.median(ratios)), 2) if ratios else "—",
        f"{100 * beyond:.0f}\u00a0%",
    ]


def made(evaluation: Evaluation) -> Table:
    table = first_order_table(study(evaluation, samples=2))
    assert table is not None
    return table


def words(table: Table, row: str, block: str) -> list[str]:
    return [cell.value for cell in row_of(table, row, block).cells]


def test_every_first_order_number_is_what_the_records_say(tables: tuple[Table, ...], made_up: Evaluation) -> None:
    table = named(tables, "first-order")
    assert [column.full for column in table.columns] == [
        f"{OVER}: eps × L1, points",
        f"{OVER}: achieved |change|, points",
        f"{OVER}: achieved / estimate",
        "beyond linear",
    ]
    assert [block.title for block in table.blocks] == list(BLOCKS)
    for block, (attack, eps) in BLOCKS.items():
        for row, labels in GROUPS.items():
            assert words(table, row, block) == expected(*pooled(made_up, labels, attack), eps), (row, block)


def test_shrink_has_the_norms_and_the_changes_of_the_baseline_squeezed_alike(
    tables: tuple[Table, ...], made_up: Evaluation
) -> None:
    table = named(tables, "first-order")
    parts = []
    for plain, held in zip(BASE, NT, strict=True):
        factor = clean(made_up, held).before.std() / clean(made_up, plain).before.std()
        parts.append([factor * values for values in pooled(made_up, (plain,), FGSM_LABEL)])
    norms, changes = (np.concatenate([part[place] for part in parts]) for place in (0, 1))
    assert words(table, "shrink", next(iter(BLOCKS))) == expected(norms, changes, 0.01)


def test_norms_belong_to_the_photographs_that_met_the_attack() -> None:
    """Only the last photographs met it, and it moves each by its own estimate: all ratios are 1 if keys agree."""
    cut = kept(compared(12), lambda record: record.attack != FGSM_LABEL or record.key >= "photo-0007")
    norms = {(r.scored_by, r.key): r.gradient_l1 or 0.0 for r in cut.records if r.attack == "none"}
    exact = changed(
        cut,
        lambda record: (
            replace(record, score=record.clean_score + 0.01 * norms[record.scored_by, record.key])
            if record.attack == FGSM_LABEL
            else record
        ),
    )
    table, block = made(exact), next(iter(BLOCKS))
    for row in (*GROUPS, "shrink"):
        found = words(table, row, block)
        assert found[0] == found[1] and found[2] == "1.00"
        if row != "shrink":
            assert found == expected(*pooled(exact, GROUPS[row], FGSM_LABEL), 0.01)
    assert "12 photographs of made-up (5 of them under fgsm(eps=0.01))" in table.notes[-1]


def test_photographs_without_a_gradient_stay_in_the_estimate_and_out_of_the_ratio() -> None:
    masked = changed(
        compared(12),
        lambda r: (
            replace(r, gradient_l1=0.0) if r.scored_by in NT and r.attack == "none" and r.key > "photo-0003" else r
        ),
    )
    table, block = made(masked), next(iter(BLOCKS))
    found = words(table, "+NT", block)
    assert found == expected(*pooled(masked, NT, FGSM_LABEL), 0.01)
    assert found[0] == "0.00" and found[2] != "—"
    gone = changed(masked, lambda r: replace(r, gradient_l1=0.0) if r.scored_by in NT and r.attack == "none" else r)
    assert words(made(gone), "+NT", block)[2:] == ["—", "0\u00a0%"]


def test_beyond_linear_is_a_quarter_of_the_models_own_scale() -> None:
    evaluation = compared(8)
    block = next(iter(BLOCKS))
    steep = changed(evaluation, lambda r: replace(r, gradient_l1=2501.0) if r.gradient_l1 is not None else r)
    assert words(made(steep), "base", block)[3] == "100\u00a0%"
    flat = changed(evaluation, lambda r: replace(r, gradient_l1=2500.0) if r.gradient_l1 is not None else r)
    assert words(made(flat), "base", block)[3] == "0\u00a0%"
    wide = {label: {**about, "scale": {"low": 0.0, "high": 200.0}} for label, about in steep.info["models"].items()}
    assert words(made(Evaluation(steep.records, {**steep.info, "models": wide})), "base", block)[3] == "0\u00a0%"


def test_a_model_whose_gradients_were_not_kept_has_no_row() -> None:
    evaluation = changed(compared(6), lambda r: replace(r, gradient_l1=None) if r.scored_by == "nt-2" else r)
    table = made(evaluation)
    assert [row.title for row in table.blocks[0].rows] == ["base", "shrink", "matched accuracy", "noise"]
    none = changed(evaluation, lambda record: replace(record, gradient_l1=None))
    assert first_order_table(study(none, samples=2)) is None


def test_the_notes_say_that_the_estimate_is_no_bound_and_explain_no_brackets(tables: tuple[Table, ...]) -> None:
    notes = named(tables, "first-order").notes
    assert notes[0] == (
        "The first-order estimate is eps times the L1 norm of the clean photograph's gradient: a straight line drawn "
        "on, not a bound and not a certificate. Beyond linear: photographs whose estimate exceeds a quarter of the "
        "score scale. Seeds are pooled."
    )
    assert "bootstrap" not in " ".join(notes)
