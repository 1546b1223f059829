from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from robustiqa.core.calibration import Affine, Calibration, Logistic
from robustiqa.core.errors import WeightsError
from robustiqa.core.model import ScoreScale
from robustiqa.core.run_folder import WEIGHTS_FILE
from robustiqa.models import create_model, files
from robustiqa.models.files import find_weights
from robustiqa.models.hyperiqa import HyperIQA
from robustiqa.models.loading import load_model, save_model
from robustiqa.models.weights import (
    KeyMap,
    file_hash,
    load_strictly,
    read_weights,
    save_weights,
    state_hash,
)

LIGHT: dict[str, Any] = {"backbone": "mobilenetv2_100"}
OTHER_FILE = "the file is for another model, backbone or version."


@pytest.fixture(scope="module")
def model() -> HyperIQA:
    torch.manual_seed(1)
    model = HyperIQA(**LIGHT).eval()
    for name, value in model.named_buffers():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        if name.endswith("num_batches_tracked"):
            value.fill_(100_001)  # half precision has no such number
    return model


@pytest.fixture
def saved(model: HyperIQA, tmp_path: Path) -> Path:
    path = tmp_path / "ours.safetensors"
    save_model(model, path, "hyperiqa", LIGHT)
    return path


def test_what_is_saved_is_loaded_bit_by_bit_from_the_file_alone(model: HyperIQA, saved: Path) -> None:
    loaded = load_model(saved)
    assert isinstance(loaded, HyperIQA)
    assert loaded.backbone.name == "mobilenetv2_100"
    assert not any(part.training for part in loaded.modules())
    expected = model.state_dict()
    assert list(loaded.state_dict()) == list(expected)
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())
    assert state_hash(loaded) == state_hash(model)


@pytest.mark.parametrize(
    "calibration",
    [Affine(), Affine(slope=0.1 + 0.2, offset=-1 / 3), Logistic(low=3.42, high=92.4, center=50.1, width=7e-3)],
)
def test_scale_and_calibration_come_with_the_weights(calibration: Calibration, tmp_path: Path) -> None:
    model = HyperIQA(**LIGHT)
    model.scale, model.calibration = ScoreScale(3.42, 92.43195), calibration
    save_model(model, tmp_path / "ours.safetensors", "hyperiqa", LIGHT)
    loaded = load_model(tmp_path / "ours.safetensors")
    assert loaded.scale == model.scale
    assert loaded.calibration == calibration
    images = torch.rand(1, 3, 224, 224)
    torch.testing.assert_close(loaded.score(images), model.eval().score(images))


def test_metadata_of_the_caller_is_kept(model: HyperIQA, tmp_path: Path) -> None:
    path = tmp_path / "ours.safetensors"
    save_model(model, path, "hyperiqa", LIGHT, training={"epochs": 8, "seed": 1}, dataset="biq2021")
    said = read_weights(path).metadata
    assert said["training"] == {"epochs": 8, "seed": 1}
    assert said["dataset"] == "biq2021"
    assert said["model"] == "hyperiqa"
    assert said["options"] == LIGHT
    assert said["schema_version"] == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_hold_rounded_floats_and_whole_counters(
    model: HyperIQA, tmp_path: Path, dtype: torch.dtype
) -> None:
    path = tmp_path / "half.safetensors"
    save_model(model, path, "hyperiqa", LIGHT, dtype=dtype)
    stored, loaded, expected = read_weights(path).state, load_model(path).state_dict(), model.state_dict()
    for name, value in expected.items():
        if value.is_floating_point():
            assert stored[name].dtype == dtype
            assert loaded[name].dtype == torch.float32
            assert torch.equal(loaded[name], value.to(dtype).float())
        else:
            assert stored[name].dtype == value.dtype
            assert torch.equal(stored[name], value)
    assert model.state_dict()["last_weight.weight"].dtype == torch.float32


def test_channels_last_weights_are_saved_and_loaded_too(model: HyperIQA, tmp_path: Path) -> None:
    other = HyperIQA(**LIGHT)
    other.load_state_dict(model.state_dict())
    other.to(memory_format=torch.channels_last)
    save_model(other, tmp_path / "ours.safetensors", "hyperiqa", LIGHT)
    assert state_hash(load_model(tmp_path / "ours.safetensors")) == state_hash(model) == state_hash(other)


def test_nothing_but_the_file_is_left_beside_it(saved: Path) -> None:
    assert [path.name for path in saved.parent.iterdir()] == ["ours.safetensors"]


def test_a_save_that_fails_leaves_the_old_file(model: HyperIQA, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file_hash(saved)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_model(model, saved, "hyperiqa", LIGHT, dtype=torch.float16)
    assert file_hash(saved) == before


def test_hashes_follow_the_values_and_the_bytes(model: HyperIQA, saved: Path) -> None:
    other = load_model(saved)
    before = file_hash(saved)
    with torch.no_grad():
        next(other.parameters())[0] += 1e-3
    assert state_hash(other) != state_hash(model)
    save_model(other, saved, "hyperiqa", LIGHT)
    assert file_hash(saved) != before


def test_options_and_names_given_must_agree_with_the_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert create_model("hyperiqa", weights=saved, **LIGHT).scale == ScoreScale()
    with pytest.raises(WeightsError) as option:
        create_model("hyperiqa", weights=saved, backbone="resnet18")
    with pytest.raises(WeightsError) as name:
        load_model(saved, name="dbcnn")
    assert str(option.value) == f"{saved} was trained with backbone='mobilenetv2_100', not 'resnet18'."
    assert str(name.value) == f"{saved} holds weights for 'hyperiqa', not for 'dbcnn'."


def test_a_file_that_does_not_say_its_model_needs_a_name(tmp_path: Path) -> None:
    path = tmp_path / "plain.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(WeightsError) as refused:
        load_model(path)
    assert str(refused.value) == f"{path} does not say which model it is for; name one, such as hyperiqa."


def test_shipped_weights_go_by_name(saved: Path, monkeypatch: pytest.MonkeyPatch, model: HyperIQA) -> None:
    monkeypatch.setattr(files, "shipped_weights", lambda: {"demo-baseline": saved, "demo-nt": saved})
    assert find_weights("demo-nt") == saved
    assert state_hash(create_model("hyperiqa", weights="demo-baseline")) == state_hash(model)
    with pytest.raises(WeightsError) as close:
        find_weights("demo-baselin")
    with pytest.raises(WeightsError) as far:
        find_weights("else.pth")
    assert str(close.value) == (
        "there is no weights file demo-baselin; did you mean 'demo-baseline'? Shipped weights: demo-baseline, demo-nt."
    )
    assert str(far.value) == "there is no weights file else.pth. Shipped weights: demo-baseline, demo-nt."


def test_a_file_is_found_before_a_name_and_a_folder_is_no_file(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "shipped_weights", dict)
    assert find_weights(saved) == find_weights(str(saved)) == saved
    with pytest.raises(WeightsError) as refused:
        find_weights(tmp_path)
    assert str(refused.value) == f"there is no weights file {tmp_path}. Shipped weights: none."


def test_a_training_run_goes_by_its_folder(saved: Path, tmp_path: Path, model: HyperIQA) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(saved, run / WEIGHTS_FILE)
    assert find_weights(run) == run / WEIGHTS_FILE
    assert state_hash(load_model(str(run))) == state_hash(model)


class CallsAtLoading:
    """What a pickle can do to whoever loads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    torch.save({"model": {"weight": torch.zeros(2)}, "extra": CallsAtLoading(trace)}, path)
    with pytest.raises(WeightsError) as refused:
        read_weights(path)
    assert not trace.exists()
    assert str(refused.value) == (
        f"{path} is refused, for loading it would run {os.name}.mkdir; weights files hold plain tensors only."
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not weights\n",
        b"i am text",
        b"\x89PNG\r\n\x1a\n",
        pickle.dumps([1]),
        b"cos\nsystem\n."[2:],
        b"N\x85.",
        b"\x80\x02.",
    ],
)
def test_files_that_are_no_weights_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "photo.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as refused:
        read_weights(path)
    assert str(refused.value) == (
        f"{path} is not a weights file, or is cut short; safetensors and torch.save are read."
    )


def test_cut_files_are_refused(saved: Path, tmp_path: Path) -> None:
    zipped = tmp_path / "cut.pth"
    torch.save({"weight": torch.zeros(100)}, zipped)
    for path in (zipped, saved):
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(WeightsError, match="cut short"):
            read_weights(path)


@pytest.mark.parametrize("content", [{}, {"model": {}}, {"weight": [1.0]}, torch.zeros(3), {"epoch": 3}])
def test_files_without_a_state_dict_are_refused(content: object, tmp_path: Path) -> None:
    path = tmp_path / "odd.pth"
    torch.save(content, path)
    with pytest.raises(WeightsError) as refused:
        read_weights(path)
    assert str(refused.value) == f"{path} does not hold a state dict of named tensors."


@pytest.mark.parametrize("nested", ["model", "state_dict", "params"])
def test_nested_and_prefixed_state_dicts_are_unwrapped(nested: str, tmp_path: Path) -> None:
    path = tmp_path / "nested.pth"
    torch.save({nested: {"module.weight": torch.ones(2), "module.bias": torch.zeros(1)}, "epoch": 3}, path)
    state = read_weights(path).state
    assert {name: value.tolist() for name, value in state.items()} == {"weight": [1, 1], "bias": [0]}


def test_a_prefix_that_only_some_names_have_is_part_of_the_name(tmp_path: Path) -> None:
    path = tmp_path / "mixed.pth"
    torch.save({"module.weight": torch.ones(2), "bias": torch.zeros(1)}, path)
    assert set(read_weights(path).state) == {"module.weight", "bias"}


def test_missing_extra_and_misshapen_entries_are_refused_with_a_sentence() -> None:
    layer = nn.Linear(3, 2)
    good = dict(layer.state_dict())
    bad = {
        f"weights for 'toy' lack 'bias' (first of 2); {OTHER_FILE}": {},
        f"weights for 'toy' lack 'weight' (first of 1); {OTHER_FILE}": {"bias": good["bias"]},
        f"weights for 'toy' hold unknown 'scale' (first of 1); {OTHER_FILE}": {**good, "scale": torch.ones(1)},
        f"weights for 'toy' have 'weight' of shape (3, 2), expected (2, 3); {OTHER_FILE}": {
            **good,
            "weight": good["weight"].T,
        },
    }
    for sentence, state in bad.items():
        with pytest.raises(WeightsError) as refused:
            load_strictly(layer, state, "'toy'")
        assert str(refused.value) == sentence


def test_refused_weights_leave_the_module_as_it_was() -> None:
    layer = nn.Linear(3, 2)
    before = state_hash(layer)
    with pytest.raises(WeightsError):
        load_strictly(layer, {"weight": torch.ones(2, 3), "bias": torch.ones(3)}, "'toy'")
    assert state_hash(layer) == before


def test_a_key_map_renames_by_the_first_prefix_and_discards() -> None:
    renames = KeyMap(renames=(("res.lda.", "taps."), ("res.", "backbone.")), discards=("res.fc.", "optimizer"))
    one = torch.ones(1)
    published = {"res.lda.weight": one, "res.conv.weight": one, "res.fc.weight": one, "optimizer": one, "head": one}
    assert set(renames.apply(published)) == {"taps.weight", "backbone.conv.weight", "head"}


def test_any_module_can_be_saved_with_any_metadata(tmp_path: Path) -> None:
    layer = nn.Linear(3, 2)
    save_weights(layer, tmp_path / "deep" / "layer.safetensors", {"note": "é"})
    file = read_weights(tmp_path / "deep" / "layer.safetensors")
    assert file.metadata["note"] == "é"
    assert torch.equal(file.state["weight"], layer.weight)
