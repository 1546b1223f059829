"""Benchmarks run on toys: to the end, again, in pieces, several at once, and from what comparisons trained."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from robustiqa.attacks.learned import STATE_FILE
from robustiqa.core.dataset import Dataset
from robustiqa.core.errors import SpecError
from robustiqa.core.model import QualityModel
from robustiqa.core.tensor_files import write_tensors
from robustiqa.evaluation.records import Record
from robustiqa.experiments.benchmark import Benchmark, benchmark_from_dict
from robustiqa.experiments.benchmark_pages import load_pages
from robustiqa.experiments.benchmark_run import Found, run_benchmarks
from robustiqa.experiments.comparison import Comparison
from robustiqa.experiments.declared import load_benchmarks
from robustiqa.experiments.reproduction import Place
from robustiqa.experiments.results import build_results
from robustiqa.experiments.subjects_spec import Fit, Subject, Subjects
from robustiqa.report.benchmark import benchmark_report
from robustiqa.training.loop import RunOptions
from robustiqa.training.spec import TrainingSpec
from tests.photos import tiny_dataset
from tests.toys import ConvModel

SUBJECTS = Subjects(
    models={"alpha": Subject("Alpha", "of-alpha"), "beta": Subject("Beta", "of-beta")},
    sources={"teacher": "paq2piq-biq2021-scratch"},
    fits={"uap": Fit("uap", "teacher", {"epochs": 3})},
)
COMPARISONS = {
    "of-alpha": Comparison(
        recipe=TrainingSpec(epochs=2).with_values({"penalty.weight": 1e-4}), weights=(1e-4,), seeds=(0,)
    ),
    "of-beta": Comparison(recipe=TrainingSpec(epochs=2, batch_size=8), weights=(2e-4,), seeds=(0,)),
}
SPEC: dict[str, Any] = {
    "title": "Toys",
    "models": ["hyperiqa", "dbcnn"],
    "show": ["clean", "attacks", "observations"],
    "clean": True,
    "sets": [
        {
            "name": "photographs",
            "photos": 3,
            "attacks": [
                {"name": "fgsm"},
                {"name": "ifgsm", "steps": 2},
                {"name": "uap", "eps": "8/255", "weights": "@uap"},
            ],
        }
    ],
    "source": "Somebody 2024, Table 2",
    "reported": {"rmse_change": {"fgsm": {"hyperiqa": [20.0, 10.0]}}},
}
TRAININGS = ["baseline-seed-0", "nt-0.0001-seed-0", "baseline-seed-0", "nt-0.0002-seed-0", "baseline-seed-0"]


def toy(**more: Any) -> Benchmark:
    numbers = [20.0, 10.0, 5.0][: len(more["sweep"]["multiples"]) if "sweep" in more else 2]
    made = benchmark_from_dict("toys", {**SPEC, "reported": {"rmse_change": {"fgsm": {"hyperiqa": numbers}}}, **more})
    reported = {"rmse_change": {"fgsm": {"alpha": numbers}}}
    return replace(made, models=("alpha", "beta"), subjects=SUBJECTS, reported=reported)


def photos() -> Dataset:
    return tiny_dataset(train=3, validation=8, test=5, low=16, high=20)


class Toys:
    """Stands in for training, fitting and loading: weights are a file that names a seeded toy."""

    def __init__(self) -> None:
        self.trained: list[str] = []
        self.fitted: list[str] = []

    def train(self, spec: TrainingSpec, dataset: Dataset, folder: Path, options: RunOptions) -> Path:
        self.trained.append(folder.name)
        folder.mkdir(parents=True, exist_ok=True)
        epochs = [{"epoch": number, "srocc": 0.8} for number in (1, 2)]
        (folder / "history.json").write_text(json.dumps({"epochs": epochs}))
        seed = spec.batch_size + round(1e5 * spec.penalty.weight) + round(1e6 * spec.penalty.h)
        for name in ("epoch-01", "epoch-02", "model"):
            (folder / f"{name}.safetensors").write_text(str(seed))
        return folder / "model.safetensors"

    def fit(self, spec: Any, model: QualityModel, dataset: Dataset, folder: Path, options: Any) -> Path:
        import torch

        self.fitted.append(f"{spec.attack} {spec.epochs}")
        tile = 8 / 255 * torch.ones(3, 4, 4)
        tensors = {"lower.perturbation": -tile, "raise.perturbation": tile}
        folder.mkdir(parents=True)
        write_tensors(folder / STATE_FILE, tensors, {"attack": "uap", "goals": ["lower", "raise"], "eps": 8 / 255})
        return folder / STATE_FILE

    @staticmethod
    def load(weights: Path) -> QualityModel:
        return ConvModel(seed=int(Path(weights).read_text()), crop_size=16).eval()


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Toys:
    return stand_in(monkeypatch)


def stand_in(monkeypatch: pytest.MonkeyPatch) -> Toys:
    made = Toys()
    models = "robustiqa.experiments.benchmark_models"
    monkeypatch.setattr("robustiqa.experiments.trainings.train", made.train)
    monkeypatch.setattr(f"{models}.fit_attack", made.fit)
    monkeypatch.setattr(f"{models}.load_model", made.load)
    monkeypatch.setattr(f"{models}.load_comparison", COMPARISONS.__getitem__)
    monkeypatch.setattr("robustiqa.experiments.benchmark_run.load_model", made.load)
    return made


def run(folder: Path, *benchmarks: Benchmark, kept: Path | None = None, **more: Any) -> tuple[list[Found], list[str]]:
    told: list[str] = []
    place = Place(
        folder=folder, kept=kept or folder / "kept", options=RunOptions(), device="cpu", batch_size=1, tell=told.append
    )
    return run_benchmarks(benchmarks, photos(), place, **more), told


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock")}


def test_a_benchmark_trains_fits_attacks_and_reports_and_then_does_nothing_more(tmp_path: Path, toys: Toys) -> None:
    (found,), told = run(tmp_path / "run", toy())
    assert toys.trained == TRAININGS
    assert toys.fitted == ["uap 3"]
    (evaluation,) = found.sets
    labels = ["Alpha, seed 0", "Alpha+NT, seed 0", "Beta, seed 0", "Beta+NT, seed 0"]
    assert evaluation.models == labels
    assert {label: len(evaluation.clean(label)) for label in labels} == dict.fromkeys(labels, 5)
    for label in labels:
        for attack in evaluation.attacks:
            assert len(evaluation.attacked(label, attack, "worst_of_both")) == 3
    made = benchmark_report(found.sets, samples=50)
    page = made.to_markdown()
    for text in ("20.000 → 10.000", "Somebody 2024", "FGSM", "UAP*", "Observation 4", "Alpha+NT"):
        assert text in page
    before = files(tmp_path / "run")
    (again,), told = run(tmp_path / "run", toy())
    assert again.sets == found.sets
    assert (told, toys.fitted, len(toys.trained)) == ([], ["uap 3"], len(TRAININGS))
    assert files(tmp_path / "run") == before
    assert benchmark_report(again.sets, samples=50).html() == made.html()
    assert str(tmp_path) not in json.dumps(evaluation.info)


def test_benchmarks_share_trainings_and_records(tmp_path: Path, toys: Toys) -> None:
    one = {"sets": [{"name": "few", "photos": 2, "attacks": [{"name": "fgsm"}]}]}
    few, many = replace(toy(**one), name="few"), toy()
    (first, second), told = run(tmp_path / "both", few, many)
    assert toys.trained == TRAININGS
    assert len(told) == len(set(told))
    assert len([line for line in told if line.startswith("fgsm(eps=4/255), lower: Alpha,")]) == 1
    assert len(first.sets[0].attacked("Alpha, seed 0", "fgsm(eps=4/255)", "rank_split")) == 2
    assert len(second.sets[0].attacked("Alpha, seed 0", "fgsm(eps=4/255)", "rank_split")) == 3
    (alone,), told = run(tmp_path / "both", few)
    assert (alone.sets, told) == (first.sets, [])
    (apart,), _ = run(tmp_path / "apart", few)
    assert untimed(apart.sets[0].records) == untimed(first.sets[0].records)
    assert apart.sets[0].info == first.sets[0].info


def untimed(records: tuple[Record, ...]) -> list[Record]:
    return [replace(record, seconds=None) for record in records]


def test_a_sweep_varies_one_number_and_takes_what_is_trained_already(tmp_path: Path, toys: Toys) -> None:
    one = [{"name": "few", "photos": 2, "attacks": [{"name": "fgsm"}]}]
    sweep = {"field": "penalty.weight", "multiples": [0, 1, 2]}
    swept = replace(toy(sets=one, show=["sweep"], sweep=sweep), models=("alpha",))
    (found,), _ = run(tmp_path / "run", swept)
    assert toys.trained == ["baseline-seed-0", "nt-0.0001-seed-0", "nt-0.0002-seed-0"]
    labels = ["Alpha, seed 0", "Alpha+NT, seed 0", "Alpha+NT, weight 0.0002, seed 0"]
    assert found.sets[0].models == labels
    assert "penalty.weight varied" in benchmark_report(found.sets, samples=20).to_markdown()
    steps = {"field": "penalty.h", "multiples": [1, 10], "recipe": {"epochs": 1}}
    other = replace(toy(sets=one, show=["sweep"], sweep=steps), models=("alpha",))
    (found,), told = run(tmp_path / "run", other)
    assert found.sets[0].models == [
        "Alpha+NT, epochs 1, weight 0.0001, seed 0",
        "Alpha+NT, epochs 1, h 0.1, weight 0.0001, seed 0",
    ]
    assert "training nt-0.0001-seed-0 (alpha-epochs-1-h-0.1)" in told


def test_what_is_found_on_one_model_is_scored_by_the_others(tmp_path: Path, toys: Toys) -> None:
    one = [{"name": "few", "photos": 2, "attacks": [{"name": "fgsm"}]}]
    crossed = toy(sets=one, clean=False, transfer=True, show=["transfer"])
    (found,), _ = run(tmp_path / "run", crossed)
    (evaluation,) = found.sets
    for source, scorer in itertools.product(evaluation.models, repeat=2):
        scores = evaluation.attacked(scorer, "fgsm(eps=4/255)", "worst_of_both", attacked_on=source)
        assert len(scores) == 2
    assert [table.name for table in benchmark_report(found.sets, samples=20).tables] == [
        "toys-transfer-change",
        "toys-transfer-srocc",
    ]
    (again,), told = run(tmp_path / "run", crossed)
    assert (again.sets, told) == (found.sets, [])


def test_a_stopped_run_goes_on_and_a_quick_run_never_mixes_with_a_result(
    tmp_path: Path, toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(BaseException):
        """As a kill: nothing after it is done."""

    (whole,), _ = run(tmp_path / "whole", toy())

    def stop(sentence: str) -> None:
        said.append(sentence)
        if len(said) % 4 == 0:
            raise Stopped

    said: list[str] = []
    kept = tmp_path / "run" / "kept"
    place = Place(folder=tmp_path / "run", kept=kept, options=RunOptions(), device="cpu", batch_size=1, tell=stop)
    stopped = 0
    while True:
        try:
            (found,) = run_benchmarks([toy()], photos(), place)
            break
        except Stopped:
            stopped += 1
    assert stopped > 5
    assert untimed(found.sets[0].records) == untimed(whole.sets[0].records)
    assert found.sets[0].info == whole.sets[0].info
    sentence = f"{kept / 'alpha' / 'whole'} holds records of other photographs, or of a quick run where this is none"
    with pytest.raises(SpecError, match=f"^{re.escape(sentence)}"):
        run(tmp_path / "new", toy().made_quick(), kept=kept)
    monkeypatch.setattr("robustiqa.experiments.benchmark_run.QUICK_PHOTOS", {"test": 4})
    (quick,), _ = run(tmp_path / "quick", toy().made_quick())
    assert "quick run, not a result" in benchmark_report(quick.sets, samples=20).title
    assert {len(quick.sets[0].clean(label)) for label in quick.sets[0].models} == {4}


def test_what_a_benchmark_can_not_mean_is_refused(tmp_path: Path) -> None:
    for change, sentence in (
        ({"shows": []}, "a benchmark has no 'shows'; did you mean 'show'?"),
        ({"show": ["clear"]}, "show of a benchmark holds 'clear'; did you mean 'clean'? Known: "),
        ({"models": ["hyperiq"]}, "models of a benchmark holds 'hyperiq'; did you mean 'hyperiqa'? Known: hyperiqa, "),
        ({"reported": {"rmse": {}}}, "reported numbers are of 'rmse'"),
        (
            {"reported": {"rmse_change": {"fgsm": {"hyperiqa": [20.0]}}}},
            "reported rmse_change of hyperiqa must be 2 numbers, got [20.0].",
        ),
        ({"sweep": {"field": "x"}}, "a sweep has field, multiples and recipe, got field."),
        ({"subjects": "lite"}, "unknown subjects 'lite'; did you mean 'light'? Known: light."),
    ):
        with pytest.raises(SpecError, match=f"^{re.escape(sentence)}"):
            benchmark_from_dict("toys", {**SPEC, **change})
    with pytest.raises(SpecError, match=r"^toys attacks hyperiqa, dbcnn, none of maniqa\.$"):
        benchmark_from_dict("toys", SPEC).of_models(["maniqa"])
    with pytest.raises(SpecError, match=r"^no benchmark attacks a model 'gamma'; they attack alpha, beta\.$"):
        run(tmp_path / "run", toy(), runs={"gamma": tmp_path})


def test_the_shipped_benchmarks_say_what_they_are_and_can_be_planned(tmp_path: Path) -> None:
    found = load_benchmarks()
    assert [one.name for one in found][:2] == ["paper-table-1", "paper-tables-2-3"]
    assert {"paper-table-4", "paper-figure-6", "paper-figure-7", "transfer"} <= {one.name for one in found}
    write_tensors(tmp_path / "file", {}, {"model": "paq2piq"})
    for one in found:
        for version in (one, one.made_quick()):
            plan = version.plan(dict.fromkeys(("uap", "surrogate"), str(tmp_path / "file")))
            assert not any(photos.left_out for photos in plan.sets)
            for photos in plan.sets:
                assert plan.runs(photos)
                assert photos.photos is not None and (not version.quick or photos.photos <= one.quick_photos)


def test_kept_records_are_enough_to_make_the_page_again(tmp_path: Path, toys: Toys) -> None:
    few = [{"name": "few", "photos": 2, "attacks": [{"name": "fgsm"}]}]
    benchmarks = (replace(toy(), order=2), replace(toy(sets=few, transfer=True), name="crossed", order=1))
    kept = tmp_path / "results" / "paper"
    found, _ = run(tmp_path / "run", *benchmarks, kept=kept)
    assert load_pages(kept) == [*found[1].sets, *found[0].sets]
    (kept / "notes.md").write_text("# How it was run")
    results = build_results(tmp_path / "results")
    assert "# How it was run" in results.page
    assert "Observation 4" in results.page
    before = files(kept)
    run(tmp_path / "run", *benchmarks, kept=kept)
    assert files(kept) == before
    assert str(tmp_path) not in "".join(path.read_text() for path in kept.rglob("*.json"))
