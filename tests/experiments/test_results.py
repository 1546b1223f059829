from __future__ import annotations

import re
from pathlib import Path

import pytest

from robustiqa.core.errors import DataError
from robustiqa.experiments.comparison_evaluation import export
from robustiqa.experiments.results import build_results, main, results_page
from tests.evaluation.synthetic import synthetic

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
    main(["--results", str(results), "--page", str(page)])
    written = page.read_text(encoding="utf-8")
    assert written == results_page(results)
    places = [written.index(part) for part in ("# Results", "## Run a", "Clean", "## Run b")]
    assert places == sorted(places)


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    sentence = f"{tmp_path} holds no exported evaluation; expected folders with info.json."
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        results_page(tmp_path)
