"""Fitting attacks: closed forms on linear models, resumption, and requests that can't be met."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from robustiqa.attacks import create_attack
from robustiqa.core.errors import DataError, InputError, RobustIQAError, SpecError, UnknownNameError, WorkFailedError
from robustiqa.core.model import QualityModel
from robustiqa.core.tensor_files import TensorFile, read_tensors
from robustiqa.models.weights import state_hash
from robustiqa.training.attack_fitting import FitOptions, FitProgress, create_fit, fit_attack
from robustiqa.training.learners import tiled_at
from tests.learned import toy_dataset
from tests.toys import ConstantModel, ConvModel, LinearModel, toy_photos

SIDE = 24
EPS = 10 / 255
SIGNS = {"lower": -1, "raise": 1}
TINY: dict[str, Any] = {"crop_size": SIDE, "levels": 3, "width": 4, "learning_rate": 0.02, "epochs": 6}


def fitted(folder: Path, name: str, model: QualityModel, count: int = 8, **options: Any) -> TensorFile:
    spec = create_fit(name, **{"crop_size": SIDE, **options})
    return read_tensors(fit_attack(spec, model, toy_dataset(count), folder))


def sum_over_tiles(slopes: Tensor, side: int) -> Tensor:
    """(3, H, W) to (3, side, side), pixel by pixel."""
    total = torch.zeros(3, side, side)
    for row in range(slopes.shape[1]):
        for column in range(slopes.shape[2]):
            total[:, row % side, column % side] += slopes[:, row, column]
    return total


@pytest.mark.parametrize("side", [0, 24, 12, 7])
def test_an_optimized_perturbation_of_a_linear_score_is_eps_times_the_sign_of_the_tiles_sum(
    tmp_path: Path, side: int
) -> None:
    model = LinearModel.random(SIDE)
    found = fitted(tmp_path / "run", "uap", model, side=side, epochs=6, learning_rate=0.01)
    for goal, sign in SIGNS.items():
        expected = sign * EPS * sum_over_tiles(model.slopes.detach(), side or SIDE).sign()
        torch.testing.assert_close(found.tensors[f"{goal}.perturbation"], expected)


def test_a_cumulative_perturbation_of_a_linear_score_adds_gradients_up_and_is_clipped(tmp_path: Path) -> None:
    model = LinearModel.random(SIDE)
    found = fitted(tmp_path / "run", "uap", model, count=5, kind="cumulative", epochs=3, learning_rate=9.0, side=12)
    total = 3 * 5 * 9.0 * sum_over_tiles(model.slopes.detach(), 12) / model.scale.span
    assert 0.1 < (total.abs() < EPS).float().mean() < 0.9
    for goal, sign in SIGNS.items():
        torch.testing.assert_close(found.tensors[f"{goal}.perturbation"], (sign * total).clamp(-EPS, EPS))
    assert found.metadata["fit"]["batch_size"] == 1


@pytest.mark.parametrize(("name", "options"), [("uap", {"kind": "generative"}), ("facpa", {})])
def test_a_network_learns_to_move_scores_its_way_within_eps(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    model = ConvModel(5).eval()
    file = fit_attack(create_fit(name, **TINY, **options), model, toy_dataset(), tmp_path / "run")
    for goal, sign in SIGNS.items():
        scores = read_tensors(file).metadata["mean_scores"][goal]
        assert sign * (scores[-1] - scores[0]) > 0
        result = create_attack(name, weights=file, eps=EPS, objective=goal)(model, toy_photos(4, seed=50))
        assert (sign * (result.scores - result.clean_scores) > 0).all()
        assert 0.2 * EPS < result.linf.min() <= result.linf.max() <= EPS + 1e-7


def test_crops_see_the_tile_as_it_lies_on_their_photograph() -> None:
    tile = torch.rand(3, 5, 7)
    plane = np.tile(tile.numpy(), (1, 6, 6))
    corners = [(0, 0), (3, 2), (11, 9), (5, 7)]
    for (row, column), seen in zip(corners, tiled_at(tile, corners, 12, 10), strict=True):
        np.testing.assert_array_equal(seen.numpy(), plane[:, row : row + 12, column : column + 10])


def test_crops_of_larger_photographs_move_from_epoch_to_epoch_and_the_tile_with_them(tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    slopes = 0.01 * torch.randn(3, 1, 1, generator=draw).expand(3, 12, 12)  # one color: the same wherever it is seen
    found = fitted(tmp_path / "run", "uap", LinearModel(slopes).eval(), crop_size=12, learning_rate=0.01, epochs=6)
    expected = EPS * slopes.sign()
    torch.testing.assert_close(found.tensors["raise.perturbation"], expected)


def test_the_file_says_how_to_whom_and_on_what_it_was_fitted(tmp_path: Path) -> None:
    model = ConvModel(5).eval()
    spec = create_fit("uap", kind="cumulative", goals="raise", eps="8/255", epochs=2, crop_size=SIDE, seed=3)
    data = toy_dataset(3)
    file = fit_attack(spec, model, data, tmp_path / "run", FitOptions(source={"label": "toy", "sha256": "ab"}))
    said = read_tensors(file).metadata
    assert (said["attack"], said["goals"], said["eps"], said["schema_version"]) == ("uap", ["raise"], 8 / 255, 1)
    assert said["dataset"] == {"name": "toys", "part": "train", "fingerprint": data.fingerprint(), "n": 3}
    assert said["source"] == {
        "kind": "ConvModel",
        "state": state_hash(model),
        "scale": {"low": 0.0, "high": 100.0},
        "label": "toy",
        "sha256": "ab",
    }
    wanted = {"kind": "cumulative", "epochs": 2, "seed": 3, "batch_size": 1, "learning_rate": 1.0, "crop_size": SIDE}
    assert said["fit"].items() >= wanted.items()
    assert len(said["mean_scores"]["raise"]) == 2
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["attack.safetensors", "run.json"]


class StopError(Exception):
    pass


@pytest.mark.parametrize(
    ("name", "options"), [("uap", {}), ("uap", {"kind": "cumulative"}), ("uap", {"kind": "generative"}), ("facpa", {})]
)
@pytest.mark.parametrize("at", [3, 9])  # within the first direction, and within the second
def test_a_fitting_that_was_stopped_ends_as_if_it_had_not_been(
    tmp_path: Path, name: str, options: dict[str, Any], at: int
) -> None:
    spec = create_fit(name, **{**TINY, "epochs": 3, "batch_size": 4, **options})
    model = ConvModel(5).eval()
    steps: list[int] = []

    def stop(now: FitProgress) -> None:
        steps.append(now.step)
        if now.step == at:
            raise StopError

    with pytest.raises(StopError):
        fit_attack(spec, model, toy_dataset(), tmp_path / "stopped", FitOptions(progress=stop))
    torch.manual_seed(1234)
    resumed = fit_attack(
        spec, model, toy_dataset(), tmp_path / "stopped", FitOptions(progress=lambda now: steps.append(now.step))
    )
    whole = fit_attack(spec, model, toy_dataset(), tmp_path / "whole")
    assert steps == [*range(1, at + 1), *range(2 * ((at - 1) // 2) + 1, 13)]  # an epoch has two steps
    files = [read_tensors(file) for file in (resumed, whole)]
    assert files[0].metadata == files[1].metadata
    assert list(files[0].tensors) == list(files[1].tensors)
    assert all(torch.equal(files[0].tensors[tensor], value) for tensor, value in files[1].tensors.items())


def test_a_finished_fitting_is_not_fitted_again_and_another_is_refused(tmp_path: Path) -> None:
    model, folder = ConvModel(5).eval(), tmp_path / "run"
    spec = create_fit("uap", crop_size=SIDE, epochs=1)
    file = fit_attack(spec, model, toy_dataset(4), folder)
    before = file.stat().st_mtime_ns
    fit_attack(spec, model, toy_dataset(4), folder)
    assert file.stat().st_mtime_ns == before
    with pytest.raises(SpecError, match=r"holds another run \(fit.epochs is 1 there, 2 now\)"):
        fit_attack(create_fit("uap", crop_size=SIDE, epochs=2), model, toy_dataset(4), folder)
    with pytest.raises(SpecError, match=r"holds another run \(source.state is"):
        fit_attack(spec, ConvModel(6).eval(), toy_dataset(4), folder)


def test_the_model_and_the_global_generator_are_left_as_they_were(tmp_path: Path) -> None:
    model = ConvModel(5).eval()
    model.head.weight.requires_grad_(False)
    weights, state = state_hash(model), torch.get_rng_state()
    needing = [weight.requires_grad for weight in model.parameters()]
    fit_attack(create_fit("facpa", **{**TINY, "epochs": 1}), model, toy_dataset(4), tmp_path / "run")
    assert state_hash(model) == weights
    assert torch.equal(torch.get_rng_state(), state)
    assert [weight.requires_grad for weight in model.parameters()] == needing
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"kind": "optimised"}, "kind must be one of optimized, cumulative, generative, got 'optimised'; did you mean"),
        ({"goals": ("up",)}, "goals must be lower, raise or both, got up."),
        ({"goals": ()}, "goals must be lower, raise or both, got none."),
        ({"eps": 0}, "eps must be greater than 0 to fit an attack, got 0."),
        ({"eps": 10}, "eps is in [0, 1] pixel units, got 10; did you mean '10/255'?"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0."),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0."),
        ({"learning_rate": 0.0}, "learning_rate must be greater than 0, got 0.0."),
        ({"side": -1}, "side must be a whole number, or 0 for that of the crops, got -1."),
        ({"crop_size": 0.5}, "crop_size must be a whole number, or 0 for the usual, got 0.5."),
        ({"epoch": 1}, "fitting 'uap' has no option 'epoch'; did you mean 'epochs'?"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        create_fit("uap", **options)
    assert str(caught.value).startswith(sentence)


def test_an_attack_that_is_not_fitted_names_those_that_are() -> None:
    with pytest.raises(UnknownNameError, match=r"^unknown fitting 'fgsm'. Known: facpa, uap\.$"):
        create_fit("fgsm")


class Detached(ConvModel):
    def raw_scores(self, normalized: Tensor) -> Tensor:
        return super().raw_scores(normalized).detach()


@pytest.mark.parametrize(
    ("model", "options", "kind", "sentence"),
    [
        (ConvModel().train(), {}, InputError, "the model is in training mode"),
        (Detached().eval(), {}, InputError, "the model's scores have no gradient in the images;"),
        (ConvModel(crop_size=8).eval(), {}, SpecError, "the model takes crops of 8, crop_size is 24; leave it out."),
        (ConvModel().eval(), {"side": 25}, SpecError, "a tile of 25 does not fit into crops of 24;"),
        (ConvModel().eval(), {"crop_size": 30}, DataError, "000.png is 24x24, smaller than the 30x30 crop"),
        (ConvModel().eval(), {"part": "test"}, DataError, "dataset 'toys' has no part 'test'; it has: all, train."),
        (ConstantModel(torch.nan).eval(), {}, WorkFailedError, "the model's scores are not finite in epoch 1 of"),
    ],
)
def test_a_request_that_can_not_be_met_is_one_sentence(
    tmp_path: Path, model: QualityModel, options: dict[str, Any], kind: type[RobustIQAError], sentence: str
) -> None:
    spec = create_fit("uap", **{"crop_size": SIDE, "batch_size": 1, **options})
    data = toy_dataset(1)
    with pytest.raises(kind) as caught:
        fit_attack(spec, model, data, tmp_path / "run")
    assert str(caught.value).startswith(sentence)
