from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from robustiqa.core.calibration import Affine
from robustiqa.core.errors import WeightsError
from robustiqa.models import create_model
from robustiqa.models.linearityiqa import LinearityIQA
from robustiqa.models.weights import load_strictly
from tests.golden import EXECUTIONS, FORMATS, golden_images, golden_values, published_state, thread_count
from tests.one_step import measured_step

State = dict[str, Tensor]
LIGHT = "resnet18.tv_in1k"


@dataclass(frozen=True)
class Case:
    """One of the two networks that golden values exist of.

    Attributes:
        place: In `linearityiqa.json`.
        names: Its entry in `parameter-names.json`.
        backbone: timm name.
        entries: Published ones.
    """

    place: int
    names: str
    backbone: str
    entries: int


PAPER = pytest.param(Case(0, "linearityiqa", "resnext101_32x8d.tv_in1k", 672), id="resnext101", marks=pytest.mark.slow)
CASES = [PAPER, pytest.param(Case(1, "linearityiqa-resnet18", LIGHT, 168), id="resnet18")]


def golden_model(shared: Path, case: Case) -> LinearityIQA:
    model = LinearityIQA(backbone=case.backbone).eval()
    state = published_state(shared, case.names)
    load_strictly(model, LinearityIQA.published_names.apply(state), "the golden LinearityIQA")
    return model


@pytest.mark.parametrize("case", [Case(0, "linearityiqa", "resnext101_32x8d.tv_in1k", 672), *CASES[1:]])
def test_every_published_entry_is_used(shared: Path, case: Case) -> None:
    shapes = golden_values(shared, "parameter-names")[case.names]
    with torch.device("meta"):
        ours = {name: list(value.shape) for name, value in LinearityIQA(backbone=case.backbone).state_dict().items()}
    renamed = LinearityIQA.published_names.apply({name: torch.empty(0) for name in shapes})
    assert len(shapes) == len(renamed) == case.entries
    assert dict(zip(renamed, shapes.values(), strict=True)) == ours
    assert LinearityIQA.published_names.discards == ()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("memory_format", "threads"), EXECUTIONS)
def test_scores_and_pixel_gradients_are_those_of_the_published_network(
    shared: Path, case: Case, memory_format: str, threads: int
) -> None:
    values = golden_values(shared, "linearityiqa")["cases"][case.place]
    layout = FORMATS[memory_format]
    model = golden_model(shared, case).to(memory_format=layout)
    kept: list[Tensor] = []
    model.score_heads.register_forward_hook(lambda part, inputs, scores: kept.append(scores.detach()))
    images = golden_images(shared, 2, (256, 320)).contiguous(memory_format=layout).requires_grad_()
    with thread_count(threads):
        scores = model(images)
        (gradient,) = torch.autograd.grad(scores.sum(), images)
    gradient_l1 = gradient.abs().flatten(1).sum(1)
    torch.testing.assert_close(scores.detach(), torch.tensor(values["scores"]), rtol=1e-4, atol=0)
    torch.testing.assert_close(kept[0][:, 1:].T, torch.tensor(values["scores_6_7"]), rtol=1e-4, atol=0)
    torch.testing.assert_close(gradient_l1, torch.tensor(values["pixel_gradient_l1"]), rtol=1e-3, atol=0)
    # the sum is what is left of 245,760 terms that cancel: its error is measured in their size
    off = (gradient.flatten(1).sum(1) - torch.tensor(values["pixel_gradient_sum"])).abs()
    assert (off / gradient_l1).max() < 1e-4


def _bare(state: State) -> Any:
    return state


def _published(state: State) -> Any:
    numbers = list(np.linalg.lstsq(np.array([[1.0, 1.0], [3.0, 1.0]]), np.array([20.0, 70.0]), rcond=None)[0])
    optimizer = {"state": {0: {"step": 3}}, "param_groups": [{"lr": 1e-4}]}
    amp = {"loss_scaler0": {"loss_scale": 65536.0, "unskipped": 7}}
    return {"model": state, "optimizer": optimizer, "amp": amp, "k": [numbers[0], 1, 1], "b": [numbers[1], 0, 0]}


def _published_with_plain_numbers(state: State) -> Any:
    return {"model": state, "k": [25.0, 1.0, 1.0], "b": [-5.0, 0.0, 0.0]}


@pytest.mark.parametrize("pickled", ["zip", "old"])
@pytest.mark.parametrize(
    ("form", "expected"),
    [(_bare, Affine()), (_published, Affine(25.0, -5.0)), (_published_with_plain_numbers, Affine(25.0, -5.0))],
)
def test_published_checkpoints_load_with_the_mapping_that_stands_beside_them(
    shared: Path, tmp_path: Path, form: Callable[[State], Any], expected: Affine, pickled: str
) -> None:
    state, path = published_state(shared, "linearityiqa-resnet18"), tmp_path / "p1q2.pth"
    torch.save(form(state), path, _use_new_zipfile_serialization=pickled == "zip")
    model = create_model("linearityiqa", weights=path, backbone=LIGHT)
    path.unlink()
    loaded, renamed = model.state_dict(), LinearityIQA.published_names.apply(state)
    assert len(loaded) == 168
    assert all(torch.equal(loaded[name], value) for name, value in renamed.items())
    assert isinstance(model.calibration, Affine)
    assert model.calibration.slope == pytest.approx(expected.slope)
    assert model.calibration.offset == pytest.approx(expected.offset)
    images = golden_images(shared, 2, (256, 320))
    raw = torch.tensor(golden_values(shared, "linearityiqa")["cases"][1]["scores"])
    torch.testing.assert_close(model.score(images), expected.slope * raw + expected.offset, rtol=1e-4, atol=1e-4)


def test_numbers_as_numpy_1_pickled_them_are_read(shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "p1q2.pth"
    torch.save(_published(published_state(shared, "linearityiqa-resnet18")), path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    model = create_model("linearityiqa", weights=path, backbone=LIGHT)
    path.unlink()
    assert model.calibration == Affine(pytest.approx(25.0), pytest.approx(-5.0))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("backbone", "sentence"),
    [
        (LIGHT, "lack 'score_heads.stage_scores.1.bias' (first of 1)"),
        ("resnet50.tv_in1k", "lack 'backbone.network.layer1.0.bn3.bias' (first of 199)"),
    ],
)
def test_published_weights_with_an_entry_missing_or_of_another_backbone_are_refused(
    shared: Path, tmp_path: Path, backbone: str, sentence: str
) -> None:
    state = published_state(shared, "linearityiqa-resnet18")
    path = tmp_path / "p1q2.safetensors"
    save_file({name: value.half() for name, value in state.items() if name != "regr7.bias"}, path)
    with pytest.raises(WeightsError) as refused:
        create_model("linearityiqa", weights=path, backbone=backbone)
    path.unlink()
    assert str(refused.value) == (
        f"weights for 'linearityiqa' {sentence}; the file is for another model, backbone or version."
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_training_step_of_the_papers_network_with_two_photographs_fits_into_16_gib() -> None:
    step = measured_step("linearityiqa", 2, loss="norm-in-norm", penalty="nt-standardized", size=(498, 664))
    assert step["peak_gib"] < 16
    assert 0 <= step["loss"] <= 1.2  # of two photographs the loss of each head is 0 or 1
    assert step["penalty"] > 0
