from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from robustiqa.core.dataset import Dataset
from robustiqa.core.model import QualityModel
from robustiqa.evaluation.exported import export, load_exported, merge
from robustiqa.evaluation.records import CLEAN
from robustiqa.evaluation.views import Evaluation
from robustiqa.experiments.comparison_evaluation import Stage, evaluate_model, standard_stages
from robustiqa.metrics.mapping import fit_logistic
from tests.evaluation.synthetic import FGSM_LABEL, IFGSM_LABEL, MODELS, RANDOM_LABEL, synthetic
from tests.photos import tiny_dataset
from tests.toys import ConvModel

FIRST_MODELS = {label: MODELS[label] for label in ("base-1", "nt-1")}


def toy_stages() -> tuple[Stage, ...]:
    """The standard stages, with fewer steps."""
    first, second = standard_stages()
    ifgsm, noise = second.attacks
    return first, replace(second, attacks=(replace(ifgsm, steps=2), noise))  # type: ignore[call-arg]


def evaluate_toy(
    monkeypatch: pytest.MonkeyPatch, folder: Path, dataset: Dataset, stage: Stage
) -> tuple[Evaluation, dict[str, float] | None]:
    def load(weights: Path) -> QualityModel:
        assert weights == Path("toy.safetensors")
        return ConvModel(seed=0).eval()

    monkeypatch.setattr("robustiqa.experiments.comparison_evaluation.load_model", load)
    return evaluate_model("toy", Path("toy.safetensors"), stage, dataset, folder, device="cpu", batch_size=2)


def by_identity(evaluation: Evaluation) -> dict[tuple[str, ...], Any]:
    return {record.identity: record for record in evaluation.records}


def test_standard_stages_are_the_two_attacks_each_beside_noise_of_its_size() -> None:
    first, second = standard_stages()
    assert [attack.label for attack in first.attacks] == [FGSM_LABEL, RANDOM_LABEL]
    assert [attack.label for attack in second.attacks] == [IFGSM_LABEL, "random_sign(eps=4/255)"]
    assert {attack.objective.name for stage in (first, second) for attack in stage.attacks} == {  # type: ignore[union-attr]
        "worst_of_both"
    }


def test_a_stage_attacks_the_test_part_in_both_directions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    dataset = tiny_dataset(train=0, validation=8, test=3, low=20, high=21)
    found, _ = evaluate_toy(monkeypatch, tmp_path, dataset, toy_stages()[1])
    assert found.models == ["toy"]
    assert {record.key for record in found.records} == set(dataset.parts["test"])
    assert [sorted(found.goals("toy", attack)) for attack in found.attacks] == [["lower", "raise"]] * 2
    assert len(found.clean("toy")) == 3


def test_the_logistic_is_fitted_on_clean_validation_scores_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[tuple[list[float], list[float]]] = []

    def noted(scores: Any, mos: Any) -> Any:
        seen.append((list(scores), list(mos)))
        return fit_logistic(scores, mos)

    monkeypatch.setattr("robustiqa.experiments.comparison_evaluation.fit_logistic", noted)
    dataset = tiny_dataset(train=0, validation=8, test=3, low=20, high=21)
    evaluate_toy(monkeypatch, tmp_path, dataset, toy_stages()[0])
    model = ConvModel(seed=0).eval()
    expected = [model.score(photo.read()[None]).item() for photo in dataset.part("validation")]
    ((scores, mos),) = seen
    assert scores == pytest.approx(expected, rel=1e-5)
    assert mos == [photo.mos for photo in dataset.part("validation")]


def test_a_model_that_was_evaluated_is_read_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    dataset = tiny_dataset(train=0, validation=8, test=2, low=20, high=20)
    first = evaluate_toy(monkeypatch, tmp_path, dataset, toy_stages()[0])
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jsonl")}
    assert evaluate_toy(monkeypatch, tmp_path, dataset, toy_stages()[0]) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jsonl")} == written


def test_a_stage_may_meet_the_same_few_photographs_whatever_the_model() -> None:
    dataset = tiny_dataset(train=0, validation=1, test=6, low=20, high=20).part("test")
    few = Stage("ifgsm", (), photos=2).of(dataset)
    assert len(few) == 2
    assert Stage("ifgsm", (), photos=2).of(dataset) == few
    nested = Stage("ifgsm", (), photos=4).of(dataset)
    assert {photo.key for photo in few} < {photo.key for photo in nested}
    assert Stage("ifgsm", ()).of(dataset) == Stage("ifgsm", (), photos=9).of(dataset) == dataset


def test_a_stage_is_covered_only_by_every_attack_direction_and_photograph() -> None:
    evaluation = synthetic(4, models=FIRST_MODELS, attacks=[FGSM_LABEL, RANDOM_LABEL])
    photos = tiny_dataset(train=0, validation=0, test=4)
    keys = sorted({record.key for record in evaluation.records})
    photos = replace(
        photos, photos=tuple(replace(p, key=k) for p, k in zip(photos.photos, keys, strict=True)), parts={}
    )
    fgsm, ifgsm = standard_stages()
    assert fgsm.covered_by(evaluation, "base-1", photos)
    assert not fgsm.covered_by(evaluation, "unknown", photos)
    assert not ifgsm.covered_by(evaluation, "base-1", photos)
    for missing in range(len(evaluation.records)):
        fewer = replace(evaluation, records=evaluation.records[:missing] + evaluation.records[missing + 1 :])
        gone = evaluation.records[missing]
        needed = gone.scored_by == gone.attacked_on == "base-1" and gone.attack != CLEAN
        assert fgsm.covered_by(fewer, "base-1", photos) == (not needed)


def test_merging_keeps_each_record_once_and_all_models_and_attacks() -> None:
    parts = [
        synthetic(6, models={"base-1": MODELS["base-1"]}, attacks=[FGSM_LABEL]),
        synthetic(6, models=FIRST_MODELS, attacks=[FGSM_LABEL, IFGSM_LABEL]),
    ]
    merged = merge(parts, {"title": "both"})
    every = {**by_identity(parts[1]), **by_identity(parts[0])}  # of two, the first counts
    assert by_identity(merged) == every
    assert len(merged.records) == len(every)
    assert merged.info["attacks"] == [FGSM_LABEL, IFGSM_LABEL]
    assert list(merged.info["models"]) == ["base-1", "nt-1"]
    assert merged.info["info"] == {"title": "both"}
    assert merged.info["dataset"] == parts[0].info["dataset"]


def test_what_is_exported_is_loaded_again(tmp_path: Path) -> None:
    evaluation = synthetic(5, transfer=True, info={"title": "made up"})
    export(evaluation, tmp_path)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == sorted([*(f"{label}.jsonl.gz" for label in MODELS), "info.json"])
    back = load_exported(tmp_path)
    assert by_identity(back) == by_identity(evaluation)
    assert len(back.records) == len(evaluation.records)
    assert back.info == evaluation.info
    assert (back.models, back.attacks) == (evaluation.models, evaluation.attacks)
    for label in evaluation.models:
        assert back.clean(label) == evaluation.clean(label)
        assert back.attacked(label, FGSM_LABEL, "worst_of_both") == evaluation.attacked(
            label, FGSM_LABEL, "worst_of_both"
        )


def test_exports_are_equal_byte_for_byte_and_replace_earlier_ones(tmp_path: Path) -> None:
    evaluation = synthetic(4)
    export(evaluation, tmp_path / "one")
    export(evaluation, tmp_path / "two")
    kept = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()} == kept
    fewer = synthetic(4, models=FIRST_MODELS)
    export(fewer, tmp_path / "one")
    assert load_exported(tmp_path / "one").models == ["base-1", "nt-1"]
    assert by_identity(load_exported(tmp_path / "one")) == by_identity(fewer)


def test_files_are_named_after_models_in_plain_letters(tmp_path: Path) -> None:
    export(synthetic(2, models={"NT, seed 0": MODELS["nt-1"]}), tmp_path)
    assert (tmp_path / "nt-seed-0.jsonl.gz").is_file()
    assert {record.attack for record in load_exported(tmp_path).records} >= {CLEAN, FGSM_LABEL}
