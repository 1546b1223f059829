"""Leaderboards: the order, one entry a model, and protocols that can't be mixed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from robustiqa.core.errors import InputError, SpecError
from robustiqa.evaluation.cards import Card, WorstCase
from robustiqa.evaluation.cards_from_records import make_cards
from robustiqa.evaluation.leaderboard import budget_name, rank, without_partial, worst_at
from tests.evaluation.boards import EPS, SAMPLES, card, told
from tests.evaluation.made_up import both, clean_records

IFGSM, FGSM = "ifgsm(eps=4/255)", "fgsm(eps=0.01)"


def order(*cards: Card, **options: Any) -> list[str]:
    return [entry.model for entry in rank(cards, **options).entries]


def test_the_smallest_change_comes_first_in_whichever_order_they_are_given() -> None:
    entries = [card("c", 3.0), card("a", 0.5), card("b", 1.0)]
    assert order(*entries) == order(*entries[::-1]) == ["a", "b", "c"]
    assert order(card("b", 1.0), card("a", 1.0)) == ["a", "b"]


def test_flagged_entries_come_last_however_good_their_numbers() -> None:
    assert order(card("flagged", 0.1, ["zero_gradient"]), card("b", 2.0), card("a", 1.0)) == ["a", "b", "flagged"]


def test_a_model_without_spread_comes_after_those_with_one() -> None:
    assert order(card("flat", None), card("a", 9.0), card("x", 0.1, ["one_sided"])) == ["a", "flat", "x"]


def test_the_same_model_and_weights_are_one_entry_and_the_worse_card_counts() -> None:
    (kept,) = rank([card("m", 1.0), card("m", 2.0), card("m", 1.5)]).entries
    assert kept.worst[0].change_over_spread.value == 2.0
    (kept,) = rank([card("m", 0.5, ["random_output"]), card("m", 2.0)]).entries
    assert kept.unreliable == ("random_output",)
    assert order(card("m", 1.0), card("m", 2.0, weights="others")) == ["m", "m"]


def test_no_entries_make_no_leaderboard() -> None:
    with pytest.raises(InputError, match=r"^a leaderboard needs at least one entry, got none\.$"):
        rank([])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"fingerprint": "f" * 16, "dataset": "other"},
            f"the dataset is made-up 0123456789abcdef and other {'f' * 16}",
        ),
        ({"split": "f" * 16}, f"and {'f' * 16}"),
        ({"photos": 10}, "the number of photographs is 12 and 10"),
        ({"precision": "float"}, "the 8-bit rule is 8-bit and float"),
    ],
)
def test_entries_of_other_photographs_or_rules_are_refused_by_name(change: dict[str, Any], said: str) -> None:
    mine, theirs = card("mine"), card("theirs")
    theirs = replace(theirs, protocol=replace(theirs.protocol, **change))
    with pytest.raises(SpecError) as error:
        rank([mine, card("third"), theirs])
    sentence = str(error.value)
    opening = "mine (mine-wei) and theirs (theirs-w) are of different protocols and can't be ranked together: "
    assert sentence.startswith(opening)
    assert sentence.endswith(f"{said}.")
    assert sentence.count(";") == 0
    assert error.value.exit_code == 2


def test_every_difference_is_named() -> None:
    mine, theirs = card("mine"), card("theirs")
    theirs = replace(theirs, protocol=replace(theirs.protocol, fingerprint="f" * 16, photos=10))
    with pytest.raises(SpecError, match=r"the dataset is .*; the number of photographs is 12 and 10\.$"):
        rank([mine, theirs])


def test_another_name_of_the_same_photographs_is_no_other_protocol() -> None:
    theirs = card("theirs")
    renamed = replace(theirs, protocol=replace(theirs.protocol, dataset="elsewhere"))
    assert order(card("mine"), renamed) == ["mine", "theirs"]


def made(*runs: Any, **options: Any) -> Card:
    (found,) = make_cards(told(clean_records(), *runs, **options), samples=SAMPLES)
    return found


def test_other_budgets_and_attacks_are_refused_by_name() -> None:
    first = made(both(IFGSM, 2.0))
    with pytest.raises(SpecError) as error:
        rank([first, made(both("ifgsm(eps=8/255)", 2.0, eps=8 / 255))])
    assert str(error.value).endswith(
        "the budgets are linf 4/255 and linf 8/255; only the first met ifgsm(eps=4/255), only the second "
        "ifgsm(eps=8/255)."
    )
    with pytest.raises(SpecError) as error:
        rank([first, made(both(IFGSM, 2.0), both("fgsm(eps=4/255)", 2.0))])
    assert str(error.value).endswith("ranked together: only the first met none, only the second fgsm(eps=4/255).")


def test_the_same_attack_on_fewer_photographs_or_made_of_others_is_refused() -> None:
    few = [record for record in both(IFGSM, 2.0) if record.key < "p06"]
    with pytest.raises(SpecError) as error:
        rank([made(both(IFGSM, 2.0)), made(few)])
    assert str(error.value).endswith(
        "ifgsm(eps=4/255) was run as lower and raise on 12 photographs at linf 4/255 (4 levels) and as lower and raise "
        "on 6 photographs at linf 4/255 (4 levels)."
    )
    fitted = told(clean_records(), both(IFGSM, 2.0))
    fitted.info["learned"] = {IFGSM: {"sha256": "1" * 64}}
    with pytest.raises(SpecError, match=r"\(4 levels\), made from [0-9a-f]{16}.$"):
        rank([made(both(IFGSM, 2.0)), *make_cards(fitted, samples=SAMPLES)])


def two_budgets(model: str, small: float, large: float) -> Card:
    runs = both(FGSM, small, model=model, eps=0.01), both(IFGSM, large, model=model)
    (found,) = make_cards(told(clean_records(model), *runs, models=(model,)), samples=SAMPLES)
    return found


def test_the_largest_budget_ranks_unless_another_is_asked_for() -> None:
    entries = two_budgets("a", 1.0, 9.0), two_budgets("b", 2.0, 8.0)
    board = rank(entries)
    assert [entry.model for entry in board.entries] == ["b", "a"]
    assert [budget_name(*budget) for budget in board.budgets] == ["linf 4/255", "linf 0.01"]
    assert order(*entries, eps=0.01) == ["a", "b"]
    assert order(*entries, eps=EPS) == ["b", "a"]


def test_l_infinity_ranks_before_longer_l2_budgets() -> None:
    worst = card().worst[0]
    both_norms: tuple[WorstCase, ...] = (replace(worst, norm="l2", eps=3.0), worst)
    assert rank([card(worst=both_norms)]).norm == "linf"
    assert rank([card(worst=both_norms)], eps=3).norm == "l2"


def test_a_budget_that_was_not_run_is_refused() -> None:
    with pytest.raises(InputError) as error:
        rank([two_budgets("a", 1.0, 9.0)], eps=0.5)
    assert str(error.value) == "the entries have no worst case at eps 0.5; they have: linf 0.01, linf 4/255."


def test_a_card_whose_worst_case_is_gone_is_refused() -> None:
    with pytest.raises(SpecError, match=r"^the card of m .* has no worst case at linf 8/255; make it anew\.$"):
        worst_at(card(), "linf", 8 / 255)


def test_models_that_met_only_some_of_a_runs_attacks_are_told_apart() -> None:
    full, part = two_budgets("a", 1.0, 9.0), card("part")
    odd = made(both("square(eps=4/255)", 2.0))
    assert without_partial([part, full]) == ((full,), (part,))
    assert without_partial([odd, full]) == ((odd, full), ())  # not a part of it: refused when ranked
    assert without_partial([]) == ((), ())


@pytest.mark.parametrize(
    ("norm", "eps", "name"),
    [("linf", 0.0156863, "linf 4/255"), ("linf", 0.01, "linf 0.01"), ("l2", 3.0, "l2 3"), ("linf", 0.0, "linf 0")],
)
def test_budgets_are_written_as_people_write_them(norm: str, eps: float, name: str) -> None:
    assert budget_name(norm, eps) == name
