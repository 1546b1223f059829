"""The explorer's numbers: those of the records, chosen as the objectives say, and few enough for a small page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from robustiqa.evaluation.flags import CHECKS
from robustiqa.evaluation.records import Record
from robustiqa.evaluation.study import Study, study
from robustiqa.evaluation.views import Evaluation
from robustiqa.report import Report
from robustiqa.report import explorer as module
from robustiqa.report.diagnostics import ADVICE, checks
from robustiqa.report.explorer import Explorer, Trial, explorer
from tests.evaluation.synthetic import FGSM_LABEL, IFGSM_LABEL, MODELS, RANDOM_LABEL, synthetic
from tests.report.oracle import attacked
from tests.report.reading import changed, kept, told

ONE = {"only": (9.0, 0.8, 5.0)}


@pytest.fixture(scope="module")
def found(made: Report) -> Explorer:
    assert made.explorer is not None
    return made.explorer


def explored(evaluation: Evaluation) -> Explorer:
    made = explorer([study(evaluation, samples=2)])
    assert made is not None
    return made


def trial_of(found: Explorer, model: str, attack: str) -> Trial:
    (trial,) = [trial for trial in found.trials if (trial.model, trial.attack) == (model, attack)]
    return trial


def shown(found: Explorer, trial: Trial, objective: str) -> Mapping[str, tuple[float, float, float]]:
    """Before, after and change by photograph."""
    return {
        found.photos[photo]: (
            trial.before[place],
            trial.outcomes[goal].after[place],
            trial.outcomes[goal].change[place],
        )
        for place, (photo, goal) in enumerate(zip(trial.photos, trial.choices[objective], strict=True))
    }


def test_every_model_meets_every_attack_and_variant_the_findings_first(found: Explorer) -> None:
    attacks = [FGSM_LABEL, f"{FGSM_LABEL}, patchwise", IFGSM_LABEL, f"{IFGSM_LABEL}, patchwise"]
    attacks += [RANDOM_LABEL, f"{RANDOM_LABEL}, patchwise"]
    assert [(one.attack, one.model) for one in found.trials] == [(name, label) for name in attacks for label in MODELS]
    assert found.objectives == ["worst_of_both", "rank_split", "farther_end", "lower", "raise"]
    assert found.photos == tuple(f"photo-{place:04d}.jpg" for place in range(24)) and found.left_out == 0
    assert set(found.digits) == set(MODELS) and "farther_end" not in found.trials[6].choices  # crops decide apart


@pytest.mark.parametrize("objective", ["worst_of_both", "rank_split", "farther_end", "lower", "raise"])
def test_scores_are_those_of_the_records_that_the_objective_picks(
    objective: str, found: Explorer, made_up: Evaluation
) -> None:
    for label in MODELS:
        for attack in (FGSM_LABEL, IFGSM_LABEL, RANDOM_LABEL):
            seen = attacked(made_up, label, attack, objective)
            told = shown(found, trial_of(found, label, attack), objective)
            assert tuple(told) == seen.keys
            expected = np.stack([seen.before, seen.after, seen.after - seen.before], axis=1)
            np.testing.assert_allclose(list(told.values()), expected, atol=0.05 + 1e-9)
            assert all(round(value, 1) == value for values in told.values() for value in values)


def test_rows_begin_with_the_largest_change_and_read_as_tables_do(found: Explorer, made_up: Evaluation) -> None:
    rows = found.rows()
    changes = {}
    for label in MODELS:
        seen = attacked(made_up, label, FGSM_LABEL, "worst_of_both")
        for key, mos, before, after in zip(seen.keys, seen.mos, seen.before, seen.after, strict=True):
            sign = "+" if after > before else "\u2212"
            cells = (f"{sign}{abs(after - before):.1f}", f"{before:.1f}", f"{after:.1f}", "0.970", f"{mos:.1f}")
            changes[key, label] = tuple(cell.replace("-", "\u2212") for cell in cells)
    assert {row[:2]: row[2:] for row in rows} == changes
    sizes = [abs(float(row[2].replace("\u2212", "-"))) for row in rows]
    assert sizes == sorted(sizes, reverse=True) and len(rows) == 24 * len(MODELS)
    assert [title for _, title in found.columns] == [
        "Photograph",
        "Model",
        "Change",
        "Before",
        "After",
        "SSIM",
        "Opinion",
    ]


def test_photographs_without_opinions_or_distances_have_dashes_or_no_column() -> None:
    evaluation = synthetic(3, models=ONE, attacks=[FGSM_LABEL], mos=False)
    assert [name for name, _ in explored(evaluation).columns] == ["photo", "model", "change", "before", "after", "ssim"]
    nothing = explored(changed(evaluation, lambda r: replace(r, ssim=math.nan, l2=math.inf, linf=math.nan)))
    assert {row[-1] for row in nothing.rows()} == {"—"}
    (trial,) = nothing.document()["trials"]
    assert trial["outcomes"][0]["l2"] == trial["outcomes"][1]["linf"] == (None,) * 3
    assert "lpips" not in trial["outcomes"][0]
    measured = explored(changed(evaluation, lambda r: replace(r, lpips=0.12345 if r.key.endswith("1.jpg") else None)))
    assert measured.document()["trials"][0]["outcomes"][0]["lpips"] == (None, 0.123, None)


def test_digits_follow_the_scale_of_each_model() -> None:
    evaluation = synthetic(3, models={"wide": (9.0, 0.8, 5.0), "narrow": (9.0, 0.8, 5.0)}, attacks=[FGSM_LABEL])
    evaluation.info["models"]["narrow"]["scale"] = {"low": 0.0, "high": 1.0}
    found = explored(evaluation)
    assert found.digits == {"wide": 1, "narrow": 3}
    record = next(r for r in evaluation.records if (r.scored_by, r.attack) == ("narrow", FGSM_LABEL))
    assert trial_of(found, "narrow", FGSM_LABEL).before[0] == round(record.clean_score, 3)


def test_an_attack_that_met_fewer_photographs_keeps_to_them() -> None:
    evaluation = synthetic(5, models=ONE, attacks=[FGSM_LABEL, IFGSM_LABEL])
    few = kept(evaluation, lambda r: r.attack != IFGSM_LABEL or r.key.endswith(("1.jpg", "3.jpg")))
    found = explored(few)
    assert [trial.photos for trial in found.trials] == [(0, 1, 2, 3, 4), (1, 3)]
    assert [trial["photos"] for trial in found.document()["trials"]] == [None, (1, 3)]


def test_goals_that_met_other_photographs_stand_apart() -> None:
    evaluation = synthetic(4, models=ONE, attacks=[FGSM_LABEL], goals=("lower", "raise", "absolute_shift"))
    found = explored(kept(evaluation, lambda r: r.goal != "absolute_shift" or r.key.endswith("2.jpg")))
    assert [(trial.goals, trial.photos) for trial in found.trials] == [
        (("lower", "raise"), (0, 1, 2, 3)),
        (("absolute_shift",), (2,)),
    ]
    assert set(found.trials[0].choices) == {"worst_of_both", "rank_split", "farther_end", "lower", "raise"}
    assert found.trials[1].choices == {"absolute_shift": (0,)}


def test_a_choice_takes_a_digit_a_photograph_or_one_number() -> None:
    (trial,) = explored(synthetic(30, models=ONE, attacks=[FGSM_LABEL])).document()["trials"]
    assert (trial["choices"][3], trial["choices"][4]) == (0, 1)  # lower, raise
    assert set(trial["choices"][1]) == {"0", "1"} and len(trial["choices"][1]) == 30  # rank split


def test_the_page_stays_below_two_megabytes_by_leaving_out_what_moved_least(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluation = synthetic(40, variants=("end_to_end", "patchwise"))
    whole = explored(evaluation)
    outcomes = sum(len(trial.photos) * len(trial.outcomes) for trial in whole.trials)
    assert outcomes == 40 * 6 * 3 * 2 * 2
    size = len(json.dumps(whole.document(), separators=(",", ":")))
    assert size / outcomes * module.MOST_OUTCOMES < 2_000_000
    monkeypatch.setattr(module, "MOST_OUTCOMES", outcomes // 4)
    cut = explored(evaluation)
    moved: dict[str, float] = {}
    for record in evaluation.records:
        moved[record.key] = max(moved.get(record.key, 0), abs(record.score - record.clean_score))
    assert cut.photos == tuple(sorted(sorted(moved, key=lambda key: -moved[key])[:10])) and cut.left_out == 30
    rest = {key for key, _ in ((row[0], row) for row in cut.rows())}
    assert rest == set(cut.photos)
    whole_rank, cut_rank = (shown(one, one.trials[0], "rank_split") for one in (whole, cut))
    assert all(cut_rank[key] == whole_rank[key] for key in cut.photos)  # the median is of all photographs


def test_sets_of_a_plan_stand_under_their_names() -> None:
    first = study(synthetic(3, models=ONE, attacks=[FGSM_LABEL]), samples=2)
    second = study(synthetic(2, models=ONE, attacks=[FGSM_LABEL], seed=1), samples=2)
    found = explorer([first, second], ["whole", "crops"])
    assert found is not None
    assert found.attacks == [f"whole: {FGSM_LABEL}", f"crops: {FGSM_LABEL}"]
    assert found.photos == ("photo-0000.jpg", "photo-0001.jpg", "photo-0002.jpg", "photo-0000.jpg", "photo-0001.jpg")
    assert [trial.photos for trial in found.trials] == [(0, 1, 2), (3, 4)]
    assert found.opinions[:2] != found.opinions[3:]


def test_an_evaluation_without_attacks_has_no_explorer_and_transfers_are_no_part_of_one(read: Study) -> None:
    assert explorer([study(synthetic(3, models=ONE, attacks=()), samples=2)]) is None
    assert any(record.scored_by != record.attacked_on for record in read.evaluation.records)
    found = explorer([read])
    assert found is not None
    assert len(found.trials) == 6 * 3 * 2


def test_the_order_of_the_records_does_not_move_the_explorer(made_up: Evaluation, found: Explorer) -> None:
    def place(record: Record) -> tuple[int, int]:
        return list(MODELS).index(record.scored_by), -int(record.key[6:10])

    turned = explored(Evaluation(tuple(sorted(made_up.records, key=place)), made_up.info))
    assert json.dumps(turned.document()) == json.dumps(found.document())


def test_checks_are_listed_with_advice_and_those_with_flags_first(made_up: Evaluation) -> None:
    assert list(ADVICE) == list(CHECKS)
    probed = told(made_up, probes={"nt-1": [("training_mode", "dropout is on.")]})
    listed = checks([study(probed, samples=2)])
    assert listed[0].name == "training mode" and len(listed) == len(CHECKS)
    assert (listed[0].outcome, listed[0].sentences) == ("flag raised", ("dropout is on.",))
    outcomes = [check.outcome for check in listed]
    assert outcomes == sorted(outcomes, key=("flag raised", "no flag", "not made").index)
    diagnosis = study(probed, samples=2).diagnosis
    for check in listed[1:]:
        assert (check.outcome == "no flag") == (check.name.replace(" ", "_") in diagnosis.made)
    named = checks([study(made_up, samples=2), study(probed, samples=2)], ["whole", "crops"])
    assert named[0].sentences == ("crops: dropout is on.",)
