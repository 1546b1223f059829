"""Tables of benchmarks: measured beside reported, model by model, against NumPy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import curve_fit

from robustiqa.evaluation.views import Evaluation
from robustiqa.report.benchmark import benchmark_report
from robustiqa.report.benchmark_study import benchmark_study
from robustiqa.report.benchmark_tables import attack_table, attack_tables, clean_table, white_black_table
from tests.evaluation.synthetic import FGSM_LABEL, IFGSM_LABEL
from tests.report.benchmarks import evaluation, read
from tests.report.reading import bold, cell_of, estimate_of, titles

BEFORE = "Score before and after: RMSE ↓"


def rmse(found: Evaluation, label: str, attack: str, objective: str) -> float:
    scores = found.attacked(label, attack, objective)
    return float(np.sqrt(np.mean((scores.after - scores.before) ** 2)))


def test_rmse_under_attack_stands_beside_what_was_reported() -> None:
    found = evaluation()
    table = attack_table(read(), "rmse_mos", "rmse_change", "RMSE under attack", "farther_end")
    assert table is not None
    assert [block.title for block in table.blocks] == ["Alpha", "Beta"]
    assert titles(table) == ["FGSM", "I-FGSM*"] * 2
    for block, base, held in (("Alpha", "base-1", "nt-1"), ("Beta", "base-2", "nt-2")):
        for row, attack in (("FGSM", FGSM_LABEL), ("I-FGSM*", IFGSM_LABEL)):
            values = [rmse(found, label, attack, "farther_end") for label in (base, held)]
            measured = [
                estimate_of(table, row, f"{BEFORE}: {side}", block).value for side in ("base", "+NT", "difference")
            ]
            assert measured == pytest.approx([*values, values[1] - values[0]], rel=1e-12)
    assert cell_of(table, "FGSM", f"{BEFORE}: reported", "Alpha").text == "20.000 → 8.000"
    assert cell_of(table, "I-FGSM*", f"{BEFORE}: reported", "Beta").text == "6.000 → 7.000"
    assert cell_of(table, "FGSM", "Opinions and score after: RMSE ↓: reported", "Alpha").value == "—"
    assert "Reported: Somebody 2024; other photographs, larger networks." in table.notes
    assert any(note.startswith("*: black-box") for note in table.notes)


def test_reported_numbers_stand_beside_the_papers_objective_alone() -> None:
    tables = list(attack_tables(read()))
    with_reported = [table.name for table in tables if any(column.title == "reported" for column in table.columns)]
    assert with_reported == ["rmse-farther-end", "srocc-farther-end"]
    assert [table.name for table in tables if table.main] == ["rmse-farther-end", "srocc-farther-end"]
    assert len(tables) == 3 * 7
    assert len({table.name for table in tables}) == len(tables)


def test_the_clean_table_compares_accuracy() -> None:
    found, table = evaluation(), clean_table(read())
    scores = found.clean("nt-1")
    assert scores.mos is not None
    expected = stats.spearmanr(scores.before, scores.mos).statistic
    assert estimate_of(table, "SROCC ↑", "+NT", "Alpha").value == pytest.approx(expected, abs=1e-12)
    assert cell_of(table, "SROCC ↑", "reported", "Alpha").text == "0.900 → 0.860"
    assert cell_of(table, "SROCC ↑", "reported", "Beta").value == "—"
    assert "base" in [*bold(table.__class__(**{**vars(table), "blocks": table.blocks[:1]}), "SROCC ↑")]


def test_plcc_after_a_logistic_fit_takes_one_curve_fitted_to_the_same_clean_photographs() -> None:
    """By scipy: the curve is fitted to clean scores, and attacked scores go through it as it is."""

    def curve(scores: Any, high: float, low: float, center: float, width: float) -> Any:
        return low + (high - low) / (1 + np.exp(-(scores - center) / width))

    found, studied = evaluation(), read()
    fitted = attack_table(studied, "plcc_fitted_mos", "", "PLCC after a logistic fit, under attack", "worst_of_both")
    assert fitted is not None
    assert fitted.name == "plcc-fitted-worst-of-both"
    for side, label in (("base", "base-2"), ("+NT", "nt-2")):
        clean, attacked = found.clean(label), found.attacked(label, FGSM_LABEL, "worst_of_both")
        assert clean.mos is not None and attacked.mos is not None
        start = [clean.mos.max(), clean.mos.min(), clean.before.mean(), clean.before.std() / 4]
        best, _ = curve_fit(curve, clean.before, clean.mos, p0=start, maxfev=10_000)
        expected = stats.pearsonr(curve(clean.before, *best), clean.mos).statistic
        shown = estimate_of(clean_table(studied), "PLCC (logistic fit) ↑", side, "Beta")
        assert shown.value == pytest.approx(expected, abs=1e-6)
        raw = estimate_of(clean_table(studied), "PLCC (raw) ↑", side, "Beta")
        assert raw.value != pytest.approx(expected, abs=1e-6)
        expected = stats.pearsonr(curve(attacked.before + attacked.change, *best), attacked.mos).statistic
        head = f"Opinions and score after: PLCC (logistic fit) ↑: {side}"
        assert estimate_of(fitted, "FGSM", head, "Beta").value == pytest.approx(expected, abs=1e-6)
    for table in (fitted, clean_table(studied)):
        assert any("opinions of the same photographs" in note for note in table.notes)


def test_without_opinions_there_is_no_table_of_them() -> None:
    found = evaluation()
    bare = type(found)(tuple(replace(record, mos=None) for record in found.records), found.info)
    studied = benchmark_study(bare, samples=20)
    assert len(list(attack_tables(studied))) == 3 * 6
    assert not any("logistic" in note for note in clean_table(studied).notes)


def test_the_summary_is_the_mean_gain_over_white_box_and_over_black_box_attacks() -> None:
    found, table = evaluation(), white_black_table(read())
    assert table is not None
    white = rmse(found, "nt-1", FGSM_LABEL, "rank_split") - rmse(found, "base-1", FGSM_LABEL, "rank_split")
    black = rmse(found, "nt-1", IFGSM_LABEL, "rank_split") - rmse(found, "base-1", IFGSM_LABEL, "rank_split")
    said = [
        estimate_of(table, "Alpha", f"Change of RMSE: {kind}", "rank split").value
        for kind in ("white-box", "black-box")
    ]
    assert said == pytest.approx([white, black], rel=1e-12)
    paper = "farther end (the paper's)"
    assert cell_of(table, "Alpha", "Change of RMSE: white-box, reported", paper).text == "−12.00"
    assert cell_of(table, "Beta", "Change of RMSE: black-box, reported", paper).text == "+1.00"
    assert cell_of(table, "Beta", "Change of RMSE: black-box, reported", "rank split").value == "—"


def test_the_reported_summary_of_the_paper_is_rebuilt_from_its_cells() -> None:
    """Table S7 gives the mean gain of DBCNN under white-box attacks as −31.59."""
    from robustiqa.experiments.spec_files import read_spec

    said = read_spec("paper-tables-2-3")["reported"]["rmse_change"]
    gains = [said[attack]["dbcnn"][1] - said[attack]["dbcnn"][0] for attack in ("fgsm", "perceptual")]
    assert round(sum(gains) / 2, 2) == -31.59


def test_a_page_holds_the_parts_of_several_benchmarks_under_their_titles() -> None:
    one, other = evaluation(), evaluation(title="Other", experiment="other", show=["clean"])
    made = benchmark_report([one, other], "Both", samples=50)
    names = [table.name for table in made.tables]
    assert len(names) == len(set(names))
    assert {"made-up-clean", "other-clean", "made-up-observations", "made-up-white-black"} <= set(names)
    assert made.title == "Both"
    assert "Other: Clean photographs" in made.to_markdown()
    assert "<title>Both</title>" in made.html()
    assert made.html() == benchmark_report([one, other], "Both", samples=50).html()


def test_two_parts_of_one_benchmark_have_names_of_their_own_and_facts_stand_once() -> None:
    made = benchmark_report([evaluation(show=["clean"]), evaluation(show=["clean"])], samples=20)
    assert [table.name for table in made.tables] == ["made-up-clean", "made-up-2-clean"]
    titles_of_facts = [title for title, _ in made.facts]
    assert titles_of_facts == list(dict.fromkeys(titles_of_facts))
    assert all(len(set(told)) == len(told) for _, told in made.facts)


def test_a_quick_run_says_so_in_every_table() -> None:
    made = benchmark_report([evaluation(quick=True)], samples=50)
    assert "quick run, not a result" in made.title
    assert all("quick run, not a result" in table.to_markdown() for table in made.tables)
