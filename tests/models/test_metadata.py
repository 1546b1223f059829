"""What a weights file says about itself, read strictly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from robustiqa.core.calibration import Affine, Calibration, Logistic, Rescale
from robustiqa.core.errors import WeightsError
from robustiqa.core.model import ScoreScale
from robustiqa.core.tensor_files import METADATA_KEY
from robustiqa.models.files import find_weights_files, read_metadata, shipped_weights
from robustiqa.models.loading import load_model, save_calibrated, save_model
from robustiqa.models.metadata import Metadata, describe_calibration, parse_metadata
from robustiqa.models.weights import read_weights

FILE = Path("net.safetensors")
HASHES = {"name": "biq2021", "fingerprint": "0f", "split": "1e"}
SAID: dict[str, Any] = {
    "schema_version": 1,
    "model": "hyperiqa",
    "options": {"backbone": "resnet18"},
    "scale": {"low": 0.0, "high": 100.0},
    "training": {"dataset": HASHES, "epochs": 3},
    "calibration": {"kind": "scale", "values": {"low": 1.0, "high": 5.0, "lower_is_better": True}},
}
SCALE_NEEDS = "net.safetensors has a scale that must hold low, high, got"


def test_every_part_is_read_and_the_dataset_is_that_of_the_training() -> None:
    assert parse_metadata(SAID, FILE) == Metadata(
        schema_version=1,
        model="hyperiqa",
        options={"backbone": "resnet18"},
        scale=ScoreScale(0.0, 100.0),
        calibration=Rescale(1.0, 5.0, lower_is_better=True),
        dataset=HASHES,
        training=SAID["training"],
    )
    assert parse_metadata({}, FILE) == Metadata()
    assert parse_metadata({"schema_version": 1, "dataset": "livec"}, FILE).dataset == {"name": "livec"}


@pytest.mark.parametrize(
    "calibration", [Affine(), Affine(0.1 + 0.2, -1 / 3), Rescale(-1.5, 2e9, True), Logistic(3.4, 92.4, 50.1, -7e-3)]
)
def test_a_calibration_comes_back_as_it_was(calibration: Calibration) -> None:
    described = json.loads(json.dumps(describe_calibration(calibration, {"name": "livec", "photos": 7})))
    said = parse_metadata({"schema_version": 1, "calibration": described}, FILE)
    assert said.calibration == calibration
    assert said.fitted_on == {"name": "livec", "photos": 7}


def logistic(**values: Any) -> dict[str, Any]:
    return {"kind": "logistic", "values": {"low": 0.0, "high": 100.0, "center": 1.0, "width": 2.0, **values}}


@pytest.mark.parametrize(
    ("part", "value", "sentence"),
    [
        (
            "schema_version",
            2,
            "net.safetensors has metadata of schema version 2, and this version of robustiqa reads 1; "
            "read it with the version that wrote it.",
        ),
        ("model", 3, "net.safetensors has metadata whose 'model' must be a name, got 3."),
        ("options", "resnet18", "net.safetensors has metadata whose 'options' must hold named values, got 'resnet18'."),
        ("scale", [0, 100], f"{SCALE_NEEDS} [0, 100]."),
        ("scale", {"low": 0}, f"{SCALE_NEEDS} {{'low': 0}}."),
        ("scale", {"low": 0, "high": 1, "mid": 2}, f"{SCALE_NEEDS} {{'low': 0, 'high': 1, 'mid': 2}}."),
        (
            "scale",
            {"low": 3.0, "high": 1.0},
            "net.safetensors has metadata that can't be meant: a score scale needs low < high, got [3.0, 1.0].",
        ),
        (
            "calibration",
            {"kind": "afine", "values": {}},
            "net.safetensors has a calibration of unknown kind 'afine'; did you mean 'affine'? "
            "Known: affine, logistic, scale.",
        ),
        (
            "calibration",
            {"kind": "affine", "values": {"slope": 1.0, "offset": float("nan")}},
            "net.safetensors has an affine calibration whose 'offset' must be a finite number, got nan.",
        ),
        (
            "calibration",
            {"kind": "scale", "values": {"low": 1.0, "high": 5.0, "lower_is_better": 1}},
            "net.safetensors has a scale calibration whose 'lower_is_better' must be true or false, got 1.",
        ),
        (
            "calibration",
            logistic(width=0.0),
            "net.safetensors has a logistic calibration that needs low < high and a width other than 0, "
            "got {'low': 0.0, 'high': 100.0, 'center': 1.0, 'width': 0.0}.",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(part: str, value: Any, sentence: str) -> None:
    with pytest.raises(WeightsError) as refused:
        parse_metadata({**SAID, part: value}, FILE)
    assert str(refused.value) == sentence


def test_metadata_that_is_no_json_object_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    for text in ("{", "[1]"):
        save_file({"weight": torch.zeros(2)}, path, metadata={METADATA_KEY: text})
        for read in (read_weights, read_metadata):
            with pytest.raises(WeightsError) as refused:
                read(path)
            assert str(refused.value) == (
                f"{path} has metadata that is no JSON object; the file was not written by robustiqa."
            )


def test_a_calibrated_copy_has_the_bytes_the_metadata_and_the_new_scale(tmp_path: Path) -> None:
    source, path = shipped_weights()["demo-nt"], tmp_path / "calibrated.safetensors"
    fitted_on = {**HASHES, "part": "validation", "photos": 12}
    half = tmp_path / "half.safetensors"
    model = load_model(source)
    model.scale = ScoreScale(0.0, 1.0)
    training = read_metadata(source)["training"]
    save_model(model, half, "hyperiqa", read_metadata(source)["options"], training=training, dtype=torch.float16)
    save_calibrated(half, path, Logistic(3.0, 92.0, 50.0, 9.0), fitted_on)
    before, after = read_weights(half), read_weights(path)
    assert list(after.state) == list(before.state)
    assert all(torch.equal(after.state[name], value) for name, value in before.state.items())
    assert {value.dtype for value in after.state.values()} == {torch.float16, torch.int64}
    said = parse_metadata(after.metadata, path)
    assert (said.training, said.dataset) == (training, training["dataset"])
    assert said.fitted_on == fitted_on
    loaded = load_model(path)
    assert loaded.scale == ScoreScale()
    images = torch.rand(2, 3, 224, 224, requires_grad=True)
    raw = load_model(half)(images)
    torch.testing.assert_close(loaded(images), 3 + 89 * torch.sigmoid((raw - 50) / 9))
    (through,) = torch.autograd.grad(loaded(images).sum(), images)
    (plain,) = torch.autograd.grad(raw.sum(), images)
    share = torch.sigmoid((raw.detach() - 50) / 9)
    slope = 89 / 9 * share * (1 - share)
    torch.testing.assert_close(through, plain * slope[:, None, None, None], rtol=1e-3, atol=1e-6)


def test_files_are_found_in_folders_and_hidden_ones_left_out(tmp_path: Path) -> None:
    names = ("b.safetensors", "a.pth", "notes.txt", ".hidden.pth", "run/model.safetensors", ".git/x.pkl")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_weights_files([tmp_path]) == [tmp_path / "a.pth", tmp_path / "b.safetensors"]
    below = find_weights_files([tmp_path / "notes.txt", tmp_path], recursive=True)
    assert below == [tmp_path / name for name in ("notes.txt", "a.pth", "b.safetensors", "run/model.safetensors")]
    (tmp_path / "empty").mkdir()
    refusals = {
        tmp_path / "none": f"there is no weights file or folder {tmp_path / 'none'}.",
        tmp_path / "empty": f"there is no weights file (.safetensors, .pth, .pt, .pkl) in {tmp_path / 'empty'}; "
        "--recursive looks below it.",
    }
    for path, sentence in refusals.items():
        with pytest.raises(WeightsError) as refused:
            find_weights_files([path])
        assert str(refused.value) == sentence
