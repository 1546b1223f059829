"""Tables of attacks: every cell against a computation from the records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from robustiqa.evaluation.measures import Condition
from robustiqa.evaluation.records import Record
from robustiqa.evaluation.study import Study, study
from robustiqa.evaluation.views import Evaluation
from robustiqa.report.attack_findings import attack_sentences
from robustiqa.report.attack_report import attack_report
from robustiqa.report.attacks import attack_table, cost, objectives_table
from robustiqa.report.captions import QUICK
from robustiqa.report.tables import Row, Table
from tests.evaluation.made_up import COUNT, SPREAD_OUT, attacked, clean_records

WEAK, STRONG, NOISE = "ifgsm(eps=4/255, steps=10)", "ensemble(eps=4/255)", "random_sign(eps=4/255)"
ONLY = "target_attack(eps=4/255)"
OPINIONS = [10.0, 30, 20, 40, 50, 45, 60, 70, 80, 75, 90, 95]
WEAK_DOWN, WEAK_UP = [2.0 + place for place in range(COUNT)], [4.0] * COUNT
NOTES: dict[str, Any] = {
    "title": "Made-up attacks",
    "quick": False,
    "set": "whole",
    "place": 0,
    "shown": [NOISE, WEAK, STRONG, ONLY],
    "left_out": ["uap (no file 'uap' was given)"],
    "where": "cpu, 1 threads, batches of 1",
}


def costly(records: list[Record], **values: Any) -> list[Record]:
    return [replace(record, **values) for record in records]


def evaluation(more: float = 1.1, notes: Mapping[str, Any] | None = None, mos: bool = True) -> Evaluation:
    """One model: `STRONG` moves each photo by `more` times what `WEAK` does."""
    records = clean_records()
    for goal, moved in (("lower", WEAK_DOWN), ("raise", WEAK_UP)):
        seconds = 2.0 if goal == "lower" else 0.5
        records += costly(
            attacked(WEAK, lambda place, moved=moved: moved[place], goal=goal),  # type: ignore[misc]
            queries=10,
            gradients=11,
            ssim=0.9 if goal == "lower" else 0.96,
            lpips=0.25,
            seconds=seconds,
        )
        records += attacked(STRONG, lambda place, moved=moved: more * moved[place], goal=goal)  # type: ignore[misc]
        records += attacked(NOISE, 0.5, goal=goal, queries=0, gradients=0)
    records += attacked(ONLY, 6.0, goal="absolute_shift", queries=7, gradients=0)
    if mos:
        opinions = dict(zip([record.key for record in clean_records()], OPINIONS, strict=True))
        records = [replace(record, mos=opinions[record.key]) for record in records]
    described = {"dataset": {"name": "made-up", "n": COUNT}, "models": {"m": {}}, "info": dict(notes or NOTES)}
    return Evaluation(tuple(records), described)


def read(**options: Any) -> Study:
    return study(evaluation(**options), samples=50)


def row(table: Table | None, title: str) -> Row:
    assert table is not None
    (found,) = [row for block in table.blocks for row in block.rows if row.title == title]
    return found


def test_every_number_of_a_row_is_what_the_records_say() -> None:
    table = attack_table(read(), NOTES["shown"])
    assert table is not None
    assert [column.title for column in table.columns] == [
        *("Budget", "Sees", "Mean |change| ↓", "RMSE ↓", "SROCC before and after ↑", "SROCC with opinions ↑"),
        *("R robustness ↑", "SSIM", "LPIPS", "Queries", "Gradients", "Seconds"),
    ]
    assert [block.title for block in table.blocks] == ["attacked on m → scored by m"]
    assert [row.title for row in table.blocks[0].rows] == [NOISE, WEAK, STRONG]
    before = np.array(SPREAD_OUT)
    down, up = np.array(WEAK_DOWN), np.array(WEAK_UP)
    after = np.where(up > down, before + up, before - down)  # the larger change; lowering wins a draw
    room = np.maximum(before, 100 - before)
    expected = [
        np.abs(after - before).mean(),
        np.sqrt(((after - before) ** 2).mean()),
        stats.spearmanr(before, after).statistic,
        stats.spearmanr(after, OPINIONS).statistic,
        np.log10(room / np.abs(after - before)).mean(),
    ]
    cells = row(table, WEAK).cells
    assert [cell.text for cell in cells[:2]] == ["4/255", "gradients"]
    for cell, value in zip(cells[2:7], expected, strict=True):
        assert cell.estimate is not None
        assert cell.estimate.value == pytest.approx(value)
        assert cell.interval
    ssim = np.where(up > down, 0.96, 0.9).mean()
    assert [cell.text for cell in cells[7:]] == [f"{ssim:.3f}", "0.250", "20", "22", "2.5"]  # of both directions
    assert [cell.text for cell in row(table, NOISE).cells[:2]] == ["4/255", "nothing"]
    assert [cell.text for cell in row(table, NOISE).cells[8:]] == ["—", "0", "0", "—"]  # not measured


def test_other_objectives_stand_by_themselves_and_cost_one_direction() -> None:
    table = objectives_table(read(), NOTES["shown"])
    assert table is not None
    titles = [row.title for row in table.blocks[0].rows]
    ways = ("rank split", "farther end (the paper's)", "lower every score", "raise every score")
    assert titles == [
        *(f"{attack}, {way}" for attack in (NOISE, WEAK, STRONG) for way in ways),
        f"{ONLY}, absolute shift",
    ]
    lowered = row(table, f"{WEAK}, lower every score").cells
    assert [lowered[2].text, lowered[9].text, lowered[11].text] == [f"{np.mean(WEAK_DOWN):.2f}", "10", "2.0"]
    assert row(table, f"{ONLY}, absolute shift").cells[1].text == "scores"
    split = cost(read(), "m", Condition(WEAK, "rank_split"))
    assert (split.queries, split.gradients) == (10, 11)
    assert split.ssim == pytest.approx(0.93)


def test_notes_say_photographs_budget_rule_costs_and_what_was_left_out() -> None:
    table = attack_table(read(), NOTES["shown"])
    assert table is not None
    said = " ".join(table.notes).replace("\u00a0", " ")
    for part in (
        "n = 12 photographs of made-up",
        "8-bit images",
        "end to end",
        "95 % bootstrap",
        "Not run: uap (no file 'uap' was given).",
        "seconds are wall time (cpu, 1 threads, batches of 1)",
        "on m before any attack",
    ):
        assert part in said


def test_without_opinions_the_column_of_them_is_left_out() -> None:
    table = attack_table(read(mos=False), NOTES["shown"])
    assert table is not None
    assert "SROCC with opinions ↑" not in [column.title for column in table.columns]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (1.1, "moves scores 10.0 % more than ifgsm(eps=4/255, steps=10) [10.0, 10.0]; at least 3 % was asked for."),
        (1.02, "moves scores 2.0 % more than ifgsm(eps=4/255, steps=10) [2.0, 2.0]: it does not reach 3 %."),
        (0.9, "moves scores 10.0 % less than ifgsm(eps=4/255, steps=10) [−10.0, −10.0]: it does not reach 3 %."),
    ],
)
def test_a_claim_is_answered_with_its_number_whether_it_holds_or_not(more: float, said: str) -> None:
    claim = {"claim": {"attack": STRONG, "against": WEAK, "percent": 3}}
    told = [sentence.replace("\u00a0", " ") for sentence in attack_sentences(read(more=more, notes=NOTES | claim))]
    assert told[2] == f"On m {STRONG} {said}"
    by_others = "On no photograph of m does another white-box attack of its budget move a score farther."
    if more < 1:
        by_others = (
            "In 24 of 24 cases (a photograph and a direction) on m another white-box attack of its budget moves a "
            f"score farther: {WEAK}."
        )
    assert told[3] == by_others


def test_the_strongest_attack_is_named_with_its_change() -> None:
    told = list(attack_sentences(read()))
    moved = 1.1 * np.maximum(WEAK_DOWN, WEAK_UP).mean()
    assert told[0] == "Attacked: m, on 12 photographs of made-up."
    assert told[1].startswith(
        f"On m {STRONG} is the strongest attack: it moves a score, down or up, by {moved:.2f} points on average ["
    )


def test_a_quick_run_says_so_in_its_title_findings_and_tables() -> None:
    made = attack_report([evaluation(notes=NOTES | {"quick": True})], samples=20)
    assert made.title == "Made-up attacks (quick run, not a result)"
    assert QUICK in made.findings[0]
    assert all(any(QUICK in note for note in table.notes) for table in made.tables)
    assert QUICK not in attack_report([evaluation()], samples=20).to_markdown()


def test_each_set_of_photographs_has_tables_under_its_name() -> None:
    sets = [evaluation(), evaluation(notes=NOTES | {"set": "one crop", "place": 1})]
    made = attack_report(sets, samples=20)
    names = [table.name for table in made.tables]
    assert names == [f"{name}-{place}" for place in (1, 2) for name in ("attacks", "attack-objectives", "clean")]
    assert [table.title for table in made.tables][3].startswith("one crop: Every attack")
    assert made.findings[0] == "whole: Attacked: m, on 12 photographs of made-up."
    assert len(made.method) == len(set(made.method))
    assert "one crop: Attacked" in made.to_markdown()
    assert made.html()
