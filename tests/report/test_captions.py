"""What tables and figures say about themselves, whole sentences at a time, and attacks that few photographs met."""

from __future__ import annotations

from dataclasses import replace

import pytest

from robustiqa.attacks import attacks
from robustiqa.evaluation.measures import Condition, Group
from robustiqa.evaluation.records import Record
from robustiqa.evaluation.study import Study, study
from robustiqa.evaluation.views import Evaluation
from robustiqa.report.captions import budget, is_blind, method, notes, objective_name, photographs
from robustiqa.report.controls import controls_table
from robustiqa.report.layouts import honest_table, paper_table
from robustiqa.report.tables import Table
from tests.evaluation.synthetic import FGSM_LABEL, IFGSM_LABEL, MODELS, RANDOM_LABEL, compared, synthetic
from tests.report.oracle import attacked, clean, measure
from tests.report.reading import changed, estimate_of, kept

WORST = Condition(FGSM_LABEL, "worst_of_both")
FGSM_BUDGET = f"{FGSM_LABEL}, 2 whole 8-bit levels"
IFGSM_BUDGET = f"{IFGSM_LABEL}, 4 whole 8-bit levels"


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


def last(table: Table | None) -> str:
    assert table is not None
    return plain(table.notes[-1])


def test_a_caption_says_photographs_seeds_interval_budget_precision_threat_variant_and_protocol(read: Study) -> None:
    said = notes(read, read.columns, [WORST, replace(WORST, precision="float")], "First.")
    assert said[0] == "First." and len(said) == 2
    assert plain(said[1]) == (
        "n = 24 photographs of made-up · base 2 seeds, +NT 2 seeds · [95 % bootstrap over photographs, 40 resamples, "
        f"paired] · {FGSM_BUDGET} · 8-bit images and float images · white-box: attacked on = scored by · end to end · "
        "covering grid of crops."
    )


def test_a_caption_of_clean_scores_says_nothing_of_attacks(read: Study) -> None:
    assert plain(notes(read, read.columns[:1])[-1]) == (
        "n = 24 photographs of made-up · base 2 seeds · [95 % bootstrap over photographs, 40 resamples, paired] · "
        "covering grid of crops."
    )
    assert "bootstrap" not in notes(read, read.columns, interval=False)[-1]


def test_a_caption_tells_every_attack_variant_and_transfer_there_is(read: Study) -> None:
    conditions = [WORST, Condition(IFGSM_LABEL, "rank_split", variant="patchwise", precision="float")]
    said = plain(notes(read, read.columns, conditions)[-1])
    for part in (f"{FGSM_BUDGET}; {IFGSM_BUDGET}", "8-bit images and float images", "end to end and patchwise"):
        assert f" · {part} · " in said
    moved = notes(read, read.columns, [replace(WORST, attacked_on=read.columns[0])])[-1]
    assert "attacked on → scored by, as marked" in moved and "white-box" not in moved


def test_a_budget_names_eps_once_and_counts_levels() -> None:
    named = changed(
        synthetic(2, attacks=(FGSM_LABEL,)),
        lambda r: replace(r, attack="mine()", eps=1 / 255, levels=1) if r.attack == FGSM_LABEL else r,
    )
    assert budget(study(named), "mine()") == "mine(), eps 0.003922, 1 whole 8-bit level"
    assert budget(study(compared(2)), FGSM_LABEL) == FGSM_BUDGET


def test_photographs_are_counted_and_named() -> None:
    assert photographs(study(compared(1))) == "1 photograph of made-up"
    nameless = Evaluation(synthetic(3).records, {})
    assert photographs(study(nameless)) == "3 photographs"


def test_objectives_have_names_in_words() -> None:
    named = {name: objective_name(name) for name in ("worst_of_both", "farther_end", "absolute_shift")}
    assert named == {
        "worst_of_both": "worst of both directions",
        "farther_end": "farther end (the paper's)",
        "absolute_shift": "absolute shift",
    }


def test_protocols_are_those_of_the_models_shown() -> None:
    evaluation = synthetic(3, models={label: MODELS[label] for label in ("base-1", "nt-1")})
    models = {**evaluation.info["models"]}
    models["nt-1"] = {**models["nt-1"], "protocol": "as the model has it"}
    read = study(Evaluation(evaluation.records, {**evaluation.info, "models": models}))
    assert notes(read, read.columns)[-1].endswith("covering grid of crops\u00a0· scored whole.")
    assert notes(read, read.columns[1:])[-1].endswith("· scored whole.")
    assert "covering" not in notes(read, read.columns[1:])[-1]
    assert (
        "Score protocol: a photograph's score is the mean over the smallest even grid of crops that covers it, the "
        "same crops clean and attacked; the model scores a photograph whole."
    ) in method(read)


def few(
    attack: str, variant: str = "end_to_end", *, variants: tuple[str, ...] = ("end_to_end",), of: int = 12
) -> Evaluation:
    """A comparison in which one attack, of one variant, met only the last five photographs."""

    def keep(record: Record) -> bool:
        return (record.attack, record.variant) != (attack, variant) or int(record.key[6:10]) >= of - 5

    return kept(compared(of, variants=variants), keep)


def test_an_attack_that_met_fewer_photographs_says_how_many() -> None:
    read = study(few(IFGSM_LABEL), samples=2)
    assert f"n = 12 photographs of made-up (5 of them under {IFGSM_LABEL}) ·" in last(honest_table(read))
    assert f"n = 12 photographs of made-up (5 of them under {IFGSM_LABEL}) ·" in last(controls_table(read, IFGSM_LABEL))
    assert "n = 12 photographs of made-up ·" in last(controls_table(read, FGSM_LABEL))


def test_numbers_of_an_attack_that_met_fewer_photographs_are_of_those_alone() -> None:
    evaluation = few(IFGSM_LABEL)
    table = controls_table(study(evaluation, samples=2), IFGSM_LABEL)
    assert table is not None
    seen = [attacked(evaluation, label, IFGSM_LABEL, "worst_of_both") for label in ("nt-1", "nt-2")]
    assert {len(one.keys) for one in seen} == {5}
    found = estimate_of(table, "+NT", "worst of both directions: Change / clean spread ↓")
    assert found.seeds == pytest.approx([measure("change_over_spread", one) for one in seen]) and found.count == 5
    whole = estimate_of(table, "+NT", "Clean: Spread of clean scores")
    assert whole.seeds == pytest.approx([measure("spread", clean(evaluation, label)) for label in ("nt-1", "nt-2")])


@pytest.mark.parametrize(("variant", "words"), [("end_to_end", "end to end"), ("patchwise", "patchwise")])
def test_fewer_photographs_in_one_variant_are_said_of_that_variant(variant: str, words: str) -> None:
    read = study(few(FGSM_LABEL, variant, variants=("end_to_end", "patchwise")), samples=2)
    expected = f"n = 12 photographs of made-up (5 of them under {FGSM_LABEL}, {words}) ·"
    assert expected in last(honest_table(read))
    assert expected in last(paper_table(read, "rmse_mos", "rmse_change", "RMSE"))


def test_random_signs_that_met_fewer_photographs_say_so() -> None:
    said = last(controls_table(study(few(RANDOM_LABEL), samples=2), FGSM_LABEL))
    assert f"n = 12 photographs of made-up (5 of them under {RANDOM_LABEL}) ·" in said
    assert f"{RANDOM_LABEL}, 2 whole 8-bit levels" in said


def test_the_method_explains_each_word_once(read: Study) -> None:
    said = tuple(map(plain, method(read)))
    assert said == (
        "Values are means over seeds: base is base-1, base-2; +NT is nt-1, nt-2. Each seed's value stands under “Every "
        "model by itself”.",
        "Brackets: 95 % percentile bootstrap intervals over photographs (40 resamples, seed 0). All models share the "
        "resamples, and seeds are averaged within each, so differences and reductions are paired. The brackets do not "
        "cover other seeds of training.",
        "Score protocol: a photograph's score is the mean over the smallest even grid of crops that covers it, the "
        "same crops clean and attacked.",
        "What counts is the 8-bit image, rounded and within the budget's whole levels, as a file can hold it; the "
        "float image is shown beside it.",
        "Worst of both directions: each score is lowered and raised; the larger change counts.",
        "Rank split: scores above the model's own clean median are lowered, the others raised, which upsets their "
        "order most.",
        "Farther end, the paper's objective: scores above the middle of the scale are lowered, the others raised. "
        "Where most scores lie on one side, they move together and keep their order, so it flatters.",
        "Change / clean spread: the root mean square change over the standard deviation of the model's own clean "
        "scores. Squeezing scores together does not lower it.",
        "Each model is attacked on itself. White-box: the attack uses gradients of the model.",
        "Checks of the records: random output, zero gradient, saturated head, budget broken; no flag was raised. "
        "Without occasion, and so not made: training mode, black box stronger, iterative weaker, larger budget weaker, "
        "not converged, lost in 8bit, one sided, shrunk scores.",
        "End to end: one perturbation for the whole photograph.",
        "Patchwise: one perturbation a crop, as in the papers; no image file can hold it.",
    )


def test_the_method_of_one_unattacked_model_is_short() -> None:
    evaluation = synthetic(3, models={"only": MODELS["base-1"]}, attacks=(), info={"dataset_note": "Taken at home."})
    said = method(study(evaluation, samples=7, seed=3))
    assert said[0] == "Taken at home." and len(said) == 3
    assert "(7 resamples, seed 3)" in said[1]
    attacked_alone = method(study(synthetic(3, models={"only": MODELS["base-1"]}, goals=("lower",))))
    assert "White-box: the attack uses gradients of the model." in attacked_alone
    assert not any(sentence.startswith(("Worst", "Rank", "Farther", "Patchwise")) for sentence in attacked_alone)


def test_a_group_of_one_is_one_seed(read: Study) -> None:
    assert " one 1 seed\u00a0·" in notes(read, [Group("one", ("nt-1",))])[-1]


def test_black_box_attacks_are_not_called_white_box() -> None:
    registered = {name: attacks.get(name) for name in attacks.names()}
    blind = {name for name, found in registered.items() if found.threat_model != "white-box"} - {"random_sign"}
    assert {name for name in registered if is_blind(f"{name}(eps=4/255)")} == blind
    renamed = {FGSM_LABEL: "square(eps=4/255, queries=10)"}
    made = synthetic(6)
    records = tuple(replace(one, attack=renamed.get(one.attack, one.attack)) for one in made.records)
    told = study(replace(made, records=records), samples=7)
    for attack in told.attacks:
        (said,) = notes(told, told.columns, [Condition(attack, "worst_of_both")])[-1:]
        assert ("white-box" in said) == (attack not in renamed.values())
        assert "attacked on = scored by" in said
