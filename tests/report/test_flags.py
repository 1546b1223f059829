"""Flags of the diagnostics where people read them: findings, notes of the tables they concern, method, terminal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from robustiqa.cli.output import Output
from robustiqa.cli.showing import print_report, report_document
from robustiqa.evaluation.measures import Condition, Group
from robustiqa.evaluation.study import study
from robustiqa.evaluation.views import Evaluation
from robustiqa.report import Report, report
from robustiqa.report.captions import FLAGS_RAISED, checks_made, flags_note
from robustiqa.report.findings import findings
from tests.evaluation.synthetic import FGSM_LABEL, IFGSM_LABEL, compared
from tests.report.conftest import SAMPLES
from tests.report.reading import changed, named, told

BASE, NT = Group("base", ("base-1", "base-2")), Group("+NT", ("nt-1", "nt-2"))


@pytest.fixture(scope="module")
def doubtful() -> Evaluation:
    """Two models without some gradients, one of them random, and an attack that left its budget on one."""
    broken = changed(
        compared(24),
        lambda r: (
            replace(r, gradient_l1=0.0)
            if r.key.endswith("3.jpg") and r.attack == "none" and r.scored_by in ("base-1", "nt-2")
            else replace(r, linf=9.0)
            if (r.attack, r.scored_by) == (IFGSM_LABEL, "nt-1")
            else r
        ),
    )
    return told(broken, probes={"nt-1": [("random_output", "nt-1 wavers.")]})


@pytest.fixture(scope="module")
def page(doubtful: Evaluation) -> Report:
    return report(doubtful, samples=SAMPLES)


def raised(report: Report, table: str) -> list[str]:
    return [note for note in named(report.tables, table).notes if note.startswith(FLAGS_RAISED)]


def test_findings_give_each_flag_once_with_its_first_sentence(doubtful: Evaluation) -> None:
    said = [sentence for sentence in findings(study(doubtful, samples=2)) if sentence.startswith("Flag raised")]
    assert said == [
        "Flag raised, random output: nt-1 wavers.",
        "Flag raised, zero gradient: base-1 has no usable gradient at 3 of 24 photos: white-box attacks stand still "
        "there. Likewise in 1 more case.",
        f"Flag raised, budget broken: {IFGSM_LABEL} changed a pixel of photo-0000.jpg by 9 levels where its budget "
        "holds 4: its numbers are not of this budget. Likewise in 1 more case.",
    ]


def test_every_table_names_the_flags_that_concern_its_models_and_attacks(page: Report) -> None:
    always = "random output (nt-1), zero gradient (base-1, nt-2)"
    attacked = f"{FLAGS_RAISED}{always}, budget broken (nt-1); the findings say why."
    assert raised(page, "clean") == [f"{FLAGS_RAISED}{always}; the findings say why."]
    for name in ("controls-1", "models"):  # under the other attack
        assert raised(page, name) == raised(page, "clean")
    for name in ("honest", "controls-2", "rmse", "srocc", "gains", "krocc"):
        assert raised(page, name) == [attacked], name
    for table in page.tables:
        assert not table.notes[-1].startswith(FLAGS_RAISED)
        assert raised(page, table.name)


def test_a_note_is_about_its_models_its_attacks_and_its_objective(doubtful: Evaluation) -> None:
    read = study(doubtful, samples=2)
    worst = Condition(IFGSM_LABEL, "worst_of_both")
    assert flags_note(read, [Group("early", ("early-1",))], [worst]) == ()
    assert flags_note(read, [BASE]) == (f"{FLAGS_RAISED}zero gradient (base-1); the findings say why.",)
    assert "budget broken" in flags_note(read, [NT], [worst])[0]
    assert "budget broken" not in flags_note(read, [NT], [replace(worst, attack=FGSM_LABEL)])[0]


def test_one_objective_in_doubt_leaves_the_others(doubtful: Evaluation) -> None:
    asked = changed(doubtful, lambda r: replace(r, queries=1) if r.attack == FGSM_LABEL else r)
    high = changed(
        asked,
        lambda r: (
            replace(r, clean_score=r.clean_score + 90, score=r.score + 90, float_score=r.float_score + 90)
            if r.scored_by == "base-2"
            else r
        ),
    )
    read = study(high, samples=2)
    far, worst = (Condition(FGSM_LABEL, objective) for objective in ("farther_end", "worst_of_both"))
    assert "one sided (base-2)" in flags_note(read, [BASE], [far])[0]
    assert "one sided" not in flags_note(read, [BASE], [worst])[0]


def test_the_method_says_which_checks_were_made_and_which_were_not(doubtful: Evaluation) -> None:
    assert checks_made(study(doubtful, samples=2)) == (
        "Checks of the records: zero gradient, saturated head, budget broken; they raise the flags that the findings "
        "name. Without occasion, and so not made: random output, training mode, black box stronger, iterative weaker, "
        "larger budget weaker, not converged, lost in 8bit, one sided, shrunk scores."
    )


def test_the_terminal_prints_flags_under_each_table_and_json_holds_them_all(
    page: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    print_report(Output("report"), page)
    printed = capsys.readouterr().out
    shown = [table for table in page.tables if table.name.startswith(("honest", "clean", "controls"))]
    assert printed.count(f"\n{FLAGS_RAISED}") == len(shown) == 4
    document = report_document(page)
    assert {"name": "random_output", "model": "nt-1", "sentence": "nt-1 wavers.", "attacks": (), "objective": ""} in (
        document["flags"]
    )
    assert len(document["flags"]) == len(page.flags) == 5
    assert page.html().count(FLAGS_RAISED) >= len(page.tables)


def test_a_report_without_flags_shows_none(made: Report) -> None:
    assert made.flags == ()
    assert FLAGS_RAISED not in made.to_markdown() and "Flag raised" not in made.to_markdown()
