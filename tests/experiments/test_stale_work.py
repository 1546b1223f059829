"""What lies in a run folder from other work is refused or made again, never taken for a result."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from robustiqa.core.errors import SpecError
from robustiqa.core.run_folder import open_run_folder
from robustiqa.experiments.comparison import Comparison
from robustiqa.experiments.subjects_spec import subjects_from_dict
from robustiqa.experiments.trainings import Trainings, Variant
from robustiqa.training.build import resolve
from robustiqa.training.loop import RunOptions
from robustiqa.training.spec import TrainingSpec
from tests.experiments.test_benchmark_run import COMPARISONS, Toys, run, stand_in, toy
from tests.photos import tiny_dataset

RECIPE = TrainingSpec(epochs=2)


def finished(folder: Path, recipe: TrainingSpec) -> None:
    open_run_folder(folder, resolve(recipe.with_values({"penalty.weight": 0.0}), tiny_dataset(3, 8, 5)))
    (folder / "model.safetensors").write_text("7")
    (folder / "history.json").write_text(json.dumps({"epochs": [{"epoch": 1, "srocc": 0.5}]}))


def trainings(folder: Path) -> Trainings:
    return Trainings(RECIPE, tiny_dataset(3, 8, 5), folder, RunOptions(), lambda sentence: None)


def test_a_model_that_was_trained_otherwise_is_not_taken(tmp_path: Path) -> None:
    variant = Variant(seed=0)
    finished(tmp_path / "same" / variant.name, RECIPE)
    assert trainings(tmp_path / "same").known(variant)
    finished(tmp_path / "short" / variant.name, replace(RECIPE, epochs=1))
    with pytest.raises(SpecError, match=r"baseline-seed-0 holds another run \(epochs is 1"):
        trainings(tmp_path / "short").get(variant)
    with pytest.raises(SpecError, match="holds another run"):
        unasked = trainings(tmp_path / "short")
        unasked.units(variant)
        unasked.file(unasked.weights(variant))


def test_records_of_another_weight_under_the_same_label_are_not_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch)
    few = {"sets": [{"name": "few", "photos": 2, "attacks": [{"name": "fgsm"}]}]}
    run(tmp_path / "run", toy(**few))
    heavier = Comparison(recipe=RECIPE, weights=(3e-4,), seeds=(0,))
    monkeypatch.setattr(
        "robustiqa.experiments.benchmark_models.load_comparison", {**COMPARISONS, "of-alpha": heavier}.__getitem__
    )
    kept = tmp_path / "run" / "kept" / "alpha" / "whole"
    with pytest.raises(
        SpecError, match=f"^{re.escape(str(kept))} holds records of other weights of 'Alpha\\+NT, seed 0'"
    ):
        run(tmp_path / "run", toy(**few))


def test_a_folder_or_file_that_is_not_there_is_named_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toys: Toys = stand_in(monkeypatch)
    with pytest.raises(
        SpecError, match=r"missing is not the run folder of a comparison: it has no folder 'trainings'\.$"
    ):
        run(tmp_path / "run", toy(), runs={"alpha": tmp_path / "missing"})
    with pytest.raises(SpecError, match=r"^there is no file .*uap for 'uap'\.$"):
        run(tmp_path / "run", toy(), files={"uap": str(tmp_path / "uap")})
    assert not toys.trained


def test_the_value_of_the_recipe_itself_is_trained_once_for_several_sweeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toys = stand_in(monkeypatch)
    few = [{"name": "few", "photos": 2, "attacks": [{"name": "fgsm"}]}]
    steps = {"field": "penalty.h", "multiples": [1, 10], "recipe": {"epochs": 1}}
    weights = {"field": "penalty.weight", "multiples": [1, 2], "recipe": {"epochs": 1}}
    swept = [
        replace(toy(sets=few, show=["sweep"], sweep=sweep), models=("alpha",), name=name)
        for name, sweep in (("steps", steps), ("weights", weights))
    ]
    run(tmp_path / "run", *swept)
    assert sorted(toys.trained) == [
        "baseline-seed-0",
        "nt-0.0001-seed-0",
        "nt-0.0001-seed-0",
        "nt-0.0001-seed-0",
        "nt-0.0002-seed-0",
    ]  # the pair, then h times 1 and 10 and weight times 1 and 2, of which two are one


def test_two_models_of_one_name_are_refused() -> None:
    said = {"title": "HyperIQA", "comparison": "nt-biq2021-light"}
    for other in ("HyperIQA", "HyperIQA+NT"):
        with pytest.raises(SpecError, match=r"^two models are called 'HyperIQA(\+NT)?'; records can't tell"):
            subjects_from_dict({"models": {"one": said, "two": {**said, "title": other}}})
