"""Runs that must stand in a known order: each check where the order is broken, and where it is just kept."""

from __future__ import annotations

from robustiqa.evaluation.diagnostics import Diagnosis, diagnose
from robustiqa.evaluation.flags import Flag
from robustiqa.evaluation.records import Record
from tests.evaluation.made_up import attacked, both, clean_records, evaluation

FGSM, IFGSM = "fgsm(eps=4/255)", "ifgsm(eps=4/255, steps=10, step_size=1/255)"
LONG = "ifgsm(eps=4/255, steps=20, step_size=0.5/255)"
SQUARE = "square(eps=4/255, queries=500)"


def found(*runs: list[Record]) -> Diagnosis:
    """What the records of a model in order, attacked so, raise."""
    return diagnose(evaluation(clean_records(), *runs))


def first(diagnosis: Diagnosis) -> Flag:
    assert len(diagnosis.raised) == 1
    return diagnosis.flags[0]


def test_a_black_box_attack_that_moves_a_photo_farther_means_masked_gradients() -> None:
    one_photo = attacked(SQUARE, lambda n: 8.3 if n == 4 else 2.0, queries=500, gradients=0)
    flag = first(found(both(FGSM, 8.0), one_photo, attacked(SQUARE, 2.0, goal="lower", queries=500, gradients=0)))
    assert (flag.name, flag.attacks) == ("black_box_stronger", (FGSM, SQUARE))
    assert flag.sentence == (
        "square(eps=4/255, queries=500), without m's gradients, moves 8% of the photos farther than every white-box "
        "attack of its budget: the gradients mislead, or those attacks are too weak."
    )
    ahead_by_rounding = both(SQUARE, 8.19, queries=500, gradients=0)
    assert found(both(FGSM, 8.0), ahead_by_rounding).flags == ()


def test_the_best_white_box_attack_counts_and_only_of_the_same_goal_and_a_budget_that_holds() -> None:
    black = both(SQUARE, 8.5, queries=500, gradients=0)
    assert found(both(FGSM, 8.0), both(IFGSM, 9.0, gradients=10), black).flags == ()
    small = found(both("fgsm(eps=2/255)", 4.0, eps=2 / 255), black)
    assert small.flags == () and "black_box_stronger" not in small.made
    larger = found(both("fgsm(eps=8/255)", 8.0, eps=8 / 255), black)
    assert larger.raised == {"black_box_stronger"}
    shift = attacked(FGSM, lambda n: 8.0 if n % 2 else -8.0, goal="absolute_shift")
    assert "black_box_stronger" not in found(shift, black).made


def test_random_signs_and_attacks_made_on_another_model_see_no_gradients_of_this_one() -> None:
    noise = both("random_sign(eps=4/255)", 9.0, queries=0, gradients=0)
    assert found(both(FGSM, 8.0), noise).raised == {"black_box_stronger"}
    moved = both(IFGSM, 9.0, on="other", gradients=10)
    assert found(both(FGSM, 8.0), moved).raised == {"black_box_stronger"}
    assert found(both(FGSM, 8.0), both(IFGSM, 7.0, on="other", gradients=10)).flags == ()


def test_a_transferred_attack_stands_for_no_white_box_one() -> None:
    assert "black_box_stronger" not in found(both(IFGSM, 1.0, on="other", gradients=10)).made


def test_steps_that_reach_less_than_one_step_are_flagged() -> None:
    flag = first(found(both(FGSM, 8.0), both(IFGSM, 7.7, gradients=10)))
    assert (flag.name, flag.attacks) == ("iterative_weaker", (IFGSM, FGSM))
    assert flag.sentence == (
        f"{IFGSM} moves m by 7.70 points and the single step of {FGSM} by 8.00 (lower): the path of the steps "
        "misleads, or they are too short."
    )
    assert found(both(FGSM, 8.0), both(IFGSM, 7.85, gradients=10)).flags == ()
    apart = found(both("fgsm(eps=8/255)", 8.0, eps=8 / 255), both(IFGSM, 5.0, gradients=10))
    assert "iterative_weaker" not in apart.made and apart.flags == ()


def test_one_iterative_attack_that_reaches_the_single_step_is_enough() -> None:
    weak = both("ifgsm(eps=4/255, steps=5, step_size=0.1/255)", 3.0, gradients=5)
    diagnosis = found(both(FGSM, 8.0), weak, both("apgd(eps=4/255)", 9.0, gradients=50))
    assert "iterative_weaker" in diagnosis.made and "iterative_weaker" not in diagnosis.raised


def test_a_larger_budget_that_reaches_less_is_flagged() -> None:
    small, large = "ifgsm(eps=2/255, steps=10, step_size=0.5/255)", IFGSM
    flag = first(found(both(small, 8.0, eps=2 / 255, gradients=10), both(large, 7.7, gradients=10)))
    assert (flag.name, flag.attacks) == ("larger_budget_weaker", (large, small))
    assert flag.sentence == (
        f"{large} moves m by 7.70 points and {small}, with less to spend, by 8.00 (lower): the attack fails where it "
        "could do more."
    )
    assert found(both(small, 8.0, eps=2 / 255, gradients=10), both(large, 7.9, gradients=10)).flags == ()
    other_steps = "ifgsm(eps=2/255, steps=5, step_size=1/255)"
    assert (
        "larger_budget_weaker"
        not in found(both(other_steps, 8.0, eps=2 / 255, gradients=5), both(large, 7.0, gradients=10)).made
    )


def test_random_signs_of_two_sizes_owe_no_order() -> None:
    small, large = (
        both(f"random_sign(eps={eps}/255)", change, eps=eps / 255, queries=0, gradients=0)
        for eps, change in ((2, 3.0), (4, 1.0))
    )
    assert found(small, large).flags == ()


def test_twice_the_steps_with_another_result_means_that_it_had_not_arrived() -> None:
    flag = first(found(both(IFGSM, 8.0, gradients=10), both(LONG, 8.2, gradients=20)))
    assert (flag.name, flag.attacks) == ("not_converged", (IFGSM, LONG))
    assert flag.sentence == (
        f"{IFGSM} moves m by 8.00 points and {LONG} by 8.20 (lower): the shorter one had not arrived, nor need the "
        "longer one have."
    )
    assert found(both(IFGSM, 8.0, gradients=10), both(LONG, 8.15, gradients=20)).flags == ()
    assert found(both(IFGSM, 8.2, gradients=10), both(LONG, 8.0, gradients=20)).raised == {"not_converged"}
    assert found(both(IFGSM, 0.01, gradients=10), both(LONG, 0.1, gradients=20)).flags == ()  # of no account


def test_less_than_twice_the_steps_says_nothing_and_queries_are_a_length_too() -> None:
    longer = "ifgsm(eps=4/255, steps=19, step_size=0.5/255)"
    assert "not_converged" not in found(both(IFGSM, 8.0, gradients=10), both(longer, 9.0, gradients=19)).made
    double = "square(eps=4/255, queries=1000)"
    queried = both(SQUARE, 5.0, queries=500, gradients=0), both(double, 7.0, queries=1000, gradients=0)
    assert found(*queried).raised == {"not_converged"}


def test_only_the_longest_run_must_have_converged() -> None:
    short = "ifgsm(eps=4/255, steps=5, step_size=2/255)"
    diagnosis = found(both(short, 5.0, gradients=5), both(IFGSM, 8.0, gradients=10), both(LONG, 8.1, gradients=20))
    assert diagnosis.flags == () and "not_converged" in diagnosis.made


def test_a_target_ranks_no_attack() -> None:
    runs = attacked(FGSM, 8.0, goal="target"), attacked(SQUARE, 20.0, goal="target", queries=500, gradients=0)
    assert diagnose(evaluation(clean_records(), *runs)).made == ("zero_gradient", "saturated_head")
