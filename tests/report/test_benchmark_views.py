"""What benchmarks show beside the paper's tables: sweeps, curves, levels, costs, transfer, figures; against NumPy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from robustiqa.evaluation.records import Record
from robustiqa.report.benchmark import benchmark_report
from robustiqa.report.benchmark_figures import norm_figures, renamed
from robustiqa.report.benchmark_study import BenchmarkStudy, benchmark_study
from robustiqa.report.benchmark_views import VIEWS
from robustiqa.report.intensity import intensity_figures, intensity_table
from robustiqa.report.losses import ledger_table, levels_table, losses_table
from robustiqa.report.sweeps import sweep_figures, sweep_table
from robustiqa.report.transfer_matrix import transfer_matrices
from tests.evaluation.synthetic import FGSM_LABEL, IFGSM_LABEL
from tests.report.benchmarks import evaluation, read, varied
from tests.report.reading import cell_of, changed, estimate_of, row_of, titles


def test_a_sweep_shows_every_value_beside_what_was_reported() -> None:
    said = {"rmse_change": {"fgsm": {"alpha": [3.0, 2.0, 1.0]}}}
    studied = varied(reported=said)
    table = sweep_table(studied)
    found = studied.study.evaluation
    for title, label, told in (("0", "base-1", "3.000"), ("1e-07", "nt-2", "2.000"), ("2e-07", "nt-1", "1.000")):
        scores = found.attacked(label, FGSM_LABEL, "farther_end")
        expected = float(np.sqrt(np.mean((scores.after - scores.before) ** 2)))
        row = "RMSE ↓, FGSM, farther end (the paper's)"
        assert estimate_of(table, row, title).value == pytest.approx(expected, rel=1e-12)
        beside = [column.full for column in table.columns].index(title) + 1
        assert table.columns[beside].full == "reported"  # of another scale: no value stands there
        assert row_of(table, row).cells[beside].text == told
        assert row_of(table, "RMSE ↓, FGSM, rank split").cells[beside].value == "—"
    figures = list(sweep_figures(studied))
    assert [figure.name for figure in figures] == ["sweep-1", "sweep-2", "sweep-3"]
    assert "Zero is drawn at the left end" in figures[0].caption


def test_strength_is_measured_by_what_is_left_of_the_photographs() -> None:
    def blurred(record: Record) -> Record:
        return replace(record, ssim={FGSM_LABEL: 0.98, IFGSM_LABEL: 0.91}.get(record.attack, 1.0))

    studied = benchmark_study(changed(evaluation(), blurred), samples=100)
    table = intensity_table(studied)
    assert table is not None
    assert cell_of(table, IFGSM_LABEL, "SSIM: base", "Alpha, farther end (the paper's)").text == "0.910"
    names = [figure.name for figure in intensity_figures(studied)]
    assert names[:3] == ["rmse-by-ssim-alpha", "srocc-by-ssim-alpha", "security-curve-alpha"]
    assert len(names) == 6


def test_levels_are_thirds_by_opinion_and_objectives_decide_on_all_photographs() -> None:
    studied = read(60)
    found = studied.study.evaluation
    table = levels_table(studied)
    assert table is not None
    clean = found.clean("base-1")
    assert clean.mos is not None
    order = [clean.keys[place] for place in np.argsort(clean.mos, kind="stable")]
    for title, keys in zip(("low", "medium", "high"), np.array_split(order, 3), strict=True):
        scores = found.attacked("nt-1", FGSM_LABEL, "rank_split")
        moved = [abs(r.score - r.clean_score) for r in scores.records if r.key in set(keys.tolist())]
        shown = estimate_of(table, "FGSM, rank split", f"{title} quality: +NT", "Alpha")
        assert shown.value == pytest.approx(float(np.mean(moved)), rel=1e-12)
        assert shown.count == 20


def test_losses_show_every_objective_that_was_run() -> None:
    def shifted(record: Record) -> Record:
        return replace(record, goal="absolute_shift") if record.attack == IFGSM_LABEL else record

    found = changed(evaluation(), shifted)
    once: dict[Any, Record] = {record.identity: record for record in found.records}  # lower and raise became one goal
    table = losses_table(benchmark_study(type(found)(tuple(once.values()), found.info), samples=100))
    assert table is not None
    assert "I-FGSM*, absolute shift" in titles(table)
    assert "FGSM, rank split" in titles(table)


def test_the_ledger_adds_both_directions_up() -> None:
    def spent(record: Record) -> Record:
        if record.attack != FGSM_LABEL:
            return replace(record, queries=7, gradients=0, seconds=0.5)
        return replace(record, queries=2, gradients=1, seconds=0.25 if record.goal == "lower" else 0.5)

    table = ledger_table(benchmark_study(changed(evaluation(), spent), samples=50))
    assert table is not None
    unknown = ["—", "—"]  # as in records of before memory was kept
    assert [cell.text for cell in table.blocks[0].rows[0].cells] == ["4", "4", "2", "2", "0.75", "0.75", *unknown]
    assert [cell.text for cell in table.blocks[0].rows[1].cells] == ["14", "14", "0", "0", "1.00", "1.00", *unknown]


def test_the_ledgers_memory_is_the_most_of_any_photograph_and_direction() -> None:
    def held(record: Record) -> Record:
        if record.attack != FGSM_LABEL:
            return record if record.key.endswith("1.jpg") else replace(record, peak_memory=2**20)
        most = 300 if record.key == "photo-0003.jpg" and record.goal == "raise" else 100
        return replace(record, peak_memory=most * 2**20)

    table = ledger_table(benchmark_study(changed(evaluation(), held), samples=50))
    assert table is not None
    assert cell_of(table, "FGSM", "Peak GPU memory, MiB: base", "Alpha").text == "300"
    assert cell_of(table, "I-FGSM*", "Peak GPU memory, MiB: base", "Alpha").text == "—"  # not known of all
    assert any("high-water mark of a whole process" in note for note in table.notes)


def transferred() -> BenchmarkStudy:
    return benchmark_study(evaluation(transfer=True), samples=100)


def test_the_transfer_matrix_is_what_each_model_makes_of_what_was_found_on_another() -> None:
    studied = transferred()
    table = next(transfer_matrices(studied))
    scores = studied.study.evaluation.attacked("nt-2", FGSM_LABEL, "worst_of_both", attacked_on="base-1")
    expected = np.sqrt(np.mean((scores.after - scores.before) ** 2)) / np.std(scores.before)
    shown = estimate_of(table, "Alpha", "Scored by: Beta+NT", "FGSM").value
    assert shown == pytest.approx(float(expected), rel=0.02)  # the spread's denominator is the metric's business
    own = estimate_of(table, "Alpha", "Scored by: Alpha", "FGSM").value
    assert own > 2 * shown
    assert all(cell.value != "—" for cell in table.blocks[0].rows[0].cells)
    alone = next(transfer_matrices(read()))
    assert cell_of(alone, "Alpha", "Scored by: Beta", "FGSM").value == "—"


def test_figures_of_several_models_share_no_element_names() -> None:
    figures = list(norm_figures(read()))
    assert [figure.name for figure in figures][:2] == ["gradient-norms-alpha", "gradient-norms-beta"]
    assert len({figure.name for figure in figures}) == len(figures) == 2 + 2 * 2
    one = figures[0]
    other = renamed(one, "another")
    assert 'id="another-' in other.svg
    assert f'id="{one.name}-' not in other.svg


@pytest.mark.parametrize("view", [name for name in VIEWS if name != "sweep"])
def test_every_view_is_made_of_what_there_is_and_twice_the_same(view: str) -> None:
    found = evaluation(20, show=[view])
    made = benchmark_report([found], samples=20)
    names = [figure.name for figure in made.figures]
    assert len(set(names)) == len(names)
    assert all(name.startswith("made-up-") for name in names)
    assert benchmark_report([found], samples=20).html() == made.html()
