from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from robustiqa.core.errors import WeightsError
from robustiqa.models import create_model
from robustiqa.models.hyperiqa import HyperIQA
from tests.golden import (
    EXECUTIONS,
    FORMATS,
    golden_hyperiqa,
    golden_images,
    golden_values,
    published_state,
    thread_count,
)

State = dict[str, Tensor]

QUICK = [("contiguous", 1), ("channels_last", 2)]  # executions in every test run; the others with the slow tests


@pytest.fixture(scope="module")
def state(shared: Path) -> State:
    return published_state(shared)


@pytest.fixture(scope="module")
def model(shared: Path) -> HyperIQA:
    return golden_hyperiqa(shared)


@pytest.mark.parametrize(
    ("memory_format", "threads"),
    [pytest.param(*one, marks=() if one in QUICK else pytest.mark.slow) for one in EXECUTIONS],
)
def test_scores_and_pixel_gradients_are_those_of_the_published_network(
    shared: Path, model: HyperIQA, memory_format: str, threads: int
) -> None:
    (case,) = golden_values(shared, "hyperiqa")["cases"]
    layout = FORMATS[memory_format]
    images = golden_images(shared, 3).contiguous(memory_format=layout).requires_grad_()
    with thread_count(threads):
        scores = model.to(memory_format=layout)(images)
        (gradient,) = torch.autograd.grad(scores.sum(), images)
    gradient_l1 = gradient.abs().flatten(1).sum(1)
    torch.testing.assert_close(scores.detach(), torch.tensor(case["scores"]), rtol=1e-4, atol=0)
    torch.testing.assert_close(gradient_l1, torch.tensor(case["pixel_gradient_l1"]), rtol=1e-3, atol=0)
    # the sum is what is left of 150,528 terms that cancel: its error is measured in their size
    off = (gradient.flatten(1).sum(1) - torch.tensor(case["pixel_gradient_sum"])).abs()
    assert (off / gradient_l1).max() < 1e-4


def _bare(state: State, path: Path) -> None:
    torch.save(state, path)


def _old_pickle(state: State, path: Path) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=False)


def _beside_an_optimizer(state: State, path: Path) -> None:
    optimizer = {"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 2e-5}]}
    torch.save({"model": state, "optimizer": optimizer}, path)


def _prefixed(state: State, path: Path) -> None:
    torch.save({f"module.{name}": value for name, value in state.items()}, path)


def _safetensors(state: State, path: Path) -> None:
    save_file(state, path)


FORMS: dict[str, tuple[str, Callable[[State, Path], None]]] = {
    "bare state dict": ("koniq.pth", _bare),
    "bare state dict in the old pickle format": ("koniq.pkl", _old_pickle),
    "under model, beside an optimizer": ("livec.pth", _beside_an_optimizer),
    "module. before every name": ("parallel.pth", _prefixed),
    "safetensors": ("koniq.safetensors", _safetensors),
}


@pytest.fixture
def written(request: pytest.FixtureRequest, state: State, tmp_path: Path) -> Iterator[Path]:
    """The published weights in one of their forms; 110 MB that are not left lying about."""
    name, write = FORMS[request.param]
    path = tmp_path / name
    write(state, path)
    yield path
    path.unlink()


@pytest.mark.parametrize("written", FORMS, indirect=True)
def test_all_355_published_entries_load_from_every_form(written: Path, state: State) -> None:
    assert len(state) == 355
    loaded = create_model("hyperiqa", weights=written).state_dict()
    expected = HyperIQA.published_names.apply(state)
    assert len(loaded) == 355
    assert all(torch.equal(loaded[name], value) for name, value in expected.items())


def test_published_weights_of_which_one_is_missing_are_refused(state: State, tmp_path: Path) -> None:
    light = {name: value.to(torch.float16) for name, value in state.items() if name != "fc5w_fc.bias"}
    path = tmp_path / "koniq.safetensors"
    save_file(light, path)
    with pytest.raises(WeightsError) as refused:
        create_model("hyperiqa", weights=path)
    path.unlink()
    assert str(refused.value) == (
        "weights for 'hyperiqa' lack 'last_weight.bias' (first of 1); "
        "the file is for another model, backbone or version."
    )
