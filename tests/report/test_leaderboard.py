"""The leaderboard as people read it."""

from __future__ import annotations

from dataclasses import replace

from robustiqa.evaluation.cards import Card
from robustiqa.evaluation.cards_from_records import make_cards
from robustiqa.evaluation.leaderboard import Leaderboard, rank
from robustiqa.report.leaderboard import flag_sentences, leaderboard_markdown, leaderboard_page, leaderboard_table
from tests.evaluation.boards import SAMPLES, card
from tests.evaluation.synthetic import synthetic

WAVERS = {"probes": {"nt-1": [("random_output", "nt-1 wavers."), ("random_output", "nt-1 wavers again.")]}}


def board(*cards: Card) -> Leaderboard:
    return rank(cards or make_cards(synthetic(24, info=WAVERS), samples=SAMPLES))


def test_the_table_ranks_with_clean_accuracy_beside_and_flagged_entries_below() -> None:
    ranked = board()
    table = leaderboard_table(ranked)
    assert [column.full for column in table.columns] == [
        "Weights",
        "Worst case, linf 4/255: Change / clean spread ↓",
        "Worst case, linf 4/255: SROCC, rank split ↑",
        "Worst case, linf 0.01: Change / clean spread ↓",
        "Clean: SROCC ↑",
        "Clean: PLCC ↑",
        "Clean: RMSE ↓",
        "Flags",
    ]
    reliable, unreliable = table.blocks
    changes = {card.model: card.worst[1].change_over_spread.value or 0.0 for card in ranked.entries}
    best_first = sorted({*changes} - {"nt-1"}, key=lambda model: changes[model])
    assert best_first[0] == "nt-2"
    assert [row.title for row in reliable.rows] == [f"{place}. {model}" for place, model in enumerate(best_first, 1)]
    assert unreliable.title == "Unreliable"
    assert [row.title for row in unreliable.rows] == ["6. nt-1"]
    assert unreliable.rows[0].cells[-1].value == "unreliable: random output"
    assert all(row.cells[-1].value == "none" for row in reliable.rows)


def test_its_cells_are_the_cards_numbers_with_their_intervals() -> None:
    ranked = board()
    best, row = ranked.entries[0], leaderboard_table(ranked).blocks[0].rows[0]
    change = best.worst[1].change_over_spread
    estimate = row.cells[1].estimate
    assert estimate is not None
    assert (estimate.value, estimate.interval.low, estimate.interval.high) == (change.value, change.low, change.high)
    assert row.cells[1].interval.startswith("[")


def test_without_opinions_there_is_no_accuracy_and_ranks_are_against_before() -> None:
    titles = [column.full for column in leaderboard_table(board(card())).columns]
    assert not any(title.startswith("Clean") for title in titles)
    assert "Worst case, linf 4/255: SROCC with before, rank split ↑" in titles


def test_what_is_undefined_is_a_dash() -> None:
    assert leaderboard_table(board(card("flat", None))).blocks[0].rows[0].cells[1].value == "—"


def test_each_flag_is_said_once_an_entry() -> None:
    assert flag_sentences(board()) == ["nt-1 (00000000), random output: nt-1 wavers."]


def test_the_markdown_holds_the_ranking_the_flags_and_the_protocol() -> None:
    text = leaderboard_markdown(board())
    parts = ["# Leaderboard", "| 1. nt-2 |", "| **Unreliable** |", "| 6. nt-1 |", "n = 24 photographs of made-up"]
    places = [text.index(part) for part in [*parts, "## Flags", "- nt-1 (00000000)", "## Attacks", "- fgsm("]]
    assert places == sorted(places)
    assert text == leaderboard_markdown(board())
    assert "## Flags" not in leaderboard_markdown(board(card()))


def test_fewer_attacked_photographs_are_said() -> None:
    worst = replace(card().worst[0], photos=5)
    assert "12 photographs of made-up, 5 of them attacked at the ranking" in leaderboard_markdown(
        board(card(worst=(worst,)))
    )


def test_the_page_needs_nothing_else_and_says_the_same() -> None:
    page = leaderboard_page(board()).html()
    assert "http:" not in page and "https:" not in page and "<script" not in page
    for part in (
        "nt-2 moves least at linf 4/255: ",
        "1. nt-2",
        "unreliable: random output",
        "6 entries, 24 photographs",
    ):
        assert part in page


def test_the_page_praises_no_flagged_entry() -> None:
    page = leaderboard_page(board(card("m", 0.1, ["zero_gradient"]))).html()
    assert "No entry without flags has a worst case to rank by." in page
    assert "moves least" not in page
