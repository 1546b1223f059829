"""An ensemble in an evaluation: what records say of its members, resumption, and what the checks make of it."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from robustiqa.attacks.apgd import APGD
from robustiqa.attacks.ensemble import UNMOVED, Ensemble
from robustiqa.core.model import QualityModel
from robustiqa.evaluation.diagnostics import diagnose
from robustiqa.evaluation.records import CLEAN, Record, RecordStore
from robustiqa.evaluation.run import evaluate
from robustiqa.evaluation.runs import group_runs
from tests.attack_options import TINY
from tests.attacks.test_ensemble import Backward
from tests.evaluation.made_up import COUNT, attacked, clean_records, evaluation
from tests.photos import tiny_dataset
from tests.toys import ConvModel, LinearModel

ATTACK = Ensemble(preset=TINY)
SIGNS = {"lower": -1, "raise": 1}
PHOTOS = tiny_dataset(train=0, validation=0, test=3, low=16, high=16)


def model(seed: int = 0) -> QualityModel:
    return ConvModel(seed).eval()


def test_records_name_the_member_that_won_and_what_each_reached(tmp_path: Path) -> None:
    found = evaluate(model(), PHOTOS, [ATTACK], folder=tmp_path)
    assert [record.member for record in found.records if record.attack == CLEAN] == [""] * 3
    records = [record for record in found.records if record.attack != CLEAN]
    assert len(records) == 6
    for record in records:
        sign = SIGNS[record.goal]
        assert list(record.member_scores) == [UNMOVED, "apgd", "apgd_rank", "square"]
        assert (
            max(sign * score for score in record.member_scores.values()) == sign * record.member_scores[record.member]
        )
        assert record.member_scores[record.member] == pytest.approx(record.score, rel=1e-6)
        assert record.member_scores[UNMOVED] == pytest.approx(record.clean_score, rel=1e-6)
    assert tuple(RecordStore(tmp_path / "records.jsonl")) == found.records
    assert found.info["learned"] == {ATTACK.label: ATTACK.provenance}


def test_both_directions_give_every_objective_and_each_is_the_worst_of_the_members() -> None:
    apgd = ATTACK.members["apgd"]
    found = evaluate(model(1), PHOTOS, [ATTACK, apgd])
    for objective in ("lower", "raise", "worst_of_both", "rank_split", "farther_end"):
        worst, alone = (found.attacked("model", attack, objective).change for attack in (ATTACK.label, apgd.label))
        assert (abs(worst) >= abs(alone) - 1e-5).all()


def test_a_run_that_was_stopped_goes_on_batch_by_batch(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    whole = evaluate(model(), PHOTOS, [ATTACK], folder=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        evaluate(model(), PHOTOS, [ATTACK], folder=tmp_path / "cut", progress=stop)
    kept = (tmp_path / "cut" / "records.jsonl").read_bytes()
    assert len(kept.splitlines()) == 2 * 3
    assert evaluate(model(), PHOTOS, [ATTACK], folder=tmp_path / "cut").records == whole.records
    assert (tmp_path / "cut" / "records.jsonl").read_bytes().startswith(kept)


def test_another_model_scores_the_image_and_says_nothing_of_members() -> None:
    found = evaluate({"one": model(1), "two": model(2)}, PHOTOS, [ATTACK], transfer=True)
    for record in found.records:
        if record.attack != CLEAN and record.scored_by != record.attacked_on:
            assert record.member and record.member_scores == {}


def test_lines_from_before_there_were_ensembles_are_read() -> None:
    record = clean_records()[0]
    values = asdict(record)
    del values["member"], values["member_scores"]
    assert Record.from_line(json.dumps(values)) == record


def test_a_masked_gradient_is_seen_inside_the_ensemble() -> None:
    masked = evaluate(Backward(LinearModel.random(16, size=1.0)).eval(), PHOTOS, [ATTACK])
    (flag,) = diagnose(masked).flags
    assert flag.name == "black_box_stronger"
    assert flag.attacks == (ATTACK.label,)
    assert flag.sentence == (
        f"square of {ATTACK.label}, without model's gradients, moves 100% of the photos farther than every white-box "
        "attack of its budget: the gradients mislead, or those attacks are too weak."
    )
    honest = diagnose(evaluate(LinearModel.random(16, size=1.0), PHOTOS, [ATTACK]))
    assert honest.flags == () and "black_box_stronger" in honest.made


LABEL = "ensemble(eps=4/255, preset=quick)"


def contested(square: float, apgd: float) -> list[Record]:
    """An ensemble that raises scores by the better of two members, in score points."""
    return [
        replace(
            record,
            member="square" if square > apgd else "apgd",
            member_scores={
                CLEAN: record.clean_score,
                "apgd": record.clean_score + apgd,
                "square": record.clean_score + square,
            },
        )
        for record in attacked(LABEL, max(square, apgd), queries=600, gradients=50)
    ]


def raised(*records: list[Record]) -> frozenset[str]:
    return diagnose(evaluation(clean_records(), *records)).raised


def test_only_a_lead_above_the_margin_raises_the_flag() -> None:
    assert "black_box_stronger" not in raised(contested(8.1, 8.0))
    assert "black_box_stronger" in raised(contested(8.3, 8.0))


def test_another_attack_without_gradients_is_held_against_the_members_that_follow_them() -> None:
    square = attacked("square(eps=4/255, queries=500)", 8.5, queries=500, gradients=0)
    assert "black_box_stronger" in raised(contested(8.0, 7.0), square)
    assert "black_box_stronger" not in raised(contested(8.0, 8.5), square)


def test_a_run_of_an_ensemble_splits_into_its_members_and_others_stay_one() -> None:
    both = evaluation(clean_records(), contested(3.0, 5.0), attacked(APGD().label, 4.0, gradients=50))
    ensemble, apgd = group_runs(both.records, "m")
    assert apgd.members == (apgd,)
    first, second = ensemble.members
    assert (first.member, first.white_box, first.title) == ("apgd", True, f"apgd of {LABEL}")
    assert (second.member, second.white_box) == ("square", False)
    assert set(first.gains.values()) == {5.0} and set(second.gains.values()) == {3.0}
    assert len(second.gains) == COUNT
