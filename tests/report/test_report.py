"""The report as a whole: what it refuses, that nothing but the records decides it, and its Markdown."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from robustiqa.core.errors import InputError
from robustiqa.evaluation.study import Study, study
from robustiqa.evaluation.views import Evaluation
from robustiqa.report import Report, report
from robustiqa.report.figures import score_changes
from robustiqa.report.findings import findings
from robustiqa.report.layouts import all_tables
from robustiqa.report.tables import Table
from tests.evaluation.synthetic import FGSM_LABEL, IFGSM_LABEL, MODELS, RANDOM_LABEL, compared, synthetic
from tests.report.conftest import SAMPLES
from tests.report.reading import changed, kept, told

PHOTO = "photo-0003.jpg"
PAIR = {label: MODELS[label] for label in ("base-1", "nt-1")}


def refusal(evaluation: Evaluation) -> str:
    with pytest.raises(InputError) as caught:
        report(evaluation, samples=2)
    return str(caught.value)


def test_the_tables_stand_in_the_order_of_the_story(made: Report) -> None:
    assert [(table.name, table.main) for table in made.tables] == [
        ("honest", True),
        ("clean", True),
        ("controls-1", True),
        ("controls-2", True),
        ("rmse", True),
        ("srocc", True),
        ("first-order", True),
        ("plcc", False),
        ("mapped", False),
        ("krocc", False),
        ("r-robustness", False),
        ("gains", False),
        ("transfer", False),
        ("models", False),
    ]
    assert (made.title, made.commands) == ("Made-up models", ("make demo",))
    assert made.subtitle == f"6 models on 24 photographs of made-up, attacked with {FGSM_LABEL}, {IFGSM_LABEL}."
    assert [row for row, _ in made.facts] == ["Models", "Dataset", "Environment"]
    assert [label for label, _ in made.facts[0][1]] == list(MODELS)  # shrink is no model


def test_every_table_says_what_it_is_of_in_its_last_note(made: Report) -> None:
    for table in made.tables:
        assert table.notes[-1].startswith("n = 24 photographs of made-up\u00a0· ") and table.notes[-1].endswith(".")
        assert all(len(row.cells) == len(table.columns) for block in table.blocks for row in block.rows)
        if table.name != "clean":
            assert FGSM_LABEL in table.notes[-1] or IFGSM_LABEL in table.notes[-1]
            assert "white-box: attacked on = scored by" in table.notes[-1] or table.name == "transfer"


def test_the_order_of_the_records_changes_nothing(made_up: Evaluation, made: Report, read: Study) -> None:
    order = made_up.models
    turned = sorted(made_up.records, key=lambda record: (order.index(record.scored_by), -int(record.key[6:10])))
    again = study(Evaluation(tuple(turned), made_up.info), samples=SAMPLES)
    assert again.headline is not None and again.headline == read.headline
    assert all_tables(again) == made.tables
    assert findings(again) == made.findings
    assert score_changes(again, again.headline) == made.figures[0]  # byte for byte


def test_the_page_and_the_markdown_are_the_same_each_time_and_hold_no_date(made: Report) -> None:
    assert made.html() == made.html() and made.to_markdown() == made.to_markdown()
    assert "datetime" not in made.html() and "environment" not in made.to_markdown().lower()


def test_another_seed_moves_intervals_and_no_number(made_up: Evaluation, tables: tuple[Table, ...]) -> None:
    other = all_tables(study(made_up, samples=SAMPLES, seed=1))
    pairs = [
        (one.estimate, two.estimate)
        for first, second in zip(tables, other, strict=True)
        for block, twin in zip(first.blocks, second.blocks, strict=True)
        for row, row_twin in zip(block.rows, twin.rows, strict=True)
        for one, two in zip(row.cells, row_twin.cells, strict=True)
    ]
    known = [(one, two) for one, two in pairs if one is not None and two is not None and one.defined]
    assert len(known) > 200
    assert all(one.value == two.value and one.seeds == two.seeds for one, two in known)
    assert sum(one.interval.low != two.interval.low for one, two in known) > 0.9 * len(known)


def test_markdown_holds_findings_tables_method_and_commands(made: Report) -> None:
    text = made.to_markdown()
    assert text.startswith("# Made-up models\n\n- Tested: base (2 seeds) and +NT (2 seeds)")
    places = [
        text.index(part) for part in (*made.findings, *(table.to_markdown() for table in made.tables), *made.method)
    ]
    assert places == sorted(places)
    assert text.endswith("```\nmake demo\n```\n")
    bare = replace(made, commands=(), tables=made.tables[:1]).to_markdown()
    assert "```" not in bare and bare.endswith(f"- {made.method[-1]}\n")


@pytest.mark.parametrize("name", ["score", "float_score", "clean_score", "gradient_l1", "mos"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_none_is_refused_wherever_it_hides(name: str, value: float) -> None:
    """A NaN in `raise` alone is passed by in silence where the larger change counts, and so is a NaN gradient."""
    attack, goal = ("none", "none") if name in ("gradient_l1", "mos") else (FGSM_LABEL, "raise")
    broken: dict[str, Any] = {name: value}
    evaluation = changed(
        compared(6),
        lambda r: (
            replace(r, **broken) if (r.scored_by, r.key, r.attack, r.goal) == ("nt-1", PHOTO, attack, goal) else r
        ),
    )
    under = "" if attack == "none" else f" under {FGSM_LABEL}, raise"
    assert refusal(evaluation) == (
        f"{name} of {PHOTO} by 'nt-1'{under} must be finite, got {value}; mend the model or leave the photograph out."
    )


def test_no_records_are_refused() -> None:
    assert refusal(Evaluation((), {})) == "the evaluation holds no records; run it first."


def test_a_comparison_with_a_stranger_is_refused() -> None:
    assert refusal(told(compared(3), comparison={"base": ["base-1"], "defended": ["nt-9"]})) == (
        "the comparison's '+NT' names model 'nt-9', which the records don't hold; they hold: base-1, base-2, nt-1, "
        "nt-2, early-1, noise-1."
    )


def test_models_of_other_photographs_do_not_stand_side_by_side() -> None:
    """Without a comparison nothing is subtracted, and nothing else would notice."""
    cut = kept(synthetic(8, models=PAIR), lambda record: (record.scored_by, record.key) != ("nt-1", PHOTO))
    assert refusal(cut) == (
        "'base-1' and 'nt-1' were evaluated on other photographs (8 and 7); finish the evaluation first."
    )
    same_count = changed(
        cut, lambda r: replace(r, key="photo-9999.jpg") if r.scored_by == "base-1" and r.key == PHOTO else r
    )
    more = kept(same_count, lambda record: (record.scored_by, record.key) != ("base-1", "photo-0001.jpg"))
    assert "(7 and 7)" in refusal(more)


@pytest.mark.parametrize(
    "evaluation",
    [synthetic(8, models=PAIR, transfer=True), compared(8, transfer=True)],
    ids=["side by side", "compared"],
)
def test_models_that_an_attack_met_on_other_photographs_do_not_stand_side_by_side(evaluation: Evaluation) -> None:
    run = ("nt-1", "nt-1", PHOTO, FGSM_LABEL)  # white-box; what it scored of other models' attacks is no substitute
    cut = kept(evaluation, lambda r: (r.scored_by, r.attacked_on, r.key, r.attack) != run)
    assert refusal(cut) == (
        f"'base-1' and 'nt-1' were evaluated on other photographs under {FGSM_LABEL} (8 and 7); finish the evaluation "
        "first."
    )


def test_an_attack_half_done_in_one_direction_is_refused() -> None:
    cut = kept(compared(6), lambda r: (r.key, r.attack, r.goal) != (PHOTO, FGSM_LABEL, "raise"))
    assert refusal(cut) == (
        f"{FGSM_LABEL} on 'base-1' was run for other photos in each direction; finish the evaluation."
    )


def test_a_control_of_other_photographs_is_refused() -> None:
    cut = kept(compared(6), lambda record: (record.scored_by, record.key) != ("noise-1", PHOTO))
    assert refusal(cut) == (
        "'noise' and '+NT' were evaluated on other photographs (5 and 6); finish the evaluation first."
    )


def test_random_signs_on_one_model_alone_are_enough() -> None:
    """They are a yardstick on the baseline; the others need not have them."""
    cut = kept(compared(6), lambda record: record.attack != RANDOM_LABEL or record.scored_by.startswith("base"))
    names = [table.name for table in all_tables(study(cut, samples=2))]
    assert "controls-1" in names
