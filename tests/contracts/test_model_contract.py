"""What every model in the registry owes, alone and inside wrappers; a new one is tested by its registry line."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from robustiqa.core.errors import InputError, WeightsError
from robustiqa.core.model import ModelWrapper, QualityModel
from robustiqa.models import create_model, models
from robustiqa.models.crop_average import CropAverage
from robustiqa.models.loading import load_model, save_model
from robustiqa.models.weights import read_weights

LIGHT: dict[str, dict[str, Any]] = {  # options that make a model small
    "dbcnn": {"backbone": "mobilenetv2_100"},
    "hyperiqa": {"backbone": "mobilenetv2_100"},
    "linearityiqa": {"backbone": "mobilenetv2_100"},
    "maniqa": {"backbone": "mobilenetv2_100"},
    "paq2piq": {"backbone": "mobilenetv2_100"},
}

EXTERNAL = ["tests.external_models:strict"]  # of other packages
if importlib.util.find_spec("pyiqa") is not None:
    EXTERNAL.append("pyiqa:cnniqa")
    LIGHT["pyiqa:cnniqa"] = {"pretrained": None, "low": 0.0, "high": 100.0}

WRAPPERS: dict[str, Callable[[QualityModel], ModelWrapper]] = {
    "crop average": CropAverage,
    "crop average of random crops": lambda model: CropAverage(model, crops=2),
}


def built(name: str, seed: int = 0) -> QualityModel:
    """A small model of that name with seeded weights."""
    torch.manual_seed(seed)
    return create_model(name, **LIGHT.get(name, {}))


def cases() -> list[Any]:
    """Every model by itself, and inside each wrapper that takes it."""
    return [
        pytest.param((name, wrapper), id=f"{name} {wrapper}".strip())
        for name in (*models.names(), *EXTERNAL)
        for wrapper in ("", *WRAPPERS)
    ]


@pytest.fixture(scope="module", params=cases())
def model(request: pytest.FixtureRequest) -> QualityModel:
    name, wrapper = request.param
    inner = built(name)
    if not wrapper:
        return inner
    if inner.crop_size is None:
        pytest.skip(f"{name} takes photographs of any size and is not wrapped")
    return WRAPPERS[wrapper](inner).eval()


def photos(model: QualityModel, count: int = 2) -> Tensor:
    """8-bit noise of the size the model takes; an oblong photograph where it takes any."""
    draw = torch.Generator().manual_seed(7)
    inner = model.model if isinstance(model, ModelWrapper) else model
    side = inner.crop_size or 64
    longer = side if model.crop_size else side + 13
    return torch.randint(256, (count, 3, longer, side), generator=draw).float() / 255


def test_it_is_built_in_eval_mode_and_gives_one_finite_score_an_image(model: QualityModel) -> None:
    scores = model.score(photos(model))
    assert scores.shape == (2,)
    assert scores.dtype == torch.float32
    assert scores.isfinite().all()


def test_a_batch_scores_as_its_images_do_one_by_one(model: QualityModel) -> None:
    images = photos(model, count=3)
    alone = torch.cat([model.score(image[None]) for image in images])
    torch.testing.assert_close(model.score(images), alone, rtol=1e-4, atol=1e-4)


def test_every_image_has_a_finite_gradient_that_is_not_zero(model: QualityModel) -> None:
    images = photos(model).requires_grad_()
    (gradient,) = torch.autograd.grad(model(images).sum(), images)
    assert gradient.isfinite().all()
    assert gradient.abs().flatten(1).sum(1).min() > 0


def test_a_score_depends_on_its_own_image_alone(model: QualityModel) -> None:
    images = photos(model).requires_grad_()
    (gradient,) = torch.autograd.grad(model(images)[0], images)
    assert gradient[0].abs().sum() > 0
    assert gradient[1].abs().sum() == 0


def test_scoring_is_deterministic_and_leaves_images_and_global_generator_alone(model: QualityModel) -> None:
    images = photos(model)
    before, state = images.clone(), torch.get_rng_state()
    assert torch.equal(model.score(images), model.score(images))
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_scoring_makes_no_graph_and_forward_does(model: QualityModel) -> None:
    images = photos(model, count=1)
    assert not model.score(images).requires_grad
    assert model(images).requires_grad


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda images: 255 * images, "got [0.00, 255.00]; they look like 8-bit values: divide by 255."),
        (
            lambda images: 4 * images - 2,
            "got [-2.00, 2.00]; they look normalized already: pass plain pixels, the model normalizes them.",
        ),
        (lambda images: images.clone().fill_(float("nan")), "got values that are not finite."),
    ],
)
def test_score_refuses_pixels_outside_the_unit_interval(
    model: QualityModel, change: Callable[[Tensor], Tensor], sentence: str
) -> None:
    with pytest.raises(InputError) as refused:
        model.score(change(photos(model)))
    assert str(refused.value) == f"images must lie in [0, 1], {sentence}"


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (torch.zeros(3, 8, 8), "images must have shape (N, 3, H, W), got (3, 8, 8)."),
        (torch.zeros(1, 1, 8, 8), "images must have shape (N, 3, H, W), got (1, 1, 8, 8)."),
        (torch.zeros(0, 3, 8, 8), "images must have shape (N, 3, H, W), got (0, 3, 8, 8)."),
        (
            torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
            "images must be floating point in [0, 1], got torch.uint8; divide 8-bit values by 255.",
        ),
    ],
)
def test_forward_refuses_what_is_no_batch_of_images(model: QualityModel, images: Tensor, sentence: str) -> None:
    with pytest.raises(InputError) as refused:
        model(images)
    assert str(refused.value) == sentence


def test_score_refuses_a_model_in_training_mode(model: QualityModel) -> None:
    model.train()
    try:
        with pytest.raises(InputError) as refused:
            model.score(photos(model))
    finally:
        model.eval()
    assert str(refused.value) == "the model is in training mode; call model.eval() before scoring or attacking."


def test_pixels_beyond_the_unit_interval_pass_through_forward(model: QualityModel) -> None:
    assert model(photos(model) + 0.01).isfinite().all()  # norm regularization steps outside, unclipped


def test_scale_and_statistics_are_set_and_stay_out_of_the_state_dict(model: QualityModel) -> None:
    assert model.scale.low < model.scale.high
    assert model.input_std.shape == model.input_mean.shape == (3,)
    assert not any(name.endswith(("input_std", "input_mean")) for name in model.state_dict())


@pytest.mark.parametrize("name", models.names())
def test_saved_weights_load_strictly_and_bit_by_bit(name: str, tmp_path: Path) -> None:
    model, path = built(name, seed=1), tmp_path / "weights.safetensors"
    save_model(model, path, name, LIGHT.get(name, {}))
    loaded, expected = load_model(path), model.state_dict()
    assert all(torch.equal(value, expected[entry]) for entry, value in loaded.state_dict().items())
    images = photos(model, count=1)
    torch.testing.assert_close(loaded.score(images), model.score(images), rtol=1e-5, atol=1e-5)  # channels last


@pytest.mark.parametrize("name", models.names())
@pytest.mark.parametrize("change", ["missing", "extra"])
def test_weights_with_an_entry_too_few_or_too_many_are_refused(name: str, change: str, tmp_path: Path) -> None:
    model, path = built(name), tmp_path / "weights.safetensors"
    save_model(model, path, name, LIGHT.get(name, {}))
    state = read_weights(path).state
    entry = sorted(state)[0] if change == "missing" else "zzz"
    if change == "missing":
        del state[entry]
    else:
        state[entry] = torch.zeros(1)
    save_file(state, path)
    with pytest.raises(WeightsError, match=f"weights for '{name}' .*{entry!r} \\(first of 1\\)"):
        load_model(path, name=name, **LIGHT.get(name, {}))


@pytest.mark.parametrize("name", models.names())
def test_it_builds_with_neither_disk_nor_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    first, again, other = (dict(built(name, seed).named_parameters()) for seed in (1, 1, 2))
    # weights read from anywhere would be the same under every seed; constants such as a bias of 0 may be
    drawn = [entry for entry, weight in first.items() if weight.min() < weight.max()]
    assert len(drawn) > 0
    assert not any(torch.equal(first[entry], other[entry]) for entry in drawn)
    assert all(torch.equal(first[entry], again[entry]) for entry in first)
