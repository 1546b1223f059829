"""The trainings of DBCNN, in two phases, and of PaQ-2-PiQ, end to end, on pictures made offline."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from robustiqa.core.dataset import Dataset
from robustiqa.core.errors import SpecError, WeightsError
from robustiqa.datasets.builtin import load_builtin
from robustiqa.models.dbcnn import DBCNN
from robustiqa.models.loading import load_model
from robustiqa.models.paq2piq import PaQ2PiQ
from robustiqa.models.weights import file_hash, read_weights
from robustiqa.training.build import build_model, resolve
from robustiqa.training.loop import RunOptions, train
from robustiqa.training.spec import TrainingSpec
from tests.training.tiny import history_of, tiny_photos


def few_photos() -> Dataset:
    """The two best and the two worst pictures of a photograph to train on, three of another to validate on."""
    whole = load_builtin(scenes=1, size=64)
    by_mos = sorted(
        (photo for photo in whole.part("train") if photo.group == "astronaut"), key=lambda photo: photo.mos or 0.0
    )
    chosen = [*by_mos[:2], *by_mos[-2:]]
    parts = {"train": tuple(photo.key for photo in chosen), "validation": whole.parts["validation"][:21:7]}
    kept = {key for keys in parts.values() for key in keys}
    return replace(whole, photos=tuple(photo for photo in whole.photos if photo.key in kept), parts=parts)


def light(name: str, **values: Any) -> TrainingSpec:
    return TrainingSpec().with_values(
        {
            "model.name": name,
            "model.backbone": "test_efficientnet",
            "model.backbone_weights": "",
            "data.crop_size": 56,
            "batch_size": 4,
            "loss": "mse",
            "penalty.weight": 1e-6,
            "optimizer.head_ratio": 1.0,
            **{name.replace("__", "."): value for name, value in values.items()},
        }
    )


def trained(spec: TrainingSpec, folder: Path) -> tuple[Path, list[float], list[float]]:
    """The weights, and losses and penalties of the steps."""
    options = RunOptions(device="cpu", validate_every=spec.epochs, keep_epochs=True)
    weights = train(spec, few_photos(), folder, options)
    history = history_of(weights)
    assert math.isfinite(history["epochs"][-1]["rmse"])
    losses, penalties = ([line[name] for line in history["steps"]] for name in ("loss", "penalty"))
    return weights, losses, penalties


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name, value in after.items() if not torch.equal(value, before[name])}


def test_dbcnn_trains_in_two_phases_with_norm_regularization_in_the_second(tmp_path: Path) -> None:
    spec = light(
        "dbcnn",
        epochs=16,
        head_start__epochs=4,
        head_start__learning_rate=0.3,
        penalty__start_epoch=4,
        optimizer__learning_rate=5e-3,
        optimizer__head_ratio=30.0,
    )
    weights, losses, penalties = trained(spec, tmp_path)
    assert losses[-1] < 0.5 * losses[0]
    assert penalties[:4] == 4 * [0]
    assert min(penalties[4:]) > 0
    model = load_model(weights)
    assert isinstance(model, DBCNN)
    start = build_model(spec).state_dict()
    assert moved(start, load_model(tmp_path / "epoch-04.safetensors").state_dict()) == {"fc.weight", "fc.bias"}
    assert moved(start, model.state_dict()) == set(start)


def test_paq2piq_trains_with_norm_regularization(tmp_path: Path) -> None:
    spec = light("paq2piq", epochs=30, optimizer__learning_rate=1e-2)
    weights, losses, penalties = trained(spec, tmp_path)
    assert min(losses) < 0.5 * losses[0]  # half of the features are dropped out: losses jump
    assert min(penalties) > 0
    model = load_model(weights)
    assert isinstance(model, PaQ2PiQ)
    start = build_model(spec).state_dict()
    assert moved(start, model.state_dict()) == set(start)


def scnn_file(folder: Path) -> Path:
    """A published S-CNN with weights of its own."""
    torch.manual_seed(11)
    scnn = DBCNN(backbone="test_efficientnet").scnn
    path = folder / "scnn.pkl"
    state = {f"module.features.{name}": value for name, value in scnn.state_dict().items() if "tracked" not in name}
    torch.save({**state, "module.classifier.bias": torch.zeros(39)}, path)
    return path


def test_the_scnn_comes_from_the_file_that_the_spec_names(tmp_path: Path) -> None:
    path = scnn_file(tmp_path)
    published = read_weights(path).state
    model = build_model(light("dbcnn", model__scnn_weights=str(path)))
    for name, value in model.get_submodule("scnn").state_dict().items():
        assert name.endswith("tracked") or torch.equal(value, published[f"features.{name}"]), name
    resolved = resolve(light("dbcnn", model__scnn_weights=str(path)), tiny_photos())
    assert resolved["model"]["scnn_weights"] == f"sha256:{file_hash(path)}"


def test_a_missing_scnn_and_one_for_another_model_are_refused(tmp_path: Path) -> None:
    missing = "there is no S-CNN weights file no/scnn.pkl; set model.scnn_weights to scnn.pkl of DBCNN's authors."
    with pytest.raises(SpecError) as refused:
        resolve(light("dbcnn", model__scnn_weights="no/scnn.pkl"), tiny_photos())
    assert str(refused.value) == missing
    with pytest.raises(WeightsError) as other:
        build_model(light("paq2piq", model__scnn_weights=str(scnn_file(tmp_path))))
    assert str(other.value) == "PaQ2PiQ has no S-CNN to load weights into."
