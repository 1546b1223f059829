from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from robustiqa.core.dataset import Dataset
from robustiqa.core.errors import DataError, SpecError, WorkFailedError
from robustiqa.core.model import QualityModel
from robustiqa.evaluation.exported import load_exported
from robustiqa.evaluation.views import Evaluation
from robustiqa.experiments.comparison import Comparison
from robustiqa.experiments.comparison_evaluation import standard_stages
from robustiqa.experiments.reproduction import Place, reproduce
from robustiqa.experiments.results import results_page
from robustiqa.training.loop import RunOptions
from robustiqa.training.spec import TrainingSpec
from tests.photos import tiny_dataset
from tests.toys import ConvModel

COMPARISON = Comparison(
    recipe=TrainingSpec(epochs=2), weights=(1e-4, 1e-3), seeds=(0, 1), noise_stds=(0.1,), ifgsm_photos=2
)
LABELS = [
    *("baseline, seed 0", "baseline, seed 1", "NT, seed 0", "NT, seed 1"),
    *("matched accuracy, seed 0", "matched accuracy, seed 1", "noise, seed 0"),
]
TRAININGS = [
    *("baseline-seed-0", "baseline-seed-1"),
    *("nt-0.0001-seed-0", "nt-0.001-seed-0", "nt-0.001-seed-1", "noise-0.1-seed-0"),
]


@dataclass
class Toys:
    """Stands in for training and loading: weights are a file that names a seeded toy."""

    loss: float = 0.0
    shift: int = 0
    trained: list[str] = field(default_factory=list)

    def train(self, spec: TrainingSpec, dataset: Dataset, folder: Path, options: RunOptions) -> Path:
        self.trained.append(folder.name)
        folder.mkdir(parents=True, exist_ok=True)
        last = 0.8 - (self.loss if spec.penalty.weight else 0)
        epochs = [{"epoch": 1, "srocc": 0.7}, {"epoch": 2, "srocc": last}]
        (folder / "history.json").write_text(json.dumps({"epochs": epochs}))
        for name in ("epoch-01", "epoch-02", "model"):
            (folder / f"{name}.safetensors").write_text(str(self.shift + 10 * spec.seed + (spec.penalty.weight > 0)))
        return folder / "model.safetensors"

    @staticmethod
    def load(weights: Path) -> QualityModel:
        return ConvModel(seed=int(weights.read_text())).eval()


def run(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    kept: Path,
    toys: Toys,
    dataset: Dataset | None = None,
    comparison: Comparison = COMPARISON,
) -> tuple[Evaluation, list[str]]:
    first, second = standard_stages()
    few_steps = replace(second, attacks=(replace(second.attacks[0], steps=2), second.attacks[1]))  # type: ignore[call-arg]

    def stages(photos: int | None) -> Any:
        return first, replace(few_steps, photos=photos)

    monkeypatch.setattr("robustiqa.experiments.trainings.train", toys.train)
    for module in ("comparison_evaluation", "reproduction"):
        monkeypatch.setattr(f"robustiqa.experiments.{module}.load_model", toys.load)
    monkeypatch.setattr("robustiqa.experiments.reproduction.standard_stages", stages)
    told: list[str] = []
    place = Place(folder=folder, kept=kept, options=RunOptions(), device="cpu", batch_size=2, tell=told.append)
    given = tiny_dataset(train=2, validation=8, test=3, low=20, high=21) if dataset is None else dataset
    return reproduce(comparison, given, place), told


def test_a_comparison_is_trained_chosen_evaluated_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    toys = Toys()
    found, told = run(monkeypatch, tmp_path / "run", tmp_path / "kept", toys)
    assert sorted(toys.trained) == sorted(TRAININGS)
    assert found.models == list(found.info["models"]) == LABELS
    fgsm, ifgsm = found.attacks[0], found.attacks[2]
    for label in LABELS:
        assert len(found.attacked(label, fgsm, "worst_of_both")) == 3
        assert len(found.attacked(label, ifgsm, "worst_of_both")) == 2
    notes = found.info["info"]
    assert notes["comparison"]["controls"] == {"matched accuracy": LABELS[4:6], "noise": LABELS[6:]}
    assert (notes["choice"]["weight"], notes["choice"]["seeds"]) == (1e-3, [0, 1])
    assert sorted(notes["choice"]["validation_srocc"]) == sorted(TRAININGS)
    assert list(notes["calibration"]) == LABELS
    assert told.index("fgsm: baseline, seed 1") < told.index("training nt-0.0001-seed-0")  # as soon as it can be
    (tmp_path / "kept" / "notes.md").write_text("# Made up")
    assert "# Made up" in results_page(tmp_path)


def test_kept_records_are_enough_to_finish_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found, _ = run(monkeypatch, tmp_path / "run", tmp_path / "kept", Toys())
    files = {path: path.read_bytes() for path in (tmp_path / "kept").iterdir()}
    toys = Toys()
    again, told = run(monkeypatch, tmp_path / "elsewhere", tmp_path / "kept", toys)
    assert (toys.trained, told) == ([], [])
    assert again == found
    assert {path: path.read_bytes() for path in (tmp_path / "kept").iterdir()} == files


def test_only_what_is_missing_is_made_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found, _ = run(monkeypatch, tmp_path / "run", tmp_path / "kept", Toys())
    path = tmp_path / "kept" / "info.json"
    info = json.loads(path.read_text())
    del info["models"]["NT, seed 1"]
    path.write_text(json.dumps(info))
    (tmp_path / "kept" / "nt-seed-1.jsonl.gz").unlink()
    toys = Toys()
    again, told = run(monkeypatch, tmp_path / "elsewhere", tmp_path / "kept", toys)
    assert toys.trained == ["nt-0.001-seed-1"]
    assert told == ["training nt-0.001-seed-1", "fgsm: NT, seed 1", "ifgsm: NT, seed 1"]
    assert again.records == found.records


def test_records_of_other_weights_never_mix_under_one_label(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found, _ = run(monkeypatch, tmp_path / "run", tmp_path / "kept", Toys())
    more = replace(COMPARISON, ifgsm_photos=3)
    again, _ = run(monkeypatch, tmp_path / "elsewhere", tmp_path / "kept", Toys(shift=5), comparison=more)
    for label in LABELS:
        assert again.info["models"][label]["state"] != found.info["models"][label]["state"]
        assert len({r.clean_score for r in again.records if r.scored_by == label}) == 3  # one a photograph
        assert len(again.attacked(label, again.attacks[2], "worst_of_both")) == 3


def test_baselines_are_kept_even_where_no_weight_holds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    toys = Toys(loss=0.2)
    with pytest.raises(WorkFailedError, match=r"^no penalty weight keeps the validation SROCC"):
        run(monkeypatch, tmp_path / "run", tmp_path / "kept", toys)
    kept = load_exported(tmp_path / "kept")
    assert kept.models == LABELS[:2]
    noted = json.loads((tmp_path / "kept" / "trainings.json").read_text())
    assert noted["nt-0.001-seed-0"]["validation_srocc"] == [0.7, pytest.approx(0.6)]
    assert "baseline, seed 0" in results_page(tmp_path)


def test_another_dataset_and_one_without_a_test_part_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(monkeypatch, tmp_path / "run", tmp_path / "kept", Toys())
    other = tiny_dataset(train=2, validation=8, test=4, low=20, high=21)
    message = f"{tmp_path / 'kept'} holds records of another dataset than 'tiny'; choose another."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        run(monkeypatch, tmp_path / "new", tmp_path / "kept", Toys(), other)
    without = replace(other, parts={name: keys for name, keys in other.parts.items() if name != "test"})
    with pytest.raises(DataError, match=r"^dataset 'tiny' has no part 'test'"):
        run(monkeypatch, tmp_path / "new", tmp_path / "new-kept", Toys(), without)
    assert not (tmp_path / "new").exists()


def test_a_quick_run_uses_few_photographs_says_so_and_never_mixes_with_a_result(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("robustiqa.experiments.comparison.QUICK_PHOTOS", {"train": 2, "test": 4})
    data = tiny_dataset(train=3, validation=8, test=5, low=20, high=21)
    toys = Toys(loss=0.5)
    small = COMPARISON.made_quick()
    found, _ = run(monkeypatch, tmp_path / "run", tmp_path / "kept", toys, data, small)
    assert toys.trained == ["baseline-seed-0", "nt-0.0001-seed-0", "noise-0.1-seed-0"]
    assert found.info["info"]["quick"] is True
    assert {label: len(found.clean(label)) for label in found.models} == dict.fromkeys(found.models, 4)
    (tmp_path / "kept" / "notes.md").write_text("# Made up")
    page = results_page(tmp_path)
    tables = page.split("\n## ")[1:]
    assert sum("quick run, not a result" in table for table in tables) == len(tables) == 1  # no table of results

    full = replace(small, quick=False)
    message = f"{tmp_path / 'kept'} holds a quick run, which is no result; choose another folder to keep records in."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        run(monkeypatch, tmp_path / "new", tmp_path / "kept", toys, data, full)
    run(monkeypatch, tmp_path / "new", tmp_path / "results", toys, data, full)
    message = (
        f"{tmp_path / 'results'} holds results, and a quick run is none; choose another folder to keep records in."
    )
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        run(monkeypatch, tmp_path / "newer", tmp_path / "results", toys, data, small)
