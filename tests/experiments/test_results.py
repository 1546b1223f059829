from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from robustiqa.core.errors import DataError
from robustiqa.evaluation.exported import export, load_exported
from robustiqa.evaluation.measures import Condition
from robustiqa.evaluation.records import CLEAN
from robustiqa.evaluation.study import study
from robustiqa.evaluation.views import Evaluation
from robustiqa.experiments.results import IN_SHORT, TOGETHER, build_results, main, results_page
from robustiqa.experiments.side_by_side import side_by_side
from tests.evaluation.synthetic import CALIBRATION, COMPARISON, FGSM_LABEL, synthetic

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not (ROOT / "results").is_dir(), reason="no results are kept here")
def test_the_page_of_results_is_what_its_records_say_byte_for_byte() -> None:
    results = build_results(ROOT / "results")
    assert (ROOT / "docs" / "results.md").read_text(encoding="utf-8") == results.page
    for name, svg in results.figures.items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == svg


def test_the_page_holds_notes_and_tables_of_each_run_in_order(tmp_path: Path) -> None:
    results, page = tmp_path / "results", tmp_path / "docs" / "results.md"
    for name in ("b", "a"):
        export(synthetic(12), results / name)
        (results / name / "notes.md").write_text(f"## Run {name}\n\nMade up.\n")
    (results / "unfinished").mkdir()
    (results / "notes.md").write_text("*Data.* Made up.\n")
    main(["--results", str(results), "--page", str(page)])
    written = page.read_text(encoding="utf-8")
    assert written == results_page(results)
    places = [written.index(part) for part in ("# Results", "*Data.*", "## Run a", "Clean", "## Run b")]
    assert places == sorted(places)
    headings = [line for line in written.splitlines() if line.startswith("#")]
    assert headings == ["# Results", "## Run a", "### Method", "## Run b", "### Method"]  # notes give the titles


def _comparison(folder: Path, count: int, seed: int, dataset: str = "made-up") -> None:
    made = synthetic(count, seed=seed, info={"comparison": COMPARISON, "calibration": CALIBRATION})
    export(replace(made, info={**made.info, "dataset": {**made.info["dataset"], "name": dataset}}), folder)


def _attacked(evaluation: Evaluation, label: str) -> set[tuple[str, str, float]]:
    found = [one for one in evaluation.records if (one.scored_by, one.attack) == (label, FGSM_LABEL)]
    return {(one.key, one.goal, one.score) for one in found}


def test_comparisons_of_the_papers_models_stand_side_by_side_on_photographs_that_all_met(tmp_path: Path) -> None:
    _comparison(tmp_path / "nt-biq2021-light", 40, 0)
    _comparison(tmp_path / "another", 40, 1)
    assert not side_by_side(tmp_path)  # one of the paper's
    assert f"# {TOGETHER}" not in results_page(tmp_path)
    maniqa = tmp_path / "nt-maniqa-biq2021-light"
    _comparison(maniqa, 40, 2)
    few = load_exported(maniqa)
    missed = few.records[0].key
    export(
        replace(few, records=tuple(one for one in few.records if (one.key, one.attack) != (missed, FGSM_LABEL))), maniqa
    )
    clean, attacked = side_by_side(tmp_path)
    labels = [f"{model}, {label}" for model in ("HyperIQA", "MANIQA") for label in ("base-1", "base-2", "nt-1", "nt-2")]
    assert list(clean.models) == list(attacked.models) == labels
    assert {one.attack for one in clean.records} == {CLEAN}
    assert {one.attack for one in attacked.records} == {CLEAN, FGSM_LABEL}  # no other attack is in the paper's tables
    whole = _attacked(load_exported(tmp_path / "nt-biq2021-light"), "nt-1")
    assert _attacked(attacked, "HyperIQA, nt-1") == {one for one in whole if one[0] != missed}
    assert _attacked(attacked, "MANIQA, nt-1") == _attacked(load_exported(maniqa), "nt-1")
    page = results_page(tmp_path)
    assert page.index(f"# {TOGETHER}") < page.index("0.876 → 0.871") < page.index("# Robustness")


def test_a_table_of_all_comparisons_opens_the_page_the_papers_models_first(tmp_path: Path) -> None:
    for seed, name in enumerate(["a-comparison-of-mine", "nt-dbcnn-biq2021-light", "nt-biq2021-light"]):
        _comparison(tmp_path / name, 12, seed)
    page = results_page(tmp_path)
    assert page.index(f"## {IN_SHORT}") < page.index(f"## {TOGETHER}")
    table = page[page.index(f"## {IN_SHORT}") : page.index(f"## {TOGETHER}")]
    places = [table.index(f"**{title}**") for title in ("HyperIQA", "DBCNN", "a-comparison-of-mine")]
    assert places == sorted(places)
    read = study(load_exported(tmp_path / "nt-biq2021-light"))
    assert read.comparison is not None
    pair = read.comparison.base, read.comparison.defended
    condition = Condition(FGSM_LABEL, "worst_of_both")
    spread = [read.summary.estimate(group, "change_over_spread", condition).value for group in pair]
    reduction = read.summary.reduction(*pair, "change_over_spread", condition).value
    (row, *_) = [line for line in table.splitlines() if line.startswith(f"| {FGSM_LABEL}".replace("_", "\\_"))]
    for text in (*(f"{value:.2f}" for value in spread), f"{100 * reduction:.0f}\u00a0%", " 12 |"):
        assert text in row.replace("−", "-")
    assert f"{read.summary.estimate(pair[0], 'srocc_mos').value:.3f}" in table


def test_comparisons_on_different_photographs_do_not_stand_side_by_side(tmp_path: Path) -> None:
    _comparison(tmp_path / "nt-biq2021-light", 12, 0)
    _comparison(tmp_path / "nt-maniqa-biq2021-light", 12, 0, dataset="other")
    sentence = "the comparisons of hyperiqa and maniqa are of different datasets or parts; repeat one."
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        side_by_side(tmp_path)


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    sentence = f"{tmp_path} holds no exported evaluation; expected folders with info.json."
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        results_page(tmp_path)
