"""Rivals at equal SSIM: chosen by hand, in the mean, and by nothing but SSIM."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from robustiqa.core.errors import InputError
from robustiqa.evaluation.matching import at_equal_ssim, levels_at_equal_ssim, with_matched
from robustiqa.evaluation.records import Record
from robustiqa.evaluation.views import Evaluation
from tests.evaluation.made_up import attacked, clean_records

QUERY, SMALL, LARGE = "score_boundary(query_budget=500)", "square(eps=2/255)", "square(eps=8/255)"


def with_ssim(records: list[Record], ssim: list[float]) -> list[Record]:
    return [replace(record, ssim=value) for record, value in zip(records, ssim, strict=True)]


def evaluation(change: float = 3.0) -> Evaluation:
    """Twelve photos: the attack at .95 (the first untouched), the rival at .98 and .90, in both directions."""
    records = clean_records()
    wanted = [1.0] + [0.95] * 11
    for goal in ("lower", "raise"):
        records += with_ssim(attacked(QUERY, 5.0, goal=goal), wanted)
        records += with_ssim(attacked(SMALL, change, goal=goal), [0.98] * 12)
        records += with_ssim(attacked(LARGE, 4 * change, goal=goal), [0.90] * 12)
    return Evaluation(tuple(records), {})


def test_sizes_are_picked_so_that_what_is_left_over_goes_to_the_next_photo() -> None:
    offered = [[1.0] * 4, [0.98] * 4, [0.90] * 4]
    # aims: .95 -> .98, left -.03; .92 -> .90, left .02; .97 -> .98, left -.01; .94 -> .98 and .90 alike, the first
    assert levels_at_equal_ssim([0.95, 0.95, 0.95, 0.95], offered)[:3] == [1, 2, 1]
    assert levels_at_equal_ssim([1.0, 1.0], [part[:2] for part in offered]) == [0, 0]
    assert levels_at_equal_ssim([0.5], [[1.0], [0.9]]) == [1]  # the nearest there is


@pytest.mark.parametrize("seed", range(5))
def test_means_end_apart_by_half_a_step_divided_by_the_photos_at_most(seed: int) -> None:
    draw = np.random.default_rng(seed)
    offered = np.sort(draw.uniform(0.7, 1, (6, 40)), axis=0)[::-1]
    offered[0] = 1.0
    wanted = draw.uniform(offered[-1], offered[0])
    chosen = levels_at_equal_ssim(wanted.tolist(), offered.tolist())
    reached = offered[chosen, np.arange(40)]
    widest = float(np.max(offered[:-1] - offered[1:]))
    assert abs(float(reached.mean() - wanted.mean())) <= widest / 2 / 40 + 1e-12


def test_a_rival_is_made_of_its_own_records_in_the_direction_of_the_objective() -> None:
    found = at_equal_ssim(evaluation(), "m", QUERY, [SMALL, LARGE], "rank_split")
    assert {record.attack for record in found.records} == {SMALL, LARGE, "none"}
    assert (found.records[0].attack, found.records[0].ssim) == ("none", 1.0)  # as little as the attack
    for record in found.records[1:]:
        assert record.goal == ("lower" if record.clean_score > 49.5 else "raise")
    assert found.wanted == pytest.approx((11 * 0.95 + 1) / 12)
    assert abs(found.reached - found.wanted) <= 0.04 / 12 + 1e-12


def test_scores_have_no_say_in_it() -> None:
    picked = [
        [record.attack for record in at_equal_ssim(evaluation(change), "m", QUERY, [SMALL, LARGE], "lower").records]
        for change in (3.0, -40.0)
    ]
    assert picked[0] == picked[1]


def test_a_matched_rival_joins_the_evaluation_under_one_objective() -> None:
    before = evaluation()
    matched = at_equal_ssim(before, "m", QUERY, [SMALL, LARGE], "rank_split")
    after = with_matched(before, matched, "square at equal SSIM", "rank_split")
    shown = after.attacked("m", "square at equal SSIM", "rank_split")
    assert shown.after.tolist() == [record.score for record in matched.records]
    assert len(after.records) == len(before.records) + 12
    assert after.goals("m", "square at equal SSIM") == ["rank_split"]


def test_a_rival_on_other_photographs_is_refused() -> None:
    whole = evaluation()
    fewer = replace(whole, records=tuple(r for r in whole.records if not (r.attack == LARGE and r.key == "p03")))
    sentence = f"{QUERY} and {LARGE} were run on other photographs; finish the evaluation first."
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
        at_equal_ssim(fewer, "m", QUERY, [SMALL, LARGE], "lower")
