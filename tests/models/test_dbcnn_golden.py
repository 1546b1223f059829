from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from robustiqa.core.errors import WeightsError
from robustiqa.core.model import ScoreScale
from robustiqa.models import create_model
from robustiqa.models.dbcnn import DBCNN
from robustiqa.models.weights import load_strictly
from tests.golden import (
    EXECUTIONS,
    FORMATS,
    golden_images,
    golden_values,
    published_state,
    thread_count,
)
from tests.one_step import measured_step

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state(shared: Path) -> State:
    return published_state(shared, "dbcnn", gain=golden_values(shared, "dbcnn")["gain"])


@pytest.fixture(scope="module")
def model(state: State) -> DBCNN:
    model = DBCNN().eval()
    load_strictly(model, DBCNN.published_names.apply(state), "the golden DBCNN")
    return model


def test_every_published_entry_is_used_under_its_shape(shared: Path) -> None:
    shapes = {name: tuple(shape) for name, shape in golden_values(shared, "parameter-names")["dbcnn"].items()}
    with torch.device("meta"):
        ours = {name: tuple(value.shape) for name, value in DBCNN().state_dict().items()}
        renamed = DBCNN.published_names.apply({name: torch.empty(shape) for name, shape in shapes.items()})
    assert len(shapes) == 91
    assert {name: tuple(value.shape) for name, value in renamed.items()} == ours


@pytest.mark.slow
@pytest.mark.parametrize(("memory_format", "threads"), EXECUTIONS)
@pytest.mark.parametrize("case", [0, 1], ids=["square", "oblong, trunks of two sizes"])
def test_scores_and_pixel_gradients_are_those_of_the_published_network(
    shared: Path, model: DBCNN, case: int, memory_format: str, threads: int
) -> None:
    wanted: dict[str, Any] = golden_values(shared, "dbcnn")["cases"][case]
    size = {"images(2, 224, 224)": (224, 224), "images(2, 300, 228)": (300, 228)}[wanted["input"]]
    layout = FORMATS[memory_format]
    images = golden_images(shared, 2, size).contiguous(memory_format=layout).requires_grad_()
    with thread_count(threads):
        scores = model.to(memory_format=layout)(images)
        (gradient,) = torch.autograd.grad(scores.sum(), images)
    gradient_l1 = gradient.abs().flatten(1).sum(1)
    torch.testing.assert_close(scores.detach(), torch.tensor(wanted["scores"]), rtol=1e-4, atol=0)
    torch.testing.assert_close(gradient_l1, torch.tensor(wanted["pixel_gradient_l1"]), rtol=2e-3, atol=0)
    # the sum is what is left of 150,528 terms that cancel: its error is measured in their size
    off = (gradient.flatten(1).sum(1) - torch.tensor(wanted["pixel_gradient_sum"])).abs()
    assert (off / gradient_l1).max() < 2e-4


def _bare(state: State, path: Path) -> None:
    torch.save(state, path)


def _parallel(state: State, path: Path) -> None:
    torch.save({f"module.{name}": value for name, value in state.items()}, path)


@pytest.mark.slow
@pytest.mark.parametrize("write", [_bare, _parallel])
def test_all_91_published_entries_load(write: Callable[[State, Path], None], state: State, tmp_path: Path) -> None:
    path = tmp_path / "net_params_best.pkl"
    write(state, path)
    model = create_model("dbcnn", weights=path)
    path.unlink()
    loaded, expected = model.state_dict(), DBCNN.published_names.apply(state)
    assert len(loaded) == 91
    assert all(torch.equal(loaded[name], value) for name, value in expected.items())
    assert model.scale == ScoreScale(0, 100)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lacking", "sentence"),
    [
        (("features2.4.bias",), "lack 'scnn.4.bias' (first of 1)"),
        (("features1.", "fc."), "lack 'backbone.network.features_0.bias' (first of 28)"),
    ],
)
def test_published_weights_of_which_some_are_missing_are_refused(
    lacking: tuple[str, ...], sentence: str, state: State, tmp_path: Path
) -> None:
    path = tmp_path / "net_params_best.pkl"
    torch.save({name: value for name, value in state.items() if not name.startswith(lacking)}, path)
    with pytest.raises(WeightsError) as refused:
        create_model("dbcnn", weights=path)
    path.unlink()
    assert str(refused.value) == (
        f"weights for 'dbcnn' {sentence}; the file is for another model, backbone or version."
    )


@pytest.mark.slow
def test_a_training_step_with_two_crops_of_the_published_size_fits_into_16_gib() -> None:
    step = measured_step("dbcnn", 2, loss="mse", size=(448, 448))
    assert step["peak_gib"] < 16
    assert step["loss"] > 0
    assert step["penalty"] > 0
