"""Korhonen and You's attack: the activity map and the search against NumPy, and what records say of the surrogate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from robustiqa.attacks import create_attack
from robustiqa.attacks.surrogate import Korhonen, activity_map
from robustiqa.core.errors import InputError, WeightsError
from robustiqa.core.model import QualityModel, ScoreScale
from robustiqa.core.surrogate import load_surrogate, surrogate_card
from robustiqa.core.tensor_files import file_hash
from robustiqa.models.crop_average import CropAverage
from robustiqa.models.loading import save_model
from tests.toys import PLAIN, ConvModel, CountingModel, LinearModel, toy_photos

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
SIDE = 9


def picture(seed: int = 0, side: int = SIDE) -> Tensor:
    """Flat on the left, busy on the right, float64."""
    image = toy_photos(1, side, seed)[0].double()
    image[..., : side // 2] = 0.5
    return image


def map_by_loops(image: Array) -> Array:
    """The activity map, pixel by pixel."""
    luma = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
    height, width = luma.shape
    kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    busy = np.zeros_like(luma)
    for row in range(1, height - 1):
        for column in range(1, width - 1):
            patch = luma[row - 1 : row + 2, column - 1 : column + 2]
            busy[row, column] = (kernel * patch).sum() ** 2 + (kernel.T * patch).sum() ** 2
    busy = busy / busy.max()
    spread: Array = np.zeros_like(busy)
    for row in range(height):
        for column in range(width):
            spread[row, column] = max(
                busy[r, c]
                for r in range(max(row - 2, 0), min(row + 3, height))
                for c in range(max(column - 2, 0), min(column + 3, width))
                if (abs(r - row), abs(c - column)) != (2, 2)
            )
    return spread


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("size", [(9, 9), (12, 7), (4, 11)])
def test_the_activity_map_is_what_loops_give(seed: int, size: tuple[int, int]) -> None:
    image = picture(seed, 12)[:, : size[0], : size[1]]
    image = torch.where(torch.rand(image.shape, generator=torch.Generator().manual_seed(seed)) < 0.7, 0.5, image)
    np.testing.assert_allclose(activity_map(image).numpy(), map_by_loops(image.numpy()), atol=1e-12)


def test_one_bright_pixel_spreads_over_its_neighbors_gradients() -> None:
    image = torch.full((3, 15, 15), 0.25)
    image[:, 7, 7] = 1.0
    found = activity_map(image)
    assert found.max() == 1
    expected = torch.zeros(15, 15, dtype=torch.bool)
    expected[4:11, 4:11] = True  # its gradients reach one pixel, the square two more
    for row, column in [(4, 4), (4, 10), (10, 4), (10, 10)]:
        expected[row, column] = False  # the square has no corners
    assert torch.equal(found > 0, expected)


@pytest.mark.parametrize("size", [(8, 8), (2, 9), (1, 1)])
def test_a_photograph_without_activity_is_weighted_evenly(size: tuple[int, int]) -> None:
    assert torch.equal(activity_map(torch.full((3, *size), 0.3)), torch.ones(size, dtype=torch.double))


class Bowl(QualityModel):
    """`60 - sum(steepness * (image - bottom)^2)` on plain pixels: best at the bottom, its gradient known."""

    bottom: Tensor

    def __init__(self, bottom: Tensor, steepness: float) -> None:
        super().__init__(*PLAIN)
        self.bottom = bottom
        self.steepness = steepness
        self.scale = ScoreScale(10.0, 90.0)

    def raw_scores(self, normalized: Tensor) -> Tensor:
        return 60 - self.steepness * (normalized - self.bottom).square().flatten(1).sum(1)


def search_in_numpy(clean: Array, bowl: Bowl, sign: float, attack: Korhonen) -> tuple[Array, int]:
    """Adam in levels of 0..255 on the weighted gradient, the stop rule; the best image and the passes it took."""
    bottom, span = np.asarray(bowl.bottom), 80.0
    activity = map_by_loops(clean)
    x = 255 * clean
    first, second = np.zeros_like(x), np.zeros_like(x)
    best, lowest, stale = x, np.inf, 0
    for iteration in range(attack.steps + 1):
        loss = 1 - sign * (60 - bowl.steepness * ((x / 255 - bottom) ** 2).sum()) / span
        if loss < lowest:
            best, lowest, stale = x, loss, 0
        else:
            stale += 1
        if iteration == attack.steps or (iteration >= attack.min_steps and stale >= 2):
            return best / 255, iteration + 1
        gradient = sign * 2 * bowl.steepness * (x / 255 - bottom) / span / 255 * activity
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        t = iteration + 1
        step = (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
        x = x - 255 * attack.rate * step
        x = np.clip(np.clip(x, 255 * (clean - attack.budget), 255 * (clean + attack.budget)), 0, 255)
    raise AssertionError


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(
    ("rate", "steps", "min_steps", "eps"),
    [("2/255", 100, 20, "4/255"), ("5/255", 100, 3, "16/255"), ("1/510", 7, 7, "1"), ("1/255", 30, 5, "30/255")],
)
@pytest.mark.parametrize("steepness", [5.0, 1e-4])  # the small one's gradients are as small as Adam's epsilon
def test_the_search_is_what_numpy_gives(
    monkeypatch: pytest.MonkeyPatch, sign: float, rate: str, steps: int, min_steps: int, eps: str, steepness: float
) -> None:
    clean = picture()
    bowl = Bowl((clean + 0.05 * torch.sin(torch.arange(clean.numel()).reshape(clean.shape))).clamp(0, 1), steepness)
    counted = CountingModel(bowl).eval()
    monkeypatch.setattr("robustiqa.attacks.surrogate.load_surrogate", lambda *_, **__: counted)
    attack = Korhonen(surrogate="any", learning_rate=rate, steps=steps, min_steps=min_steps, eps=eps)
    found = attack.pushed(clean[None], torch.tensor([sign]))[0]
    expected, passes = search_in_numpy(clean.numpy(), bowl, sign, attack)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-9)
    assert counted.forwards == counted.backwards == passes


def test_the_search_stops_after_two_evaluations_without_gain_but_not_before_the_fewest_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    still = CountingModel(LinearModel(torch.zeros(3, SIDE, SIDE))).eval()
    monkeypatch.setattr("robustiqa.attacks.surrogate.load_surrogate", lambda *_, **__: still)
    for min_steps, passes in [(20, 21), (1, 3), (2, 3), (3, 4)]:
        still.forwards = 0
        image = picture()[None].float()
        found = Korhonen(surrogate="any", min_steps=min_steps).pushed(image, torch.ones(1))
        assert torch.equal(found, image)
        assert still.forwards == passes


def test_flat_parts_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    model = LinearModel(torch.ones(3, 20, 20)).eval()
    monkeypatch.setattr("robustiqa.attacks.surrogate.load_surrogate", lambda *_, **__: model)
    image = picture(side=20)[None].float()
    change = Korhonen(surrogate="any").pushed(image, torch.ones(1)) - image
    active = activity_map(image[0]) > 0
    assert 0 < active.sum() < 400
    assert (change[0, :, ~active] == 0).all()
    torch.testing.assert_close(change[0, :, active], torch.full_like(change[0, :, active], 4 / 255))


def saved(folder: Path, model: ConvModel, **more: object) -> Path:
    path = folder / "model.safetensors"
    save_model(model, path, "toy", {}, **more)
    return path


@pytest.mark.usefixtures("learned")
@pytest.mark.parametrize(("said", "initialization"), [("", "random"), ("timm", "timm"), ("sha256:ab", "sha256:ab")])
def test_records_name_the_surrogate_its_hash_and_where_its_backbone_began(
    tmp_path: Path, said: str, initialization: str
) -> None:
    training = {"model": {"backbone_weights": said}}
    path = tmp_path / "model.safetensors"
    save_model(ConvModel(), path, "paq2piq", {"backbone": "resnet18"}, training=training)
    label = f"paq2piq/resnet18/{initialization}#{file_hash(path)}"
    for written in (path, tmp_path):
        attack = create_attack("korhonen", surrogate=written)
        assert attack.label == (f"korhonen(eps=4/255, surrogate={label}, learning_rate=2/255, steps=100, min_steps=20)")
        assert attack.provenance["surrogate"]["initialization"] == initialization


@pytest.mark.usefixtures("learned")
def test_a_surrogate_is_read_once_frozen_and_takes_any_size(tmp_path: Path) -> None:
    path = saved(tmp_path, ConvModel(3))
    assert surrogate_card(str(path)).label == f"toy/unknown/unknown#{file_hash(path)}"
    state = torch.get_rng_state()
    cpu = torch.device("cpu")
    model = load_surrogate(str(path), device=cpu, dtype=torch.float32)
    assert torch.equal(torch.get_rng_state(), state)
    assert load_surrogate(str(tmp_path), device=cpu, dtype=torch.float32) is model
    assert not any(weight.requires_grad for weight in model.parameters())
    torch.testing.assert_close(model(toy_photos(2)), ConvModel(3).eval()(toy_photos(2)))
    save_model(ConvModel(4), path, "toy", {"crop_size": 8, "seed": 1})
    cropping = load_surrogate(str(path), device=cpu, dtype=torch.float64)
    assert isinstance(cropping, CropAverage)
    assert cropping(toy_photos(1)[..., :5].double()).dtype == torch.float64


def test_a_file_that_is_no_surrogate_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "uap.safetensors"
    from robustiqa.core.tensor_files import write_tensors

    write_tensors(path, {"x": torch.zeros(1)}, {"attack": "uap"})
    with pytest.raises(WeightsError) as caught:
        create_attack("korhonen", surrogate=path).label  # noqa: B018
    assert str(caught.value) == (
        f"{path} does not say which model it is for; a surrogate is a weights file of this package, such as "
        "`robustiqa train` writes."
    )
    with pytest.raises(WeightsError, match=r"^there is no weights file .*nowhere"):
        create_attack("korhonen", surrogate="nowhere").label  # noqa: B018


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"steps": 5}, "min_steps must not exceed steps, got 20 and 5."),
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0."),
        ({"min_steps": 0}, "min_steps must be a whole number of at least 1, got 0."),
        (
            {"learning_rate": 0},
            "learning_rate must be greater than 0, got 0; published ones are .1 to 5 levels of 1/255.",
        ),
        ({"learning_rate": 2}, "learning_rate is in [0, 1] pixel units, got 2; did you mean '2/255'?"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        create_attack("korhonen", **options)
    assert str(caught.value) == sentence
