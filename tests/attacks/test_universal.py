"""UAP: scaling, tiling, directions, and files that are refused."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from robustiqa.attacks import create_attack
from robustiqa.attacks.learned import STATE_FILE, tiled
from robustiqa.attacks.objectives import Target
from robustiqa.core.errors import InputError, RobustIQAError, WeightsError
from robustiqa.core.tensor_files import file_hash, write_tensors
from robustiqa.evaluation.run import evaluate
from tests.learned import LearnedState, toy_dataset
from tests.toys import ConvModel, LinearModel, toy_photos

EPS = 10 / 255


def tile(seed: int = 0, height: int = 5, width: int = 7) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return EPS * (2 * torch.rand(3, height, width, generator=draw) - 1)


def metadata(**changed: Any) -> dict[str, Any]:
    return {"attack": "uap", "goals": ["lower", "raise"], "eps": EPS} | changed


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "uap.safetensors"
    write_tensors(path, {"lower.perturbation": tile(1), "raise.perturbation": tile(2)}, metadata())
    return path


def rewrite(path: Path, **changed: Any) -> None:
    """The file with only the perturbation that raises in it, and other metadata."""
    write_tensors(path, {"raise.perturbation": tile(2)}, metadata(**changed))


@pytest.mark.parametrize(("objective", "seed"), [("lower", 1), ("raise", 2)])
@pytest.mark.parametrize("eps", ["2/255", "10/255", "16/255"])
@pytest.mark.parametrize("size", [(5, 7), (24, 24), (3, 16), (13, 4)])
def test_the_change_is_the_scaled_tile_repeated_from_the_top_left(
    file: Path, objective: str, seed: int, eps: str, size: tuple[int, int]
) -> None:
    photos = toy_photos(2)[..., : size[0], : size[1]]
    attack = create_attack("uap", weights=file, eps=eps, objective=objective)
    result = attack(ConvModel().eval(), photos)
    amplitude = attack.budget / EPS
    expected = np.empty((3, *size))
    for row in range(size[0]):
        for column in range(size[1]):
            expected[:, row, column] = amplitude * tile(seed).numpy()[:, row % 5, column % 7]
    change = (result.images - photos).numpy()
    np.testing.assert_allclose(change, np.broadcast_to(expected, change.shape), atol=1e-7)


def test_each_photo_gets_the_tile_of_its_own_direction(file: Path) -> None:
    model = LinearModel(torch.ones(3, 8, 8), bias=0.0).eval()
    dark, bright = toy_photos(1, 8, high=20), toy_photos(1, 8, low=220)
    result = create_attack("uap", weights=file, eps=EPS, objective="farther_end")(model, torch.cat([dark, bright]))
    change = result.images - result.clean_images
    torch.testing.assert_close(change, torch.stack([tiled(tile(2), 8, 8), tiled(tile(1), 8, 8)]))
    assert result.queries.tolist() == result.gradients.tolist() == [0, 0]


def test_a_goal_that_is_no_direction_takes_the_better_of_both_at_two_queries(tmp_path: Path) -> None:
    model = LinearModel(torch.ones(3, 8, 8), bias=0.0).eval()
    photos = toy_photos(3, 8)
    rise = 192 * EPS
    path = tmp_path / "uap.safetensors"
    both = {f"{goal}.perturbation": torch.full((3, 8, 8), sign * EPS) for goal, sign in [("lower", -1), ("raise", 1)]}
    write_tensors(path, both, metadata())
    clean = model.score(photos)
    for target, moved in [(clean[0] + rise, rise), (clean[0] - rise, -rise), (clean[0], 0.0)]:
        attack = create_attack("uap", weights=path, eps=EPS, objective=Target(score=float(target)))
        result = attack(model, photos[:1])
        torch.testing.assert_close(result.scores - clean[:1], torch.tensor([moved]), rtol=1e-4, atol=1e-3)
        assert result.queries.tolist() == [2]


def test_a_folder_of_a_fitting_stands_for_its_file(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(file, folder / STATE_FILE)
    one, other = create_attack("uap", weights=file), create_attack("uap", weights=str(folder))
    photos = toy_photos(2)
    assert torch.equal(one(ConvModel().eval(), photos).images, other(ConvModel().eval(), photos).images)
    assert one.label == other.label == f"uap(eps=4/255, weights={file_hash(file)})"


def test_a_file_that_is_replaced_is_read_again(file: Path) -> None:
    attack, model, photos = create_attack("uap", weights=file, objective="raise"), ConvModel().eval(), toy_photos(1)
    before, label = attack(model, photos).images, attack.label
    write_tensors(file, {"raise.perturbation": tile(3, 6, 6)}, metadata(goals=["raise"]))
    assert attack.label != label
    assert not torch.equal(attack(model, photos).images, before)


def test_records_go_by_the_hash_and_the_run_says_where_the_file_came_from(file: Path) -> None:
    attack = create_attack("uap", weights=file)
    found = evaluate(ConvModel().eval(), toy_dataset(2), [attack])
    label = f"uap(eps=4/255, weights={file_hash(file)})"
    assert {record.attack for record in found.records} == {"none", label}
    said = found.info["learned"][label]
    assert (said["sha256"], said["goals"], said["eps"]) == (file_hash(file), ["lower", "raise"], EPS)
    assert "learned" not in evaluate(ConvModel().eval(), toy_dataset(2), [create_attack("fgsm")]).info


class Detached(ConvModel):
    """Has scores and no gradients."""

    def raw_scores(self, normalized: Tensor) -> Tensor:
        return super().raw_scores(normalized).detach()


@pytest.mark.parametrize("name", ["uap", "facpa", "korhonen"])
def test_a_model_without_gradients_can_be_attacked(learned: LearnedState, name: str) -> None:
    attack = learned(create_attack(name), ConvModel(1).eval())
    result = attack(Detached(1).eval(), toy_photos(2))
    assert (result.scores_8bit != result.clean_scores).all()
    assert attack.threat_model == "black-box"


@pytest.mark.parametrize("objective", ["lower", "worst_of_both", "farther_end", "squared_shift"])
def test_a_file_of_one_direction_is_refused_for_the_other(file: Path, objective: str) -> None:
    rewrite(file, goals=["raise"])
    model = LinearModel.random()
    assert model.score(toy_photos(1)) > 50 or objective != "farther_end"  # farther_end lowers this one
    with pytest.raises(InputError) as caught:
        create_attack("uap", weights=file, objective=objective)(model, toy_photos(1))
    assert str(caught.value) == (
        f"{file} was fitted to raise scores only; take objective 'raise', or fit an attack that can lower them, too "
        "(`robustiqa fit`)."
    )
    assert create_attack("uap", weights=file, objective="raise")(model, toy_photos(1)).linf > 0


def spoiled(path: Path, how: str) -> None:
    """Turns a good file into one that must be refused."""
    if how == "missing":
        path.unlink()
    elif how == "text":
        path.write_text("not a file of tensors")
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    elif how == "stranger":
        save_file({"raise.perturbation": tile()}, path)
    elif how == "other attack":
        rewrite(path, attack="facpa")
    elif how == "other version":
        rewrite(path, schema_version=2)
    elif how == "lacking":
        write_tensors(path, {"lower.perturbation": tile()}, metadata())
    elif how == "no direction":
        rewrite(path, goals=[])
    elif how == "no eps":
        rewrite(path, goals=["raise"], eps=None)
    elif how == "too large":
        write_tensors(path, {"raise.perturbation": 1.5 * tile() / tile().abs().max() * EPS}, metadata())
    elif how == "gray":
        write_tensors(path, {"raise.perturbation": tile()[:1]}, metadata())
    elif how == "not a number":
        write_tensors(path, {"raise.perturbation": torch.full((3, 4, 4), torch.nan)}, metadata())


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("missing", "there is no weights file {file}."),
        ("text", "{file} is not a safetensors file or is cut short (...)."),
        ("cut", "{file} is not a safetensors file or is cut short (...)."),
        ("stranger", "{file} holds no fitted attack; `robustiqa fit uap` makes one."),
        ("other attack", "{file} was fitted for the attack 'facpa', not for 'uap'."),
        ("other version", "{file} is of schema version 2, this version reads 1; fit the attack again."),
        ("lacking", "{file} lacks what it says it holds to raise scores; fit the attack again."),
        ("no direction", "{file} does not say whether it raises or lowers scores; fit the attack again."),
        ("no eps", "{file} does not say at which eps it was fitted; fit the attack again."),
        (
            "too large",
            "{file} says it was fitted within 0.0392157, but holds a change of 0.0588235; fit it again.",
        ),
        ("gray", "{file} does not hold a (3, h, w) perturbation to raise scores; fit it again."),
        ("not a number", "{file} says it was fitted within 0.0392157, but holds a change of nan; fit it again."),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence(file: Path, how: str, sentence: str) -> None:
    spoiled(file, how)
    with pytest.raises(WeightsError) as caught:
        create_attack("uap", weights=file, objective="raise")(ConvModel().eval(), toy_photos(1))
    said = re.sub(r"\((?!3, h, w).*\)\.$", "(...).", str(caught.value), flags=re.DOTALL)
    assert said == sentence.format(file=file)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("uap", "'uap' needs weights=FILE; `robustiqa fit uap` makes one."),
        ("facpa", "'facpa' needs weights=FILE; `robustiqa fit facpa` makes one."),
        (
            "korhonen",
            "'korhonen' needs surrogate=FILE, a weights file of a quality model; `robustiqa train` makes one.",
        ),
    ],
)
def test_an_attack_without_its_state_says_where_to_get_it(name: str, sentence: str) -> None:
    with pytest.raises(RobustIQAError) as caught:
        create_attack(name)(ConvModel().eval(), toy_photos(1))
    assert str(caught.value) == sentence
