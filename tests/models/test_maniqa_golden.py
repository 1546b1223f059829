from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from robustiqa.core.errors import WeightsError
from robustiqa.core.model import ScoreScale
from robustiqa.models import create_model
from robustiqa.models.maniqa import MANIQA
from robustiqa.models.weights import load_strictly
from tests.golden import EXECUTIONS, FORMATS, golden_images, golden_values, published_state, thread_count
from tests.one_step import measured_step

State = dict[str, Tensor]
BUFFERS = ("attn_mask", "relative_position_index")  # follow from the architecture; files may lack them


@pytest.fixture(scope="module")
def shapes(shared: Path) -> dict[str, tuple[int, ...]]:
    """Of the published entries."""
    published = golden_values(shared, "parameter-names")["maniqa"]
    return {name: tuple(shape) for name, shape in published.items()}


@pytest.fixture(scope="module")
def state(shared: Path) -> State:
    return published_state(shared, "maniqa", gain=golden_values(shared, "maniqa")["gain"])


@pytest.fixture(scope="module")
def model(state: State) -> MANIQA:
    model = MANIQA().eval()
    load_strictly(model, MANIQA.published_names.apply(state), "the golden MANIQA")
    return model


def test_every_published_entry_is_used_or_listed_as_discarded(shapes: dict[str, tuple[int, ...]]) -> None:
    with torch.device("meta"):
        ours = {name: tuple(value.shape) for name, value in MANIQA().state_dict().items()}
    names = MANIQA.published_names
    renamed = names.apply({name: torch.empty(shape, device="meta") for name, shape in shapes.items()})
    discarded = [name for name in shapes if name.startswith(names.discards)]
    assert len(shapes) == 316
    assert {name: tuple(value.shape) for name, value in renamed.items()} == ours
    assert len(discarded) == len(shapes) - len(ours) == 44
    assert all(
        any(name.startswith(prefix) for name in shapes) for prefix in names.discards if "0.attn_mask" not in prefix
    )


@pytest.mark.slow
@pytest.mark.parametrize(("memory_format", "threads"), EXECUTIONS)
def test_scores_and_pixel_gradients_are_those_of_the_published_network(
    shared: Path, model: MANIQA, memory_format: str, threads: int
) -> None:
    (case,) = golden_values(shared, "maniqa")["cases"]
    layout = FORMATS[memory_format]
    images = golden_images(shared, 2).contiguous(memory_format=layout).requires_grad_()
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


def _without_buffers(state: State, path: Path) -> None:
    torch.save({name: value for name, value in state.items() if not name.endswith(BUFFERS)}, path)


@pytest.mark.slow
@pytest.mark.parametrize("write", [_bare, _without_buffers])
def test_published_checkpoints_load_with_and_without_their_buffers_onto_the_scale_they_were_trained_on(
    write: Callable[[State, Path], None], state: State, tmp_path: Path
) -> None:
    path = tmp_path / "ckpt_koniq10k.pt"
    write(state, path)
    model = create_model("maniqa", weights=path)
    path.unlink()
    loaded, expected = model.state_dict(), MANIQA.published_names.apply(state)
    assert set(loaded) == set(expected)
    assert all(torch.equal(loaded[name], value) for name, value in expected.items())
    assert model.scale == ScoreScale(0, 1)


@pytest.mark.slow
def test_published_weights_of_which_one_is_missing_are_refused(state: State, tmp_path: Path) -> None:
    light = {name: value.to(torch.float16) for name, value in state.items() if name != "tablock2.1.c_k.bias"}
    path = tmp_path / "koniq.safetensors"
    save_file(light, path)
    with pytest.raises(WeightsError) as refused:
        create_model("maniqa", weights=path)
    path.unlink()
    assert str(refused.value) == (
        "weights for 'maniqa' lack 'stages.1.attention.1.key.bias' (first of 1); "
        "the file is for another model, backbone or version."
    )


@pytest.mark.slow
def test_a_training_step_with_two_crops_fits_into_16_gib() -> None:
    step = measured_step("maniqa", 2)
    assert step["peak_gib"] < 16
    assert step["loss"] > 0
    assert step["penalty"] > 0
