from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from robustiqa.core.errors import SpecError
from robustiqa.core.run_folder import spec_hash
from robustiqa.training.spec import TrainingSpec, load_recipe, recipe_names, spec_from_dict

FIELDS = (
    "model, data, penalty, optimizer, head_start, epochs, batch_size, accumulation, loss, norm_in_norm, head_weights, "
    "batch_norm, precision, seed"
)


def refused(message: str) -> pytest.RaisesExc[SpecError]:
    return pytest.raises(SpecError, match=f"^{re.escape(message)}$")


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_loads_and_survives_plain_values(name: str) -> None:
    spec = load_recipe(name)
    assert spec_from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_the_papers_recipe_has_the_papers_values() -> None:
    spec = load_recipe("hyperiqa-livec-paper")
    assert spec.model.backbone == "resnet50.tv_in1k"
    assert (spec.epochs, spec.batch_size, spec.data.crops_per_photo, spec.loss) == (16, 16, 25, "l1")
    assert (spec.penalty.weight, spec.penalty.h, spec.penalty.space) == (1e-3, 0.01, "input")
    assert (spec.optimizer.learning_rate, spec.optimizer.head_ratio, spec.optimizer.weight_decay) == (2e-5, 10.0, 5e-4)


def test_dbcnns_recipe_has_its_authors_values_and_those_of_the_nt_paper() -> None:
    spec = load_recipe("dbcnn-livec-paper")
    assert (spec.model.name, spec.model.backbone) == ("dbcnn", "vgg16.tv_in1k")
    assert (spec.epochs, spec.batch_size, spec.data.crop_size, spec.loss) == (100, 8, 448, "mse")
    assert (spec.head_start.epochs, spec.head_start.learning_rate, spec.head_start.optimizer) == (50, 1e-3, "sgd")
    assert (spec.optimizer.learning_rate, spec.optimizer.head_ratio, spec.optimizer.weight_decay) == (1e-5, 1.0, 5e-4)
    assert (spec.penalty.weight, spec.penalty.h, spec.penalty.space) == (5e-4, 0.01, "input")


@pytest.mark.parametrize(
    ("model", "weight"),
    [("hyperiqa", 0.001), ("dbcnn", 0.0005), ("linearityiqa", 0.0005 / 20), ("maniqa", 0.003)],
)
def test_the_papers_recipes_have_the_papers_penalty_and_full_size_networks(model: str, weight: float) -> None:
    spec = load_recipe(f"{model}-livec-paper")
    assert spec.model.name == model
    assert "mobilenet" not in spec.model.backbone
    penalty = spec.penalty
    assert penalty.weight == pytest.approx(weight)
    assert (penalty.estimator, penalty.h, penalty.space, penalty.side) == ("finite_difference", 0.01, "input", "up")


@pytest.mark.parametrize("model", ["hyperiqa", "dbcnn", "linearityiqa", "maniqa"])
def test_light_recipes_agree_in_the_step_of_the_penalty_and_begin_it_with_a_settled_head(model: str) -> None:
    spec, first = load_recipe(f"{model}-biq2021-light"), load_recipe("hyperiqa-biq2021-light")
    assert (spec.model.name, spec.model.backbone) == (model, "mobilenetv2_100")
    assert spec.penalty.name == ("nt-standardized" if model == "linearityiqa" else "nt")
    step = ("estimator", "h", "space", "side", "statistics", "fraction")
    assert [getattr(spec.penalty, name) for name in step] == [getattr(first.penalty, name) for name in step]
    assert 2 <= spec.penalty.start_epoch <= spec.epochs - 3  # behind the warm-up, and most epochs are penalized
    assert spec.batch_size == first.batch_size
    assert (spec.batch_norm, spec.penalty.statistics) == ("train", "clean")


def test_the_source_of_universal_perturbations_is_trained_plainly() -> None:
    spec = load_recipe("paq2piq-biq2021-light")
    assert (spec.model.name, spec.model.backbone, spec.penalty.weight) == ("paq2piq", "mobilenetv2_100", 0.0)


def test_fields_that_came_later_leave_the_hashes_of_earlier_runs_alone() -> None:
    """Else their folders and notes would be of another run."""
    assert spec_hash(TrainingSpec().to_dict()) == "eff1f00414ca3c80"
    started = TrainingSpec().with_values({"head_start.epochs": 1})
    assert started.to_dict()["head_start"] == {"epochs": 1, "learning_rate": 1e-3, "optimizer": "sgd"}
    assert started.with_values({"head_start.epochs": 0}).to_dict() == TrainingSpec().to_dict()
    assert "every" not in TrainingSpec().to_dict()["penalty"]
    assert TrainingSpec().with_values({"penalty.every": 2}).to_dict()["penalty"]["every"] == 2


def test_an_unknown_recipe_gets_the_closest_one_and_all_others() -> None:
    known = ", ".join(recipe_names())
    with refused(f"unknown recipe 'dmeo'; did you mean 'demo'? Known: {known}."):
        load_recipe("dmeo")


def test_a_recipe_file_is_read_and_a_missing_or_broken_one_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    with refused(f"there is no recipe file {path}."):
        load_recipe(path)
    path.write_text('epochs = 3\n[penalty]\nweight = 1\n[data]\npart = "all"\n')
    expected = TrainingSpec().with_values({"epochs": 3, "penalty.weight": 1.0, "data.part": "all"})
    assert load_recipe(path) == load_recipe(str(path)) == expected
    path.write_text("epochs = ")
    with pytest.raises(SpecError, match=f"^recipe {re.escape(str(path))} is not valid TOML: .+\\.$"):
        load_recipe(path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, "a training spec has no 'epoch'; did you mean 'epochs'?"),
        ({"penalty": {"wieght": 1.0}}, "a training spec has no 'penalty.wieght'; did you mean 'weight'?"),
        ({"penalty": 3}, "penalty must be a table, got 3."),
        ({"epochs": "3"}, "epochs must be int, got '3'."),
        ({"epochs": 3.0}, "epochs must be int, got 3.0."),
        ({"epochs": True}, "epochs must be int, got True."),
        ({"data": {"flip": 1}}, "data.flip must be bool, got 1."),
        ({"penalty": {"weight": True}}, "penalty.weight must be float, got True."),
        ({"epochs": 0}, "epochs must be at least 1, got 0."),
        ({"data": {"crops_per_photo": 0}}, "data.crops_per_photo must be at least 1, got 0."),
        ({"penalty": {"every": 0}}, "penalty.every must be at least 1, got 0."),
        ({"precision": "fp32"}, "precision must be one of no, bf16, fp16, got 'fp32'."),
        ({"batch_norm": "off"}, "batch_norm must be one of train, frozen, frozen_with_penalty, got 'off'."),
    ],
)
def test_unknown_fields_wrong_types_and_values_are_named(values: dict[str, Any], message: str) -> None:
    with refused(message):
        spec_from_dict(values)


def test_overrides_go_by_dotted_names_and_leave_the_original_alone() -> None:
    spec = TrainingSpec()
    changed = spec.with_values({"penalty.weight": 2, "seed": 7, "model.backbone": "resnet18"})
    assert (changed.penalty.weight, changed.seed, changed.model.backbone) == (2.0, 7, "resnet18")
    assert isinstance(changed.penalty.weight, float)
    assert spec == TrainingSpec()
    assert changed.with_values({"penalty.weight": 0.0, "seed": 0, "model.backbone": spec.model.backbone}) == spec


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sed": 1}, f"a training spec has no 'sed'; did you mean 'seed'? Known: {FIELDS}."),
        ({"zzz.weight": 1.0}, f"a training spec has no 'zzz.weight'. Known: {FIELDS}."),
        ({"seed": 1.5}, "seed must be int, got 1.5."),
        ({"batch_size": -4}, "batch_size must be at least 1, got -4."),
        ({"seed.x": 1}, "seed.x does not name a single value of a training spec, such as penalty.weight or seed."),
        ({"penalty": 1.0}, "penalty does not name a single value of a training spec, such as penalty.weight or seed."),
    ],
)
def test_overrides_are_checked_like_recipes(values: dict[str, Any], message: str) -> None:
    with refused(message):
        TrainingSpec().with_values(values)


def test_an_unknown_field_of_a_table_gets_the_closest_one() -> None:
    message = r"a training spec has no 'penalty\.wieght'; did you mean 'weight'\? Known: name, weight, .*\.$"
    with pytest.raises(SpecError, match=message):
        TrainingSpec().with_values({"penalty.wieght": 1.0})
