"""Cards: the worst case against closed forms and an independent oracle, the same bytes again, what is refused."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from robustiqa.core.errors import InputError, SpecError, WorkFailedError
from robustiqa.evaluation.cards import Card, Reading, read_card
from robustiqa.evaluation.cards_from_records import make_cards
from robustiqa.evaluation.exported import export, load_exported
from robustiqa.evaluation.records import Record
from robustiqa.evaluation.views import Evaluation
from tests.evaluation.boards import EPS, SAMPLES, card, told
from tests.evaluation.made_up import COUNT, attacked, both, clean_records
from tests.evaluation.synthetic import FGSM_LABEL, IFGSM_LABEL, RANDOM_LABEL, synthetic

SPREAD = 5 * math.sqrt((COUNT**2 - 1) / 12)  # of made-up clean scores, which are 5 points apart
IFGSM, FGSM = "ifgsm(eps=4/255)", "fgsm(eps=4/255)"


def only(evaluation: Evaluation) -> Card:
    (made,) = make_cards(evaluation, samples=SAMPLES)
    return made


def test_the_worst_case_takes_of_each_photo_the_attack_that_moved_it_farthest() -> None:
    uneven = both(FGSM, lambda place: 4.0 if place % 2 else 0.0)
    made = only(told(clean_records(), both(IFGSM, 2.0), uneven))
    (worst,) = made.worst
    assert worst.attacks == (FGSM, IFGSM)
    assert worst.change_over_spread.value == pytest.approx(math.sqrt((16 + 4) / 2) / SPREAD, rel=1e-5)
    assert (worst.norm, worst.photos) == ("linf", COUNT)
    assert worst.eps == pytest.approx(EPS, rel=1e-5)


def test_the_worst_case_takes_of_each_photo_the_direction_that_moved_it_farthest() -> None:
    down = attacked(IFGSM, lambda place: 6.0 if place % 2 else 1.0, goal="lower")
    up = attacked(IFGSM, 2.0)
    made = only(told(clean_records(), down, up))
    assert made.worst[0].change_over_spread.value == pytest.approx(math.sqrt((36 + 4) / 2) / SPREAD, rel=1e-5)


def test_rank_split_turns_the_order_round_where_the_attacks_reach_far_enough() -> None:
    made = only(told(clean_records(), both(IFGSM, 100.0)))
    halves = list(range(6, 12)), list(range(6))  # the lower half comes to lie above the upper one
    after = [place for half in halves for place in half]
    assert made.worst[0].srocc_before.value == pytest.approx(spearmanr(range(12), after).statistic, rel=1e-5)
    assert made.worst[0].srocc_mos == made.clean.srocc == Reading(None, None, None)  # there are no opinions


def test_every_number_is_what_numpy_and_scipy_make_of_the_records() -> None:
    evaluation = synthetic(24)
    for made in make_cards(evaluation, samples=SAMPLES):
        own = [record for record in evaluation.records if record.scored_by == made.model]
        clean = [record for record in own if record.attack == "none"]
        before = [record.clean_score for record in clean]
        mos = [record.mos for record in clean if record.mos is not None]
        assert made.clean.srocc.value == pytest.approx(spearmanr(before, mos).statistic, rel=1e-5)
        assert made.clean.plcc.value == pytest.approx(pearsonr(before, mos).statistic, rel=1e-5)
        assert made.clean.rmse.value == pytest.approx(np.sqrt(np.mean(np.subtract(before, mos) ** 2)), rel=1e-5)
        assert [worst.attacks for worst in made.worst] == [(FGSM_LABEL, RANDOM_LABEL), (IFGSM_LABEL,)]
        for worst in made.worst:
            moved, ranked = [], []
            for photo in clean:
                found = [record.score for record in own if record.key == photo.key and record.attack in worst.attacks]
                moved.append(max((score - photo.clean_score for score in found), key=abs))
                ranked.append(min(found) if photo.clean_score > np.median(before) else max(found))
            expected = np.sqrt(np.mean(np.square(moved))) / np.std(before)
            assert worst.change_over_spread.value == pytest.approx(expected, rel=1e-5)
            assert worst.srocc_before.value == pytest.approx(spearmanr(ranked, before).statistic, rel=1e-5)
            assert worst.srocc_mos.value == pytest.approx(spearmanr(ranked, mos).statistic, rel=1e-5)
            low, high = worst.change_over_spread.low, worst.change_over_spread.high
            assert low is not None and high is not None and low < expected < high


def test_a_card_rebuilds_byte_for_byte_from_its_records_in_any_order(tmp_path: Path) -> None:
    evaluation = synthetic(24, transfer=True)
    first = [made.to_json() for made in make_cards(evaluation, samples=SAMPLES)]
    export(evaluation, tmp_path)
    turned = replace(evaluation, records=evaluation.records[::-1])
    for again in (evaluation, turned, load_exported(tmp_path)):
        assert [made.to_json() for made in make_cards(again, samples=SAMPLES)] == first


def test_another_score_changes_the_card() -> None:
    records = [*clean_records(), *both(IFGSM, 2.0)]
    first = only(told(records))
    last = replace(records[-1], score=records[-1].score + 1)
    assert only(told([*records[:-1], last])).records != first.records


def test_a_card_is_read_as_it_was_written(tmp_path: Path) -> None:
    evaluation = synthetic(24, mos=False, info={"probes": {"nt-1": [("random_output", "It wavers – twice.")]}})
    for made in make_cards(evaluation, samples=SAMPLES):
        path = made.write(tmp_path)
        assert read_card(path) == made
        assert path.read_text(encoding="utf-8") == made.to_json()
        assert list(json.loads(made.to_json())) == sorted(vars(made))
    assert len(list(tmp_path.iterdir())) == 6


def test_names_that_files_can_not_hold_or_tell_apart_give_files_of_their_own() -> None:
    made = card()
    names = [replace(made, model=name).file_name for name in ("a/b", "a b", "..", "A b")]
    assert len({name.lower() for name in names}) == 4
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*\.json", name) for name in names)


def test_transferred_and_patchwise_images_are_no_part_of_the_worst_case() -> None:
    own = [*clean_records(), *both(IFGSM, 2.0)]
    foreign = both(IFGSM, 50.0, on="other")
    patches = both(IFGSM, 60.0, variant="patchwise")
    made = only(told(own, foreign, patches))
    assert made.worst == only(told(own)).worst
    assert made.protocol == only(told(own)).protocol


def test_an_attack_in_one_direction_is_named_and_not_counted() -> None:
    made = only(told(clean_records(), both(IFGSM, 2.0), attacked(FGSM, 30.0)))
    assert made.worst[0].attacks == (IFGSM,)
    assert [(run.attack, run.goals) for run in made.protocol.attacks] == [
        (FGSM, ("raise",)),
        (IFGSM, ("lower", "raise")),
    ]


def test_where_attacks_met_other_photos_those_that_all_met_count() -> None:
    few = [record for record in both(FGSM, 9.0) if record.key < "p06"]
    made = only(told(clean_records(), both(IFGSM, 2.0), few))
    clean = [record.clean_score for record in clean_records()][:6]
    assert (made.worst[0].photos, made.protocol.photos) == (6, COUNT)
    assert made.worst[0].change_over_spread.value == pytest.approx(9 / np.std(clean), rel=1e-5)
    assert [run.photos for run in made.protocol.attacks] == [6, COUNT]


def test_budgets_of_another_norm_stand_apart() -> None:
    made = only(told(clean_records(), both("apgd(norm=l2, eps=3)", 5.0, eps=3.0, linf=1.0), both(IFGSM, 2.0)))
    assert [(worst.norm, worst.eps) for worst in made.worst] == [("l2", 3.0), ("linf", pytest.approx(EPS, rel=1e-5))]


def test_flags_are_those_of_the_model_that_concern_its_numbers() -> None:
    high = [60.0 + place for place in range(COUNT)]  # farther_end would push all of them down
    info: dict[str, Any] = {
        "probes": {"m": [("random_output", "m wavers.")]},
        "comparison": {"base": ["m"], "defended": ["n"]},
    }
    narrow = [score / 10 for score in high]
    made = make_cards(
        told(
            clean_records("m", high),
            both(IFGSM, 10.0, scores=high, linf=9.0),
            clean_records("n", narrow),
            both(IFGSM, 1.0, model="n", scores=narrow),
            models=("m", "n"),
            **info,
        ),
        samples=SAMPLES,
    )
    assert [entry.unreliable for entry in made] == [("random_output", "budget_broken"), ()]
    assert made[0].flags[0].sentence == "m wavers."
    assert "budget_broken" in made[0].checks and "not_converged" not in made[0].checks


def test_what_is_undefined_is_null() -> None:
    flat = [50.0] * COUNT
    made = only(told(clean_records("m", flat), both(IFGSM, 1.0, scores=flat)))
    assert made.worst[0].change_over_spread == Reading(None, None, None)
    assert json.loads(made.to_json())["worst"][0]["change_over_spread"] == {"value": None, "low": None, "high": None}


def test_a_card_says_what_it_is_of() -> None:
    made = only(told(clean_records(), both(IFGSM, 2.0)))
    assert (made.model, made.kind, made.weights, made.scoring) == ("m", "HyperIQA", "m-weights", "whole")
    assert (made.version, made.schema_version, made.samples) == ("1.2.3", 1, SAMPLES)
    assert (made.protocol.dataset, made.protocol.photos, made.protocol.precision) == ("made-up", COUNT, "8-bit")
    assert len(made.protocol.split) == len(made.records) == 16
    fitted = told(clean_records(), both(IFGSM, 2.0))
    fitted.info["learned"] = {IFGSM: {"sha256": "1" * 64}}
    assert made.protocol.attacks[0].made_from == ""
    assert only(fitted).protocol.attacks[0].made_from != ""


def broken_off() -> Evaluation:
    return told(clean_records()[:-1], [record for record in both(IFGSM, 2.0) if record.key != "p11"])


def unnamed() -> Evaluation:
    return told(clean_records(), both(IFGSM, 2.0), models=())


def without_fingerprint() -> Evaluation:
    evaluation = told(clean_records(), both(IFGSM, 2.0))
    return replace(evaluation, info={**evaluation.info, "dataset": {}})


def nothing_in_common() -> Evaluation:
    halves = [
        [r for r in both(name, 2.0) if (r.key < "p06") == first] for name, first in ((IFGSM, True), (FGSM, False))
    ]
    return told(clean_records(), *halves)


@pytest.mark.parametrize(
    ("evaluation", "sentence"),
    [
        (lambda: told(), "the evaluation holds no records; run it first."),
        (broken_off, "'m' scored 11 of 12 photographs; finish the evaluation first."),
        (
            lambda: told(clean_records(), attacked(IFGSM, 2.0), attacked(IFGSM, 2.0, goal="lower")[1:]),
            f"{IFGSM} on 'm' was run for other photos in each direction; finish the evaluation.",
        ),
        (unnamed, "the run does not say which weights 'm' has; evaluate it again."),
        (without_fingerprint, "the run does not say which photographs it is of; evaluate again."),
        (nothing_in_common, f"{FGSM} and {IFGSM} on 'm' met no photograph in common; evaluate them again."),
        *(
            (
                lambda runs=runs: told(clean_records(), runs),
                "no attack but random signs was run on 'm' in both directions; evaluate with `--objective "
                "worst_of_both`.",
            )
            for runs in ([], attacked(IFGSM, 2.0), both("random_sign(eps=4/255)", 2.0, queries=0, gradients=0))
        ),
    ],
)
def test_records_that_make_no_entry_are_refused(evaluation: Callable[[], Evaluation], sentence: str) -> None:
    with pytest.raises(InputError) as error:
        make_cards(evaluation())
    assert str(error.value) == sentence


def test_a_score_that_is_no_number_is_refused_though_another_attack_moved_the_photo_farther() -> None:
    def broken(record: Record) -> Record:
        return replace(record, score=math.nan) if record.key == "p03" else record

    with pytest.raises(WorkFailedError, match="gives 'p03' a score that is not finite"):
        only(told(clean_records(), both(IFGSM, 9.0), map(broken, both(FGSM, 1.0))))


def changed(**values: Any) -> Callable[[str], str]:
    return lambda text: json.dumps({**json.loads(text), **values})


def lacking(text: str) -> str:
    values = json.loads(text)
    del values["worst"][0]["eps"]
    return json.dumps(values)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda text: text[: len(text) // 2], "it is not JSON"),
        (lambda text: "[]", "the card must hold checks, clean, "),
        (lambda text: "{}", "the card must hold checks, clean, "),
        (changed(extra=1), "the card must hold checks, clean, "),
        (lacking, "worst must hold attacks, change_over_spread, eps, "),
        (changed(model=3), "model must be str, got 3"),
        (changed(samples=True), "samples must be int, got True"),
        (changed(flags="none"), "flags must be a list"),
        (lambda text: re.sub(r'"value": [\d.]+', '"value": NaN', text, count=1), "value must be float, got nan"),
        (changed(schema_version="1"), "schema_version must be int, got '1'"),
    ],
)
def test_a_damaged_card_is_one_sentence_that_names_it(
    damage: Callable[[str], str], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "card.json"
    path.write_text(damage(card().to_json()))
    with pytest.raises(InputError) as error:
        read_card(path)
    said = str(error.value)
    assert said.startswith(f"{path} is damaged or no card ({reason}")
    assert said.endswith("); make it anew from its records.")


def test_a_card_of_another_schema_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_text(changed(schema_version=2)(card().to_json()))
    with pytest.raises(SpecError) as error:
        read_card(path)
    assert str(error.value) == (
        f"{path} is a card of schema version 2, and this version reads 1; use the version that wrote it."
    )


def test_a_missing_card_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^there is no card .*nowhere\.json\.$"):
        read_card(tmp_path / "nowhere.json")
