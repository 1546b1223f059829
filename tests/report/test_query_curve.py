"""The query curve: rivals at equal SSIM, paired differences, and the sentence that says who wins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from robustiqa.evaluation.records import Record
from robustiqa.evaluation.study import Study, study
from robustiqa.evaluation.views import Evaluation
from robustiqa.report.attack_report import attack_report
from robustiqa.report.query_curve import Curve, curve_figures, curve_sentences, curve_table, query_curve
from tests.evaluation.made_up import COUNT, SPREAD_OUT, attacked, clean_records
from tests.report.test_attack_tables import NOTES, OPINIONS

BUDGETS = (500, 2000)
QUERY = {budget: f"score_boundary(query_budget={budget})" for budget in BUDGETS}
SQUARE = {budget: f"square(eps=4/255, queries={budget})" for budget in BUDGETS}
SIGNS = "random_sign(eps=4/255)"
CURVE = {
    "name": "score_boundary",
    "objectives": ["rank_split"],
    "points": [
        {"queries": budget, "attack": QUERY[budget], "rivals": {"square": [SQUARE[budget]], "random_sign": [SIGNS]}}
        for budget in BUDGETS
    ],
}
MOVED = {QUERY[500]: 20.0, QUERY[2000]: 20.0, SQUARE[500]: 20.0, SQUARE[2000]: 60.0, SIGNS: 0.1}


def made(mos: bool = True, without: str = "", seed: int = 0) -> Study:
    draw = np.random.default_rng(seed)
    records = clean_records()
    for attack, size in MOVED.items():
        steps = size * draw.uniform(0.5, 1.0, COUNT)
        steps = draw.permutation(steps) if attack != SQUARE[500] else np.array([20.0 * 0.75] * COUNT)
        for goal in ("lower", "raise"):
            found = attacked(attack, lambda place, steps=steps: float(steps[place]), goal=goal, queries=7)  # type: ignore[misc]
            records += [replace(record, ssim=0.95) for record in found if attack != without]
    if mos:
        opinions = dict(zip([record.key for record in clean_records()], OPINIONS, strict=True))
        records = [replace(record, mos=opinions[record.key]) for record in records]
    info: dict[str, Any] = {"models": {"m": {}}, "info": {**NOTES, "shown": list(MOVED), "curve": CURVE}}
    return study(Evaluation(tuple(records), info), samples=200)


def curve(**options: Any) -> Curve:
    found = query_curve(made(**options))
    assert found is not None
    return found


def after(read: Study, attack: str) -> list[float]:
    """Scores when those above the clean median were lowered and the others raised."""
    records: dict[tuple[str, str], Record] = {
        (record.goal, record.key): record for record in read.evaluation.records if record.attack == attack
    }
    middle = float(np.median(SPREAD_OUT))
    keys = [record.key for record in clean_records()]
    return [
        records["lower" if score > middle else "raise", key].score for score, key in zip(SPREAD_OUT, keys, strict=True)
    ]


def test_every_budget_stands_over_its_rivals_at_equal_ssim() -> None:
    found = curve()
    table = curve_table(found)
    (block,) = table.blocks
    assert block.title == "attacked on m → scored by m, rank split"
    assert [row.title for row in block.rows] == [
        *("500 queries: score_boundary", "square at equal SSIM", "random_sign at equal SSIM"),
        *("2,000 queries: score_boundary", "square at equal SSIM", "random_sign at equal SSIM"),
    ]
    for row, attack in zip(block.rows, [QUERY[500], SQUARE[500], SIGNS, QUERY[2000], SQUARE[2000], SIGNS], strict=True):
        scores = after(found.study, attack)
        assert [cell.text for cell in row.cells[:2]] == ["0.9500", "7"]
        expected = [
            np.abs(np.array(scores) - SPREAD_OUT).mean(),
            stats.spearmanr(SPREAD_OUT, scores).statistic,
            stats.spearmanr(scores, OPINIONS).statistic,
        ]
        for cell, value in zip(row.cells[2:5], expected, strict=True):
            assert cell.estimate is not None
            assert cell.estimate.value == pytest.approx(value)
    ahead = block.rows[1].cells[5].estimate
    assert ahead is not None
    lead = block.rows[1].cells[4].estimate, block.rows[0].cells[4].estimate
    assert ahead.value == pytest.approx(lead[0].value - lead[1].value)  # type: ignore[union-attr]
    assert any("Mean SSIM of rivals is within 0.0000 of the attack's." in note for note in table.notes)


def test_sentences_say_how_far_ranks_fall_and_at_which_budgets_a_rival_is_beaten() -> None:
    found = curve()
    told = list(curve_sentences(found))
    clean = stats.spearmanr(SPREAD_OUT, OPINIONS).statistic
    falls = [clean - stats.spearmanr(after(found.study, QUERY[budget]), OPINIONS).statistic for budget in BUDGETS]
    assert told[0].startswith(f"On m score_boundary lowers the SROCC with opinions by {falls[0]:.3f} [")
    assert f"at 500, {falls[1]:.3f} [" in told[0]
    assert told[0].endswith("at 2,000 queries (rank split).")
    assert told[1] == (
        "Against square at equal SSIM on m (rank split) it does no better, as far as can be told, at 500 queries; "
        "worse at 2,000 queries."
    )
    assert told[2] == ("Against random_sign at equal SSIM on m (rank split) it does better at 500, 2,000 queries.")


def test_without_opinions_the_clean_order_is_what_is_lost() -> None:
    found = curve(mos=False)
    told = next(iter(curve_sentences(found)))
    fall = 1 - stats.spearmanr(SPREAD_OUT, after(found.study, QUERY[500])).statistic
    assert told.startswith(f"On m score_boundary lowers the SROCC before and after by {fall:.3f} [")


def test_rivals_that_can_not_be_matched_are_said_to_be_apart() -> None:
    read = made()
    records = tuple(replace(r, ssim=0.6) if r.attack == QUERY[500] else r for r in read.evaluation.records)
    found = query_curve(study(replace(read.evaluation, records=records), samples=20))
    assert found is not None
    assert any(
        "Some rivals could not be matched: mean SSIM is up to 0.350 apart." in n for n in curve_table(found).notes
    )


def test_a_curve_waits_for_all_its_records() -> None:
    assert query_curve(made(without=SQUARE[2000])) is None


def test_the_figure_shows_each_line_and_says_its_numbers() -> None:
    (figure,) = curve_figures(curve())
    for text in ("score_boundary", "square, equal SSIM", "random_sign, equal SSIM", "not attacked", "2,000"):
        assert text in figure.svg
    assert figure.name == "query-curve-1"
    assert figure.alt.startswith("SROCC with opinions at 500, 2,000 queries on m: score_boundary ")
    assert figure.svg == curve_figures(curve())[0].svg


def test_the_report_holds_table_sentences_and_figure_of_the_curve() -> None:
    report = attack_report([made().evaluation], samples=50)
    assert [table.name for table in report.tables][:2] == ["attacks-1", "query-curve-1"]
    assert any("lowers the SROCC with opinions" in sentence for sentence in report.findings)
    page = report.to_markdown({"query-curve-1": "images/curve.svg"})
    assert "](images/curve.svg)" in page
    assert "](images" not in report.to_markdown()
