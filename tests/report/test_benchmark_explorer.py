"""Photo by photo on a page of benchmarks: parts of the same photographs are one, whatever shows them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from robustiqa.evaluation.records import CLEAN
from robustiqa.evaluation.views import Evaluation
from robustiqa.report import explorer as module
from robustiqa.report.benchmark import benchmark_report
from robustiqa.report.benchmark_explorer import benchmark_explorer
from robustiqa.report.benchmark_study import benchmark_study
from robustiqa.report.explorer import Explorer
from robustiqa.report.html import Report
from tests.evaluation.synthetic import FGSM_LABEL, IFGSM_LABEL
from tests.report.benchmarks import evaluation
from tests.report.reading import kept
from tests.report.test_html import ITEM

LABELS = ["base-1", "nt-1", "base-2", "nt-2"]


def explored(*found: Evaluation) -> Explorer:
    made = benchmark_explorer([benchmark_study(one, samples=2).study for one in found])
    assert made is not None
    return made


def cropped(found: Evaluation) -> Evaluation:
    return replace(found, info={**found.info, "dataset": {**found.info["dataset"], "name": "made-up, crops"}})


def test_parts_that_share_records_show_each_photograph_under_each_attack_once() -> None:
    whole = evaluation(20, show=["attacks"])
    one = explored(whole)
    assert [(trial.attack, trial.model) for trial in one.trials] == [
        (attack, label) for attack in (FGSM_LABEL, IFGSM_LABEL) for label in LABELS
    ]
    few = kept(whole, lambda record: record.key < "photo-0007.jpg")
    only_clean = kept(whole, lambda record: record.attack == CLEAN)
    for parts in (
        [whole, whole],
        [few, whole],
        [whole, few],
        [only_clean, few, whole],
        [evaluation(20, transfer=True)],
    ):
        assert explored(*parts).document() == one.document()


def test_the_scores_are_those_of_the_records() -> None:
    found = evaluation(20)
    made = explored(found, evaluation(20, show=["clean"]))
    trial = next(trial for trial in made.trials if (trial.model, trial.attack) == ("nt-2", IFGSM_LABEL))
    scores = found.attacked("nt-2", IFGSM_LABEL, "worst_of_both")
    changes = [trial.outcomes[goal].change[place] for place, goal in enumerate(trial.choices["worst_of_both"])]
    assert changes == pytest.approx(scores.change.tolist(), abs=0.051)
    assert [made.photos[place] for place in trial.photos] == scores.keys


def test_crops_are_other_photographs_and_pictures_belong_to_those_that_are_examples() -> None:
    crops, whole = cropped(evaluation(9, show=["attacks"])), evaluation(9, show=["examples"])
    made = explored(crops, whole)
    assert made.attacks[:2] == [f"made-up: {FGSM_LABEL}", f"made-up: {IFGSM_LABEL}"]
    assert made.attacks[2:] == [f"made-up, crops: {FGSM_LABEL}", f"made-up, crops: {IFGSM_LABEL}"]
    assert len(made.photos) == 18
    item = replace(ITEM, key="photo-0004.jpg", why="an example", attacked_on="nt-1")
    page = benchmark_report([crops, whole], pictures=[item], samples=2).html()
    assert f'data-photo="4" data-model="{LABELS.index("nt-1")}"' in page


def test_nothing_attacked_is_nothing_to_explore() -> None:
    found = kept(evaluation(9, show=["clean"]), lambda record: record.attack == CLEAN)
    assert benchmark_explorer([benchmark_study(found, samples=2).study]) is None


def test_a_page_holds_only_so_many_and_keeps_those_that_moved_farthest(monkeypatch: pytest.MonkeyPatch) -> None:
    found = evaluation(40, show=["clean"])
    outcomes = sum(record.attack != CLEAN for record in found.records)
    monkeypatch.setattr(module, "MOST_OUTCOMES", outcomes // 4)
    made: Report = benchmark_report([found, found], samples=2)
    assert made.explorer is not None
    moved: dict[str, float] = {}
    for record in found.records:
        moved[record.key] = max(moved.get(record.key, 0.0), abs(record.score - record.clean_score))
    assert made.explorer.photos == tuple(sorted(sorted(moved, key=lambda key: -moved[key])[:10]))
    assert "the 10 photographs that moved farthest are here; 30 are left out" in made.html()
