"""Examples: the rule that chooses photographs, against NumPy; the table of their scores; pictures kept as files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robustiqa.evaluation.records import CLEAN, Record
from robustiqa.report.benchmark import benchmark_report
from robustiqa.report.benchmark_study import benchmark_study
from robustiqa.report.examples import example_sentences, examples, examples_table
from robustiqa.report.gallery_files import ITEM_FILE, read_item, write_item
from tests.evaluation.synthetic import FGSM_LABEL, IFGSM_LABEL
from tests.report.benchmarks import evaluation, read, varied
from tests.report.reading import cell_of, changed, titles
from tests.report.test_html import ITEM

COUNT = 60
THIRD = COUNT // 3


@pytest.mark.parametrize("goal", ["lower", "raise"])
@pytest.mark.parametrize("attack", [FGSM_LABEL, IFGSM_LABEL])
def test_the_farthest_of_the_best_or_worst_third_is_chosen_on_either_model(attack: str, goal: str) -> None:
    found, studied = evaluation(COUNT), read(COUNT)
    for model, labels in (("alpha", ("base-1", "nt-1")), ("beta", ("base-2", "nt-2"))):
        expected = {}
        for label in labels:
            scores = found.attacked(label, attack, goal)
            assert scores.mos is not None
            by_opinion = np.argsort(scores.mos)
            third = by_opinion[-THIRD:] if goal == "lower" else by_opinion[:THIRD]
            change = scores.change[third]
            expected[label] = scores.keys[third[change.argmin() if goal == "lower" else change.argmax()]]
        chosen = [e for e in examples(studied) if (e.pair.model, e.attack, e.goal) == (model, attack, goal)]
        assert {label: e.key for e in chosen for label in e.farthest_on} == expected


def test_the_table_has_the_scores_that_the_records_say() -> None:
    found, studied = evaluation(COUNT), read(COUNT)
    table = examples_table(studied)
    assert table is not None
    one = examples(studied)[0]
    row = f"high to low, FGSM, {one.key}"
    assert titles(table)[0] == row
    for side, label in (("base", "base-1"), ("+NT", "nt-1")):
        scores = found.attacked(label, FGSM_LABEL, "lower")
        place = scores.keys.index(one.key)
        assert scores.mos is not None
        assert cell_of(table, row, f"{side}: before", "Alpha").text == f"{scores.before[place]:.1f}"
        assert cell_of(table, row, f"{side}: after", "Alpha").text == f"{scores.after[place]:.1f}".replace("-", "−")
        assert cell_of(table, row, "Opinion", "Alpha").text == f"{scores.mos[place]:.1f}"
    assert table.notes[0].startswith("Chosen by a rule: of the third of the photographs with the highest opinions ")
    assert table.notes[1].startswith("Pictures need photographs and models: ")


@pytest.mark.parametrize(
    ("other", "said"), [("photo-0008.jpg", "photo-0008.jpg"), ("photo-0007.jpg", "the same photograph")]
)
def test_the_sentence_tells_the_farthest_on_a_plain_model_and_on_its_defended_one(other: str, said: str) -> None:
    far = {("base-1", "photo-0007.jpg"): -900.0, ("nt-1", other): -500.0}

    def moved(record: Record) -> Record:
        record = replace(record, mos=99.0) if record.key in ("photo-0007.jpg", "photo-0008.jpg") else record
        if (record.attack, record.goal) != (FGSM_LABEL, "lower"):
            return record
        return replace(record, score=record.clean_score + far.get((record.scored_by, record.key), 0.0))

    found = changed(evaluation(COUNT), moved)
    ends = []
    for (label, key), shift in far.items():
        clean = dict(zip(found.clean(label).keys, found.clean(label).before, strict=True))[key]
        ends.append(f"from {clean:.1f} to {clean + shift:.1f}".replace("-", "−"))
    assert list(example_sentences(benchmark_study(found, samples=20))) == [
        f"FGSM moves photo-0007.jpg, rated 99.0 by people, {ends[0]} on Alpha; "
        f"on Alpha+NT the farthest that way is {said}, {ends[1]}."
    ]
    assert list(example_sentences(varied())) == []


def test_a_photograph_that_is_farthest_on_both_models_stands_once() -> None:
    def far(record: Record) -> Record:
        if record.attack == CLEAN or record.key != "photo-0007.jpg":
            return replace(record, mos=99.0) if record.key == "photo-0007.jpg" else record
        return replace(record, mos=99.0, score=record.clean_score + (-90 if record.goal == "lower" else 1))

    studied = benchmark_study(changed(evaluation(COUNT), far), samples=20)
    lowered = [e for e in examples(studied) if e.goal == "lower" and e.attack == FGSM_LABEL]
    assert [(e.key, e.chosen) for e in lowered] == [
        ("photo-0007.jpg", "Alpha and Alpha+NT"),
        ("photo-0007.jpg", "Beta and Beta+NT"),
    ]


def test_without_opinions_the_plain_models_clean_scores_say_what_is_good() -> None:
    studied = benchmark_study(changed(evaluation(COUNT), lambda record: replace(record, mos=None)), samples=20)
    best = sorted(studied.study.evaluation.clean("base-1").records, key=lambda record: record.clean_score)[-THIRD:]
    high = {e.key for e in examples(studied) if (e.pair.model, e.goal) == ("alpha", "lower")}
    assert high <= {record.key for record in best}
    table = examples_table(studied)
    assert table is not None
    assert "the highest clean scores on the plain model" in table.notes[0]
    assert cell_of(table, titles(table)[0], "Opinion", "Alpha").value == "—"


def test_there_is_no_table_where_nothing_is_compared() -> None:
    assert examples_table(varied()) is None


def test_a_page_with_pictures_says_what_each_is_an_example_of() -> None:
    lowered = replace(ITEM, goal="lower", why="Alpha, high to low, farthest on Alpha", attacked_on="base-1")
    raised = replace(ITEM, goal="raise", why="Alpha, low to high, farthest on Alpha+NT", attacked_on="nt-1")
    page = benchmark_report([evaluation(12, show=["examples"])], pictures=[lowered, raised], samples=20).html()
    for text in (
        "Alpha, low to high, farthest on Alpha+NT",
        "attacked on nt-1, SSIM ",
        "lower every score, at most 2 of 255 levels a pixel; ",
        "those found on the model that each names",
    ):
        assert text in page
    assert "worst of both directions, at most" not in page


def test_an_item_of_a_gallery_survives_being_written(tmp_path: Path) -> None:
    item = replace(ITEM, mos=None, goal="raise", why="an example")
    write_item(item, tmp_path / "one")
    assert read_item(tmp_path / "one") == item
    assert {path.name for path in (tmp_path / "one").iterdir()} == {
        ITEM_FILE,
        "clean.png",
        "adversarial.png",
        "difference.png",
    }
