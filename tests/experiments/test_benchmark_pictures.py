"""Pictures of a benchmark's examples: made once in the run folder, never among kept records, with the scores shown."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from robustiqa.experiments.benchmark import Benchmark
from robustiqa.experiments.benchmark_pages import load_pages
from robustiqa.experiments.benchmark_pictures import FOLDER
from robustiqa.report.benchmark import benchmark_report
from robustiqa.report.benchmark_study import benchmark_study
from robustiqa.report.examples import examples
from tests.experiments.test_benchmark_run import Toys, files, photos, run, toy
from tests.experiments.test_benchmark_run import toys as toys
from tests.report.test_gallery import levels


def shown() -> Benchmark:
    return toy(
        sets=[{"name": "few", "photos": 4, "attacks": [{"name": "fgsm", "eps": "8/255"}]}],
        show=["examples"],
        clean=False,
    )


def test_examples_are_pictured_once_and_only_in_the_run_folder(tmp_path: Path, toys: Toys) -> None:
    kept = tmp_path / "results" / "paper"
    (found,), told = run(tmp_path / "run", shown(), kept=kept)
    (evaluation,) = found.sets
    chosen = examples(benchmark_study(evaluation, samples=1))
    assert len(chosen) == len(found.pictures) == sum(line.startswith("pictures of ") for line in told) >= 4
    clean = {photo.key: photo.read() for photo in photos()}
    for example, item in zip(chosen, found.pictures, strict=True):
        assert (item.key, item.goal, item.attacked_on) == (example.key, example.goal, example.farthest_on[0])
        assert {score.label for score in item.scores} == set(example.labels)
        for score in item.scores:
            scores = evaluation.attacked(score.label, example.attack, example.goal)
            record = scores.records[scores.keys.index(item.key)]
            assert (score.before, score.after) == pytest.approx((record.clean_score, record.score), abs=1e-4)
        pixels = (255 * clean[item.key]).round().permute(1, 2, 0).numpy()
        assert (levels(item.clean) == pixels).all()
        assert 0 < abs(levels(item.adversarial) - pixels).max() <= 8
    page = benchmark_report(found.sets, "", found.pictures, samples=20).html()
    assert page.count("data:image/png;base64,") == 3 * len(chosen)
    before = files(tmp_path / "run")
    (again,), told = run(tmp_path / "run", shown(), kept=kept)
    assert (told, files(tmp_path / "run")) == ([], before)
    assert benchmark_report(again.sets, "", again.pictures, samples=20).html() == page
    shutil.rmtree(tmp_path / "run" / FOLDER)
    (anew,), _ = run(tmp_path / "run", shown(), kept=kept)
    assert anew.pictures == found.pictures
    assert not list(kept.rglob("*.png"))
    bare = benchmark_report(load_pages(kept), samples=20)
    assert "data:image" not in bare.html()
    assert "Pictures need photographs and models" in bare.to_markdown()
    assert bare.tables == benchmark_report(found.sets, "", found.pictures, samples=20).tables
