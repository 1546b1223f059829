"""Every flag where it must be raised, and beside it, by as little as can be, where it must not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from robustiqa.evaluation.diagnostics import Diagnosis, diagnose
from robustiqa.evaluation.flags import CHECKS, Flag
from robustiqa.evaluation.records import Record
from robustiqa.evaluation.views import Evaluation
from tests.evaluation.made_up import COUNT, SPREAD_OUT, attacked, both, clean_records, evaluation
from tests.evaluation.synthetic import compared

FGSM, IFGSM, SQUARE = "fgsm(eps=4/255)", "ifgsm(eps=4/255, steps=10, step_size=1/255)", "square(eps=4/255, queries=500)"
LONG = "ifgsm(eps=4/255, steps=20, step_size=0.5/255)"


def found(*records: list[Record], pairs: tuple[tuple[str, str], ...] = ()) -> Diagnosis:
    return diagnose(evaluation(clean_records(), *records), pairs=pairs)


def only(diagnosis: Diagnosis) -> Flag:
    """The first flag; there may be more of its name, not of another."""
    flag = diagnosis.flags[0]
    assert diagnosis.raised == {flag.name}
    assert flag.name in diagnosis.made and flag.name not in diagnosis.not_made
    return flag


def test_an_evaluation_in_order_raises_nothing_and_says_what_was_not_looked_at() -> None:
    diagnosis = found(
        both(FGSM, 8.0),
        both("fgsm(eps=2/255)", 5.0, eps=2 / 255),
        both(IFGSM, 9.0, gradients=10),
        both(LONG, 9.1, gradients=20),
        both(SQUARE, 6.0, queries=500, gradients=0),
    )
    assert diagnosis.flags == () and diagnosis.raised == frozenset()
    assert diagnosis.not_made == ("random_output", "training_mode", "shrunk_scores")
    assert {*diagnosis.made, *diagnosis.not_made} == set(CHECKS)


def test_clean_scores_alone_leave_little_to_check() -> None:
    assert diagnose(evaluation(clean_records())).made == ("zero_gradient", "saturated_head")
    assert diagnose(evaluation(clean_records(gradient_l1=None))).made == ("saturated_head",)


def test_made_up_comparisons_of_other_tests_raise_nothing() -> None:
    diagnosis = diagnose(compared(24, transfer=True, variants=("end_to_end", "patchwise")))
    assert diagnosis.flags == ()
    assert diagnosis.made == ("random_output", "zero_gradient", "saturated_head", "budget_broken")


# random output ---------------------------------------------------------------------------------------------------


def transferred(apart: float) -> list[Record]:
    again = attacked(FGSM, 1.0, on="other", scores=[score + apart for score in SPREAD_OUT])
    return again[:1] + attacked(FGSM, 1.0, on="other")[1:]


def test_a_photo_whose_clean_score_differs_from_run_to_run_is_random_output() -> None:
    flag = only(found(transferred(0.011)))
    assert (flag.name, flag.model, flag.attacks) == ("random_output", "m", ())
    assert flag.sentence == (
        "m gives the same photo scores 0.011 points apart: average its randomness before attacking it, or every "
        "attack fails by chance."
    )
    assert found(transferred(0.009)).flags == ()


def test_what_probes_found_is_taken_in_once() -> None:
    records = [*clean_records(), *transferred(5.0)]
    probes = {"m": [["random_output", "said by the probe"]]}
    diagnosis = diagnose(Evaluation(tuple(records), {"info": {"probes": probes}}))
    assert [flag.sentence for flag in diagnosis.flags] == ["said by the probe"]
    assert {"random_output", "training_mode"} <= set(diagnosis.made)
    quiet = diagnose(evaluation(clean_records(), probes={"m": []}))
    assert quiet.flags == () and "training_mode" in quiet.made


def test_a_check_counts_as_made_only_if_every_model_gave_occasion() -> None:
    both = evaluation(clean_records(), clean_records("n"), attacked(FGSM, 1.0), probes={"m": []})
    assert diagnose(both).made == ("zero_gradient", "saturated_head")
    assert "training_mode" in diagnose(both, ["m"]).made


# gradients and heads ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", [0.0, math.inf, math.nan])
def test_one_photo_without_a_usable_gradient_is_flagged(norm: float) -> None:
    first, *rest = clean_records()
    flag = only(diagnose(evaluation([replace(first, gradient_l1=norm), *rest])))
    assert (flag.name, flag.sentence) == (
        "zero_gradient",
        "m has no usable gradient at 1 of 12 photos: white-box attacks stand still there.",
    )


def test_a_small_gradient_is_a_gradient() -> None:
    assert diagnose(evaluation(clean_records(gradient_l1=1e-6))).flags == ()


@pytest.mark.parametrize("end", [0.0, 100.0])
@pytest.mark.parametrize(("off", "raised"), [(0.05, True), (-0.05, True), (0.2, False), (-5.0, False)])
def test_scores_that_stick_to_an_end_of_the_scale_are_a_saturated_head(end: float, off: float, raised: bool) -> None:
    scores = [abs(end - off) if end else off, *SPREAD_OUT[1:]]
    diagnosis = diagnose(evaluation(clean_records(scores=scores)))
    assert diagnosis.raised == ({"saturated_head"} if raised else set())
    if raised:
        assert only(diagnosis).sentence.startswith("8% of m's clean scores stick to an end of its scale")


def test_one_score_in_fifty_at_an_end_is_a_good_photo_and_no_saturation() -> None:
    assert diagnose(evaluation(clean_records(scores=[100.0] + [40 + 0.1 * n for n in range(49)]))).flags == ()


# 8 bits and budgets ----------------------------------------------------------------------------------------------


def test_a_change_that_no_file_holds_is_flagged_beside_one_that_rounding_explains() -> None:
    flag = only(found(both(FGSM, 7.9, in_float=10.0)))
    assert (flag.name, flag.attacks) == ("lost_in_8bit", (FGSM,))
    assert flag.sentence == (
        "fgsm(eps=4/255) moves m by 10.00 points in float and 7.90 in 8 bits (lower): only the latter can be put into "
        "a file."
    )
    assert found(both(FGSM, 8.1, in_float=10.0)).flags == ()
    assert found(both("fgsm(eps=0.01)", 6.3, in_float=10.0, eps=0.01)).flags == ()  # 2 levels of 2.55
    assert found(both(FGSM, 0.0, in_float=0.19)).flags == ()  # .2 % of the scale is rounding
    one_way = attacked(FGSM, 7.9, in_float=10.0), attacked(FGSM, 8.1, in_float=10.0, goal="lower")
    assert ["(raise)" in flag.sentence for flag in found(*one_way).flags] == [True]


def test_a_budget_without_a_whole_level_says_so() -> None:
    flag = only(found(both("fgsm(eps=0.001)", 0.0, in_float=2.0, eps=0.001)))
    assert "in 8 bits (lower), for the budget holds no whole level:" in flag.sentence


def test_a_pixel_beyond_the_budget_is_named() -> None:
    run = both(FGSM, 8.0)
    run[3] = replace(run[3], linf=5.0)
    flag = only(found(run))
    assert (flag.name, flag.attacks) == ("budget_broken", (FGSM,))
    assert flag.sentence == (
        "fgsm(eps=4/255) changed a pixel of p03 by 5 levels where its budget holds 4: its numbers are not of this "
        "budget."
    )
    run[3] = replace(run[3], linf=math.nan)
    assert found(run).raised == {"budget_broken"}
    assert found(both(FGSM, 8.0, linf=3.0)).flags == ()


# one direction ---------------------------------------------------------------------------------------------------


def both_ways(scores: list[float]) -> Diagnosis:
    runs = [attacked(FGSM, 8.0, goal=goal, scores=scores) for goal in ("lower", "raise")]
    return diagnose(evaluation(clean_records(scores=scores), *runs))


def test_scores_on_one_side_of_mid_scale_make_farther_end_one_sided() -> None:
    flag = only(both_ways([60.0 + n for n in range(COUNT)]))
    assert (flag.name, flag.attacks, flag.objective) == ("one_sided", (FGSM,), "farther_end")
    assert flag.sentence == (
        "farther_end pushes 100% of the photos of m down: a common shift keeps their order, so ranks look safer than "
        "they are."
    )
    assert "100% of the photos of m up:" in only(both_ways([20.0 + n for n in range(COUNT)])).sentence
    assert both_ways([60.0 + n for n in range(10)] + [40.0, 41.0]).flags == ()  # 83 %
    assert both_ways([60.0 + n for n in range(9)]).flags == ()  # too few to tell


def test_an_attack_that_was_run_one_way_is_one_sided_and_one_that_scatters_is_not() -> None:
    alone = only(found(attacked(FGSM, lambda n: 8.0 if n else -1.0)))
    assert (alone.name, alone.objective) == ("one_sided", "raise")
    assert "raise pushes 92% of the photos of m up" in alone.sentence
    scattered = attacked(FGSM, lambda n: 8.0 if n % 2 else -8.0, goal="absolute_shift")
    assert found(scattered).flags == ()
    together = attacked(FGSM, 8.0, goal="absolute_shift")
    assert only(found(together)).objective == "absolute_shift"


# scores that lie closer together ---------------------------------------------------------------------------------


def compare(spread: float, change: float) -> Diagnosis:
    scores = [50 + spread * (score - 49.5) for score in SPREAD_OUT]
    runs = [
        attacked(FGSM, moved, model=label, goal=goal, scores=own)
        for goal in ("lower", "raise")
        for label, own, moved in (("m", SPREAD_OUT, 20.0), ("n", scores, change))
    ]
    records = evaluation(clean_records(), clean_records("n", scores), *runs)
    return diagnose(records, pairs=[("m", "n")])


@pytest.mark.parametrize(
    ("spread", "change", "raised"),
    [
        (0.1, 2.0, True),  # the model itself, compressed
        (0.5, 5.1, True),  # a little more than half of the ratio
        (0.5, 4.9, False),  # a little less
        (1.0, 5.0, False),
        (0.1, 18.5, False),  # moves as far as the baseline: no claim to explain
    ],
)
def test_a_smaller_change_that_is_mostly_a_narrower_spread_is_flagged(
    spread: float, change: float, raised: bool
) -> None:
    diagnosis = compare(spread, change)
    assert diagnosis.raised == ({"shrunk_scores"} if raised else set())
    assert "shrunk_scores" in diagnosis.made
    if raised:
        flag = only(diagnosis)
        assert flag.model == "n"
        assert flag.sentence.startswith(f"n moves by {change:.2f} points where m moves by 20.00, but its clean scores")
