"""The sentences and the few numbers of the first section agree with the records, and claim no more than they hold."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from robustiqa.evaluation.records import Record
from robustiqa.evaluation.study import Study, study
from robustiqa.evaluation.views import Evaluation
from robustiqa.report.findings import KeyFigure, findings, key_figures
from tests.evaluation.synthetic import FGSM_LABEL, IFGSM_LABEL, MODELS, compared, synthetic
from tests.report.conftest import SAMPLES
from tests.report.oracle import Seen, attacked, clean, drawn, interval, mean_of
from tests.report.reading import changed, kept, shown, told

BASE, NT = ("base-1", "base-2"), ("nt-1", "nt-2")
LIMIT = "These attacks were tried; they prove no limit. A stronger one may move scores further."


def under(evaluation: Evaluation, attack: str, objective: str) -> tuple[list[Seen], list[Seen]]:
    base, held = ([attacked(evaluation, label, attack, objective) for label in labels] for labels in (BASE, NT))
    return base, held


def values(name: str, pair: tuple[list[Seen], list[Seen]]) -> tuple[float, float]:
    return mean_of(name, pair[0]), mean_of(name, pair[1])


def less(name: str, pair: tuple[list[Seen], list[Seen]]) -> str:
    """`72 % less [65, 77]`."""

    def share(base: list[Seen], held: list[Seen]) -> float:
        return 1 - mean_of(name, held) / mean_of(name, base)

    ends = interval(lambda places: share(*([drawn(one, places) for one in side] for side in pair)), 24, SAMPLES)
    return f"{100 * share(*pair):.0f}\u00a0% less [{100 * ends[0]:.0f}, {100 * ends[1]:.0f}]"


def test_every_sentence_says_what_the_records_say(read: Study, made_up: Evaluation) -> None:
    fgsm, split = (under(made_up, FGSM_LABEL, objective) for objective in ("worst_of_both", "rank_split"))
    control = [attacked(made_up, "early-1", FGSM_LABEL, "worst_of_both")]
    other = [attacked(made_up, "noise-1", FGSM_LABEL, "worst_of_both")]
    ratios = {"matched accuracy": control, "noise": other, "shrink": fgsm[0]}
    best = min(ratios, key=lambda name: mean_of("change_over_spread", ratios[name]))
    points, spreads = values("rmse_change", fgsm), values("change_over_spread", fgsm)
    ranks, strongest = (
        values("srocc_change", split),
        values("rmse_change", under(made_up, IFGSM_LABEL, "worst_of_both")),
    )
    untouched = [clean(made_up, label) for label in BASE], [clean(made_up, label) for label in NT]
    accuracy = values("srocc_mos", untouched)
    low, high = interval(
        lambda places: (
            mean_of("srocc_mos", [drawn(one, places) for one in untouched[1]])
            - mean_of("srocc_mos", [drawn(one, places) for one in untouched[0]])
        ),
        24,
        SAMPLES,
    )
    signed = [f"{number:+.3f}".replace("-", "−") for number in (accuracy[1] - accuracy[0], low, high)]
    assert findings(read) == (
        "Tested: base (2 seeds) and +NT (2 seeds), on 24 photographs of made-up.",
        f"A hardly visible change, at most 2 of 255 levels a pixel ({FGSM_LABEL}), moves a score by "
        f"{shown(points[0], 1)} points on base and {shown(points[1], 1)} on +NT (root mean square, worst of both "
        "directions, scale 0 to 100).",
        "In standard deviations of each model's own clean scores that is "
        f"{shown(spreads[0], 2)} on base and {shown(spreads[1], 2)} on +NT: {less('change_over_spread', fgsm)}.",
        f"+NT is credited with what it gains over the best control ({best}) in change over spread: "
        f"{less('change_over_spread', (ratios[best], fgsm[1]))}.",
        "Aimed at the order of the photographs, it leaves a rank correlation with the clean order of "
        f"{shown(ranks[0], 2)} on base and {shown(ranks[1], 2)} on +NT.",
        f"The strongest attack here, {IFGSM_LABEL}, at most 4 of 255 levels, moves a score by "
        f"{shown(strongest[0], 1)} points on base and {shown(strongest[1], 1)} on +NT.",
        "On clean photographs the rank correlation with people's opinions (SROCC) is "
        f"{shown(accuracy[0], 3)} on base and {shown(accuracy[1], 3)} on +NT: a difference of {signed[0]} "
        f"[{signed[1]}, {signed[2]}].",
        LIMIT,
    )


def test_key_figures_are_the_numbers_of_the_sentences(read: Study) -> None:
    said = " ".join(findings(read))
    first, gain, ranks, accuracy = key_figures(read)
    assert f"that is {first.before} on base and {first.value} on +NT: {first.note}." in said
    assert re.search(
        rf"best control \({gain.note.split(' against ')[1]}\) in change over spread: {gain.value} less "
        rf"{re.escape(gain.note.split(' against ')[0])}",
        said,
    )
    assert gain.before == ""
    assert f"with the clean order of {ranks.before} on base and {ranks.value} on +NT." in said
    assert f"(SROCC) is {accuracy.before} on base and {accuracy.value} on +NT: a difference of {accuracy.note}." in said
    assert [figure.title for figure in (first, gain, ranks, accuracy)] == [
        "Score change under attack, in spreads of clean scores",
        "Less change than the best control",
        "Order of photographs kept under attack (SROCC)",
        "Accuracy on clean photographs (SROCC)",
    ]


def test_a_defense_that_makes_it_worse_is_said_to() -> None:
    """The columns are exchanged: what was a gain is a loss."""
    swapped = told(compared(24), comparison={"base": list(NT), "defended": list(BASE)})
    said = findings(study(swapped, samples=SAMPLES))
    assert re.search(r"on \+NT: \d+\u00a0% more \[\d+, \d+\]\.$", said[2])
    assert said[3].startswith("+NT does worse than the best control (shrink) in change over spread: ")
    ends = [int(end) for end in re.findall(r"(\d+)[,\]]", said[3])]
    assert 0 < ends[0] <= int(re.findall(r"(\d+)\u00a0% more", said[3])[0]) <= ends[1]


def test_a_gain_that_chance_could_make_is_called_so() -> None:
    twins = told(compared(20), comparison={"base": ["base-1"], "defended": ["base-2"]})
    said = findings(study(twins, samples=100))
    assert said[3].startswith(
        "Beside the best control (shrink) in change over spread +NT gains nothing that can be told"
    )


def test_a_model_that_says_the_same_of_every_photograph_is_credited_with_nothing() -> None:
    constant = changed(
        compared(10),
        lambda r: replace(r, clean_score=50.0, score=50.0, float_score=50.0) if r.scored_by in NT else r,
    )
    read = study(constant, samples=5)
    said, figures = findings(read), key_figures(read)
    assert not any(word in sentence for sentence in said for word in ("less", "credited", "—", "nan", "SROCC", "order"))
    assert [sentence.split(" ")[0] for sentence in said] == ["Tested:", "A", "These"]
    assert [figure.title for figure in figures][:2] == [
        "Score change under attack, in spreads of clean scores",
        "Order of photographs kept under attack (SROCC)",
    ]
    assert {figure.value for figure in figures} == {"—"}
    assert not any("—\u00a0%" in part for figure in figures for part in (figure.value, figure.note))


def test_the_strongest_attack_is_named_only_if_it_is_not_the_headline() -> None:
    weaker = changed(
        compared(8),
        lambda r: replace(r, score=r.clean_score + (r.score - r.clean_score) / 100) if r.attack == IFGSM_LABEL else r,
    )
    assert not any("strongest" in sentence for sentence in findings(study(weaker, samples=2)))
    one_way = kept(compared(8), lambda record: (record.attack, record.goal) != (IFGSM_LABEL, "raise"))
    assert not any("strongest" in sentence for sentence in findings(study(one_way, samples=2)))


def test_attacks_that_met_fewer_photographs_are_told_where_the_photographs_are() -> None:
    cut = kept(compared(12), lambda record: record.attack != IFGSM_LABEL or record.key >= "photo-0007")
    assert findings(study(cut, samples=2))[0] == (
        f"Tested: base (2 seeds) and +NT (2 seeds), on 12 photographs of made-up (5 of them under {IFGSM_LABEL})."
    )


def test_a_large_budget_is_not_called_hardly_visible() -> None:
    def larger(record: Record, levels: int) -> Record:
        return replace(record, levels=levels, eps=levels / 255) if record.attack == FGSM_LABEL else record

    starts = [
        findings(study(changed(compared(6), lambda r, levels=levels: larger(r, levels)), samples=2))[1]  # type: ignore[misc]
        for levels in (4, 5)
    ]
    assert starts[0].startswith("A hardly visible change, at most 4 of 255 levels a pixel")
    assert starts[1].startswith("A change, at most 5 of 255 levels a pixel")


def test_scales_that_differ_are_not_said_to_be_one() -> None:
    evaluation = compared(6)
    models = {**evaluation.info["models"]}
    models["nt-2"] = {**models["nt-2"], "scale": {"low": 0.0, "high": 1.0}}
    mixed = Evaluation(evaluation.records, {**evaluation.info, "models": models})
    assert findings(study(mixed, samples=2))[1].endswith("(root mean square, worst of both directions).")


def test_without_a_comparison_there_are_sentences_and_no_key_figures() -> None:
    read = study(synthetic(8, models={label: MODELS[label] for label in ("base-1", "nt-1", "noise-1")}), samples=5)
    said = findings(read)
    assert said[0] == "Tested: base-1, nt-1 and noise-1, on 8 photographs of made-up."
    assert not any("credited" in sentence or "less" in sentence or "difference" in sentence for sentence in said)
    assert key_figures(read) == ()


def test_without_opinions_or_attacks_what_is_left_is_said() -> None:
    assert findings(study(compared(6, attacks=(), mos=False), samples=2)) == (
        "Tested: base (2 seeds) and +NT (2 seeds), on 6 photographs of made-up.",
    )
    assert key_figures(study(compared(6, attacks=(), mos=False), samples=2)) == ()


@pytest.mark.parametrize("count", [1, 2])
def test_very_few_photographs_make_no_wild_claims(count: int) -> None:
    read = study(compared(count), samples=5)
    assert findings(read)[-1] == LIMIT
    assert all(
        isinstance(figure, KeyFigure) and "nan" not in f"{figure.value}{figure.note}" for figure in key_figures(read)
    )
    assert not any("nan" in sentence for sentence in findings(read))
