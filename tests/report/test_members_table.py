"""The table of who won where: counted again by loops over the records."""

from __future__ import annotations

from dataclasses import replace

import pytest

from robustiqa.evaluation.records import CLEAN, Record
from robustiqa.evaluation.study import study
from robustiqa.evaluation.views import Evaluation
from robustiqa.report import report
from robustiqa.report.layouts import all_tables
from robustiqa.report.members import UNMOVED, members_table
from robustiqa.report.tables import Table
from tests.evaluation.synthetic import FGSM_LABEL, IFGSM_LABEL, compared
from tests.report.reading import cell_of, changed, named, titles

NAMES = ("none", "apgd", "square")
WAYS = {"lower": "lower every score", "raise": "raise every score"}
GROUPS = {"base": ("base-1", "base-2"), "+NT": ("nt-1", "nt-2")}


def contested(record: Record) -> Record:
    """One attack's records as an ensemble's; who won hangs on photo, model and goal."""
    if record.attack != IFGSM_LABEL or record.scored_by != record.attacked_on:
        return record
    place = sum(map(ord, record.key + record.scored_by + record.goal)) % 5  # the clean photo never for `raise`
    name = NAMES[max(min(place, 2), 1 if record.goal == "raise" else 0)]
    return replace(record, member=name, member_scores=dict.fromkeys(NAMES, record.score))


@pytest.fixture(scope="module")
def won() -> Evaluation:
    return changed(compared(24, transfer=True), contested)


@pytest.fixture(scope="module")
def table(won: Evaluation) -> Table:
    return named(all_tables(study(won, samples=2)), "members")


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("goal", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_photographs_are_counted_by_member_and_direction(
    group: str, goal: str, name: str, table: Table, won: Evaluation
) -> None:
    expected = sum(
        record.member == name and record.goal == goal and record.scored_by in GROUPS[group] for record in won.records
    )
    row = UNMOVED if name == CLEAN else name
    assert cell_of(table, row, f"{group}: {WAYS[goal]}").value == str(expected)


def test_the_clean_photograph_comes_last_and_the_attack_is_named(table: Table) -> None:
    assert titles(table) == ["apgd", "square", UNMOVED]
    (block,) = table.blocks
    assert block.title == f"{IFGSM_LABEL}, 4 whole 8-bit levels"
    assert FGSM_LABEL not in " ".join(table.notes)


def test_without_an_ensemble_there_is_no_table() -> None:
    assert members_table(study(compared(4), samples=2)) is None


def test_a_goal_that_a_model_was_not_attacked_with_is_a_dash(won: Evaluation) -> None:
    kept = Evaluation(
        tuple(r for r in won.records if not (r.attack == IFGSM_LABEL and r.goal == "raise" and "nt" in r.scored_by)),
        won.info,
    )
    fewer = members_table(study(kept, samples=2))
    assert fewer is not None
    assert cell_of(fewer, "apgd", f"+NT: {WAYS['raise']}").value == "—"
    assert cell_of(fewer, "apgd", f"base: {WAYS['raise']}").value != "—"


def test_the_page_shows_it(won: Evaluation) -> None:
    assert "Who won where" in report(won, samples=2).html()
