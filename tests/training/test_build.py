from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from robustiqa.core.errors import InputError, SpecError, UnknownNameError, WeightsError
from robustiqa.defenses.norm_regularization import CentralDifference, DoubleBackward, FiniteDifference
from robustiqa.models.weights import file_hash, save_weights, state_hash
from robustiqa.training.build import (
    BACKBONE,
    HEAD,
    build_model,
    build_optimizer,
    build_penalty,
    resolve,
    set_training_mode,
)
from robustiqa.training.spec import OptimizerSpec, PenaltySpec, TrainingSpec
from tests.training.tiny import TinyNet, tiny_photos, tiny_spec

LIGHT = {"model.backbone": "test_efficientnet", "model.backbone_weights": ""}


def test_backbone_and_head_are_two_groups_with_their_own_rates() -> None:
    net = TinyNet(batch_norm=True)
    spec = OptimizerSpec(learning_rate=2e-5, head_ratio=10.0, weight_decay=5e-4)
    backbone, head = build_optimizer(net, spec).param_groups
    assert (backbone["part"], head["part"]) == (BACKBONE, HEAD)
    assert (backbone["lr"], head["lr"]) == (2e-5, pytest.approx(2e-4))
    assert backbone["weight_decay"] == head["weight_decay"] == 5e-4
    assert {id(weight) for weight in backbone["params"]} == {id(weight) for weight in net.backbone.parameters()}
    assert {id(weight) for weight in head["params"]} == {id(weight) for weight in net.head.parameters()}


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)]
)
def test_the_optimizer_is_the_one_that_is_named(name: str, kind: type[torch.optim.Optimizer]) -> None:
    assert type(build_optimizer(TinyNet(), OptimizerSpec(name=name))) is kind


def test_an_unknown_optimizer_is_named() -> None:
    message = r"^optimizer\.name must be one of adam, adamw, sgd, got 'adan'; did you mean 'adam'\?$"
    with pytest.raises(SpecError, match=message):
        build_optimizer(TinyNet(), OptimizerSpec(name="adan"))


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        ("finite_difference", FiniteDifference(h=0.02, space="pixel", side="random")),
        ("central_difference", CentralDifference(h=0.02, space="pixel")),
        ("double_backward", DoubleBackward(space="pixel")),
    ],
)
def test_a_penalty_takes_what_its_estimator_knows(estimator: str, expected: object) -> None:
    spec = PenaltySpec(weight=0.5, estimator=estimator, h=0.02, space="pixel", side="random")
    penalty = build_penalty(spec, 0)
    assert vars(penalty) == {"estimator": expected, "weight": 0.5, "statistics": "own", "fraction": 1.0}


@pytest.mark.parametrize(("name", "further"), [("nt", {}), ("nt-standardized", {"deviation": 20.0})])
def test_a_penalty_is_measured_with_the_statistics_and_on_the_fraction_that_the_spec_names(
    name: str, further: dict[str, float]
) -> None:
    penalty = build_penalty(PenaltySpec(name=name, weight=0.5, statistics="clean", fraction=0.25), 0)
    named = {"estimator": FiniteDifference(), "weight": 0.5, "statistics": "clean", "fraction": 0.25}
    assert vars(penalty) == {**named, **further}


def test_a_penalty_without_those_options_says_so() -> None:
    with pytest.raises(InputError, match="'nt-published' has no option 'statistics'"):
        build_penalty(PenaltySpec(name="nt-published", weight=0.5, statistics="clean"), 0)


def test_a_penalty_begins_with_its_epoch() -> None:
    spec = PenaltySpec(weight=0.5, start_epoch=2)
    assert [vars(build_penalty(spec, epoch))["weight"] for epoch in range(4)] == [0.0, 0.0, 0.5, 0.5]


def test_an_unknown_estimator_or_penalty_is_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'finite_difference'"):
        build_penalty(PenaltySpec(estimator="finite_diference"), 0)
    with pytest.raises(UnknownNameError, match="Known: nt"):
        build_penalty(PenaltySpec(name="tn"), 0)


@pytest.mark.parametrize(
    ("batch_norm", "trains_in"),
    [("train", [True, True, True]), ("frozen", 3 * [False]), ("frozen_with_penalty", [True, False, False])],
)
def test_batch_norm_is_in_training_mode_as_the_spec_has_it(batch_norm: str, trains_in: list[bool]) -> None:
    net, spec = TinyNet(batch_norm=True), tiny_spec(batch_norm=batch_norm, penalty__start_epoch=1)
    for epoch, expected in enumerate(trains_in):
        set_training_mode(net.eval(), spec, epoch)
        for part in net.modules():
            assert part.training == (expected if isinstance(part, nn.BatchNorm2d) else True)


def test_a_model_depends_on_the_seed_and_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    specs = [TrainingSpec().with_values({**LIGHT, "seed": seed}) for seed in (0, 0, 1)]
    first, again, other = (state_hash(build_model(spec)) for spec in specs)
    assert first == again != other
    assert torch.equal(torch.get_rng_state(), before)


def test_backbone_weights_come_from_the_file_and_the_head_from_the_seed(tmp_path: Path) -> None:
    path = tmp_path / "imagenet.safetensors"
    donor = build_model(TrainingSpec().with_values({**LIGHT, "seed": 5}))
    save_weights(donor.get_submodule("backbone.network"), path, {})
    spec = TrainingSpec().with_values({**LIGHT, "seed": 1})
    plain, loaded = build_model(spec), build_model(spec.with_values({"model.backbone_weights": str(path)}))
    for name, value in loaded.state_dict().items():
        source = donor if name.startswith("backbone.") else plain
        assert torch.equal(value, source.state_dict()[name]), name


def test_a_resolved_spec_has_data_and_weights_by_hash_and_no_path(tmp_path: Path) -> None:
    path, dataset = tmp_path / "imagenet.safetensors", tiny_photos()
    save_weights(TinyNet(), path, {})
    resolved = resolve(TrainingSpec().with_values({"model.backbone_weights": str(path)}), dataset)
    assert resolved["model"]["backbone_weights"] == f"sha256:{file_hash(path)}"
    assert resolved["dataset"] == {
        "name": "tiny",
        "fingerprint": dataset.fingerprint(),
        "split": dataset.split_fingerprint(),
    }
    assert str(tmp_path) not in json.dumps(resolved)
    moved = path.rename(tmp_path / "elsewhere.safetensors")
    assert resolve(TrainingSpec().with_values({"model.backbone_weights": str(moved)}), dataset) == resolved


def test_a_missing_weights_file_is_named() -> None:
    message = "there is no backbone weights file no/such.file; give a file, or 'timm' to fetch weights by name."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        resolve(TrainingSpec().with_values({"model.backbone_weights": "no/such.file"}), tiny_photos())


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_weights(TinyNet(), path, {})
    with pytest.raises(WeightsError, match="weights for backbone 'test_efficientnet' lack"):
        build_model(TrainingSpec().with_values({**LIGHT, "model.backbone_weights": str(path)}))
