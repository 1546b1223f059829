from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from robustiqa.core.dataset import Dataset
from robustiqa.core.errors import DataError, SpecError, WorkFailedError
from robustiqa.experiments.comparison import (
    Comparison,
    comparison_from_dict,
    comparison_info,
    load_comparison,
    train_and_choose,
)
from robustiqa.experiments.trainings import Trained, Trainings
from robustiqa.training.loop import RunOptions
from robustiqa.training.spec import TrainingSpec
from tests.photos import tiny_dataset

BASELINE = (0.50, 0.70, 0.80)
Outcome = Callable[[float, int, float], Sequence[float]]  # of weight, seed and noise: validation SROCC by epoch


@dataclass
class FakeTraining:
    """Stands in for `train`: writes the history that `outcome` makes up, and remembers what it was asked for."""

    outcome: Outcome
    asked: list[tuple[TrainingSpec, Path, RunOptions]] = field(default_factory=list)

    def __call__(self, spec: TrainingSpec, dataset: Dataset, folder: Path, options: RunOptions) -> Path:
        self.asked.append((spec, folder, options))
        folder.mkdir(parents=True, exist_ok=True)
        reached = self.outcome(spec.penalty.weight, spec.seed, spec.data.noise_std)
        history = {"epochs": [{"epoch": number + 1, "srocc": srocc} for number, srocc in enumerate(reached)]}
        (folder / "history.json").write_text(json.dumps(history))
        (folder / "model.safetensors").touch()
        return folder / "model.safetensors"

    @property
    def names(self) -> list[str]:
        """Folders in the order in which they were first asked for."""
        return list(dict.fromkeys(folder.name for _, folder, _ in self.asked))


def ends(*last: float) -> Sequence[float]:
    return (0.1, 0.2, *last)


def choose(
    monkeypatch: pytest.MonkeyPatch, folder: Path, outcome: Outcome, dataset: Dataset | None = None, **options: Any
) -> tuple[Any, FakeTraining, list[str]]:
    """What is chosen, what was trained for it and what was said."""
    fake, told = FakeTraining(outcome), list[str]()
    monkeypatch.setattr("robustiqa.experiments.trainings.train", fake)
    comparison = Comparison(recipe=TrainingSpec(), **{"weights": (1e-4, 1e-3, 1e-2), **options})
    given = tiny_dataset(train=2) if dataset is None else dataset
    controls = comparison.controls
    trainings = Trainings(comparison.recipe, given, folder, RunOptions(), told.append, controls=controls)
    return train_and_choose(comparison, trainings), fake, told


def by_weight(losses: dict[float, float]) -> Outcome:
    """Every seed of a weight loses the same; the baseline ends at .8."""

    def outcome(weight: float, seed: int, noise: float) -> Sequence[float]:
        return BASELINE if weight == 0 else ends(0.80 - losses[weight])

    return outcome


def test_the_largest_weight_within_the_allowed_loss_is_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    outcome = by_weight({1e-4: 0.01, 1e-3: 0.029, 1e-2: 0.031})
    choice, fake, told = choose(monkeypatch, tmp_path, outcome)
    assert choice.weight == 1e-3
    assert choice.defended == tuple(tmp_path / f"nt-0.001-seed-{seed}" / "model.safetensors" for seed in range(3))
    assert choice.base == tuple(tmp_path / f"baseline-seed-{seed}" / "model.safetensors" for seed in range(3))
    assert choice.noise == ()
    expected = [
        *(f"baseline-seed-{seed}" for seed in range(3)),
        "nt-0.0001-seed-0",
        "nt-0.001-seed-0",
        "nt-0.01-seed-0",
        "nt-0.001-seed-1",
        "nt-0.001-seed-2",
    ]
    assert fake.names == expected  # each weight with one seed, the chosen one with all
    assert told == [f"training {name}" for name in expected]  # once each


def test_a_larger_weight_may_hold_where_a_smaller_one_does_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    choice, _, _ = choose(monkeypatch, tmp_path, by_weight({1e-4: 0.02, 1e-3: 0.05, 1e-2: 0.0}))
    assert choice.weight == 1e-2


def test_a_weight_that_holds_with_one_seed_must_hold_on_average(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def outcome(weight: float, seed: int, noise: float) -> Sequence[float]:
        if weight == 0:
            return BASELINE
        return ends({1e-2: (0.79, 0.75, 0.76), 1e-3: (0.78, 0.76, 0.78), 1e-4: (0.8, 0.8, 0.8)}[weight][seed])

    choice, _, _ = choose(monkeypatch, tmp_path, outcome)
    assert choice.weight == 1e-3  # mean losses: .0333, .0267, 0


def test_the_baseline_of_the_same_seed_is_what_is_lost_against(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def outcome(weight: float, seed: int, noise: float) -> Sequence[float]:
        base = (0.60, 0.80)[seed]
        return ends(base if weight == 0 else base - 0.02)

    choice, _, _ = choose(monkeypatch, tmp_path, outcome, seeds=(1, 0), weights=(1e-3,))
    assert choice.weight == 1e-3


def test_nothing_is_chosen_where_no_weight_holds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def outcome(weight: float, seed: int, noise: float) -> Sequence[float]:
        return BASELINE if weight == 0 else ends({1e-4: (0.79, 0.70, 0.70), 1e-2: (0.5, 0.5, 0.5)}[weight][seed])

    message = (
        "no penalty weight keeps the validation SROCC within 0.03 of the baseline "
        "(lost at 0.0001: 0.070, 0.01: 0.300); try smaller weights."
    )
    with pytest.raises(WorkFailedError, match=f"^{re.escape(message)}$"):
        choose(monkeypatch, tmp_path, outcome, weights=(1e-2, 1e-4))


def test_an_undefined_srocc_never_holds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    outcome = by_weight({1e-4: 0.0, 1e-3: 0.01, 1e-2: math.nan})
    choice, fake, _ = choose(monkeypatch, tmp_path, outcome)
    assert choice.weight == 1e-3
    assert "nt-0.01-seed-1" not in fake.names


def test_the_matched_baseline_is_the_epoch_closest_to_its_nt_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def outcome(weight: float, seed: int, noise: float) -> Sequence[float]:
        return (0.60, 0.77, 0.79, 0.80) if weight == 0 else (0.1, (0.772, 0.786, 0.81)[seed])

    choice, _, _ = choose(monkeypatch, tmp_path, outcome, weights=(1e-3,))
    assert [path.relative_to(tmp_path).as_posix() for path in choice.matched] == [
        "baseline-seed-0/epoch-02.safetensors",
        "baseline-seed-1/epoch-03.safetensors",
        "baseline-seed-2/epoch-04.safetensors",
    ]


@pytest.mark.parametrize(
    ("validation", "srocc", "epoch"),
    [((0.2, 0.4, 0.6), 0.31, 2), ((0.2, 0.4), 0.3, 1), ((0.5,), 0.9, 1), ((math.nan, 0.2, 0.4), 0.4, 3)],
)
def test_stopping_early_takes_the_first_closest_epoch_that_is_defined(
    validation: tuple[float, ...], srocc: float, epoch: int
) -> None:
    stopped = Trained(Path("run/model.safetensors"), validation).stopped_at(srocc)
    assert stopped == Path(f"run/epoch-{epoch:02d}.safetensors")


def test_the_noise_level_closest_to_the_nt_model_is_the_control(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def outcome(weight: float, seed: int, noise: float) -> Sequence[float]:
        return ends({0.02: 0.799, 0.05: 0.783, 0.1: 0.70}[noise] if noise else 0.80 if weight == 0 else 0.78)

    choice, fake, _ = choose(monkeypatch, tmp_path, outcome, weights=(1e-3,), noise_stds=(0.02, 0.05, 0.1))
    assert choice.noise == (tmp_path / "noise-0.05-seed-0" / "model.safetensors",)
    noisy = [spec for spec, folder, _ in fake.asked if folder.name.startswith("noise")]
    assert [(spec.penalty.weight, spec.seed, spec.data.noise_std) for spec in noisy] == [
        (0.0, 0, 0.02),
        (0.0, 0, 0.05),
        (0.0, 0, 0.1),
    ]
    assert list(choice.labeled()) == [
        "baseline, seed 0",
        "baseline, seed 1",
        "baseline, seed 2",
        "NT, seed 0",
        "NT, seed 1",
        "NT, seed 2",
        "matched accuracy, seed 0",
        "matched accuracy, seed 1",
        "matched accuracy, seed 2",
        "noise, seed 0",
    ]
    assert choice.labeled()["noise, seed 0"] == ("noise", choice.noise[0])


def test_a_control_of_its_own_is_the_recipe_with_other_fields_and_the_first_seed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    controls = {"raw Form": {"penalty.name": "nt-published", "penalty.weight": 0.5}}
    outcome = by_weight({1e-3: 0.0, 0.5: 0.4})
    choice, fake, _ = choose(monkeypatch, tmp_path, outcome, weights=(1e-3,), seeds=(7, 8), controls=controls)
    asked = {folder.name: spec for spec, folder, _ in fake.asked}
    spec = asked["control-raw-form-seed-7"]
    assert (spec.penalty.name, spec.penalty.weight, spec.seed) == ("nt-published", 0.5, 7)
    assert "control-raw-form-seed-8" not in asked
    assert asked["nt-0.001-seed-7"].penalty.name == "nt"
    weights = tmp_path / "control-raw-form-seed-7" / "model.safetensors"
    assert choice.labeled()["raw Form, seed 7"] == ("raw Form", weights)
    assert choice.weight == 1e-3  # what a control loses has no say


def test_reasons_hold_the_rule_as_plain_values(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    choice, _, _ = choose(monkeypatch, tmp_path, by_weight({1e-4: 0.01, 1e-3: 0.02, 1e-2: 0.5}), seeds=(4, 7))
    reasons = json.loads(json.dumps(choice.reasons))
    assert (reasons["weight"], reasons["seeds"]) == (1e-3, [4, 7])
    assert reasons["rule"] == "largest weight with a mean validation SROCC loss of at most 0.03"


def test_baselines_are_validated_and_kept_after_every_epoch_others_after_the_last(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    outcome = by_weight({1e-4: 0.0, 1e-3: 0.0, 1e-2: 0.0})
    _, fake, _ = choose(monkeypatch, tmp_path, outcome, noise_stds=(0.1,))
    shared = RunOptions(beginnings=tmp_path / "beginnings")
    every, last = replace(shared, keep_epochs=True), replace(shared, validate_every=TrainingSpec().epochs)
    plain = ["baseline" in folder.name for _, folder, _ in fake.asked]
    assert [options for _, _, options in fake.asked] == [every if base else last for base in plain]
    assert sum(plain) == 3


def test_a_dataset_without_a_validation_part_is_refused_before_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"^dataset 'tiny' has no part 'validation'; it has: all, train, test\.$"):
        choose(monkeypatch, tmp_path, by_weight({}), dataset=tiny_dataset(train=2, validation=0))
    assert list(tmp_path.iterdir()) == []


def test_a_comparison_is_a_recipe_with_overrides_and_what_to_vary(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'recipe = "demo"\nweights = [1e-4, 1e-3]\nseeds = [3]\nnoise_stds = [0.02]\nallowed_loss = 0.05\n'
        "[overrides]\nepochs = 7\n'optimizer.learning_rate' = 1e-3\n"
    )
    found = load_comparison(path)
    assert (found.weights, found.seeds, found.noise_stds, found.allowed_loss) == ((1e-4, 1e-3), (3,), (0.02,), 0.05)
    assert (found.recipe.epochs, found.recipe.optimizer.learning_rate) == (7, 1e-3)
    least = comparison_from_dict({"recipe": "demo", "weights": [1e-3]})
    assert (least.seeds, least.allowed_loss, least.noise_stds) == ((0, 1, 2), 0.03, ())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weights": [1e-3]}, "a comparison needs 'recipe', a recipe's name and candidate weights at least."),
        ({"recipe": "demo"}, "a comparison needs 'weights', a recipe's name and candidate weights at least."),
        ({"recipe": "demo", "wieghts": [1]}, "a comparison has no 'wieghts'; did you mean 'weights'?"),
        ({"recipe": "demo", "weights": 1e-3}, "weights of a comparison must be a list, got 0.001."),
        ({"recipe": "demo", "weights": []}, "a comparison needs penalty weights above 0 and at least one seed."),
        ({"recipe": "demo", "weights": [0.0]}, "a comparison needs penalty weights above 0 and at least one seed."),
        (
            {"recipe": "demo", "weights": [1e-3], "seeds": []},
            "a comparison needs penalty weights above 0 and at least one seed.",
        ),
        (
            {"recipe": "demo", "weights": [1e-3], "controls": {"noise": {}}},
            "a control can't be called 'noise'; every comparison has models of that name.",
        ),
        (
            {"recipe": "demo", "weights": [1e-3], "controls": {"mine": 3}},
            "controls of a comparison must be tables of a recipe's fields, got {'mine': 3}.",
        ),
    ],
)
def test_a_comparison_that_makes_no_sense_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        comparison_from_dict(values)


def test_an_unknown_field_of_a_control_is_refused_before_training() -> None:
    with pytest.raises(SpecError, match=r"^a training spec has no 'penalty\.nmae'; did you mean 'name'\?"):
        comparison_from_dict({"recipe": "demo", "weights": [1e-3], "controls": {"mine": {"penalty.nmae": "nt"}}})


def test_an_unknown_experiment_is_named() -> None:
    with pytest.raises(SpecError, match=r"^unknown experiment 'no-such-thing'"):
        load_comparison("no-such-thing")


def test_reports_are_told_which_models_are_which() -> None:
    pairs = [("b0", "baseline"), ("n0", "NT"), ("m0", "matched accuracy"), ("m1", "matched accuracy"), ("x", "noise")]
    assert comparison_info(iter(pairs)) == {
        "base": ["b0"],
        "defended": ["n0"],
        "controls": {"matched accuracy": ["m0", "m1"], "noise": ["x"]},
    }
