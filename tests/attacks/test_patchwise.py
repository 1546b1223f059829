from __future__ import annotations

import pytest
import torch
from torch import Tensor

from robustiqa.attacks import attacks, create_attack
from robustiqa.attacks.gradient import FGSM, IFGSM
from robustiqa.attacks.patchwise import CropModel, attack_patchwise
from robustiqa.core.errors import InputError
from robustiqa.core.model import QualityModel, ScoreScale
from robustiqa.models.crop_average import CropAverage
from tests.attack_options import CHEAP, needs_extra
from tests.learned import LearnedState
from tests.toys import ConvModel, CountingModel, LinearModel, toy_photos

SIDE = 8


def linear(size: float = 0.1) -> LinearModel:
    model = LinearModel.random(SIDE, size=size)
    model.crop_size = SIDE
    return model


def averaged(model: QualityModel | None = None) -> CropAverage:
    return CropAverage(model or ConvModel(crop_size=SIDE)).eval()


def photos(count: int = 2) -> Tensor:
    """Wide enough for 2 x 3 crops, which overlap."""
    return toy_photos(count, 20)[..., :12, :]


@pytest.mark.parametrize("attack", [FGSM(), IFGSM(steps=3, random_start=True), create_attack("random_sign")])
def test_it_is_the_attack_on_each_crop_and_the_mean_over_crops(attack: FGSM) -> None:
    model, images = averaged(), photos()
    found = {}
    for objective in ("lower", "raise"):
        one = type(attack)(**{**vars(attack), "objective": objective})
        found[objective] = attack_patchwise(one, model, images, ["a", "b"])
        for place, key in enumerate("ab"):
            crops = model.crops(images)[place]
            alone = [one(model.model, crop[None], keys=[f"{key}#{number}"]) for number, crop in enumerate(crops)]
            for name in ("clean_scores", "scores", "scores_8bit"):
                mean = torch.cat([getattr(run, name) for run in alone]).mean()
                torch.testing.assert_close(getattr(found[objective], name)[place], mean)
    both = attack_patchwise(attack, model, images, ["a", "b"])
    changes = torch.stack([(run.scores_8bit - run.clean_scores).abs() for run in found.values()])
    torch.testing.assert_close((both.scores_8bit - both.clean_scores).abs(), changes.amax(0))
    assert torch.equal(both.won, changes.argmax(0))


def test_clean_scores_are_those_of_the_photographs() -> None:
    model, images = averaged(), photos()
    result = attack_patchwise(FGSM(), model, images)
    torch.testing.assert_close(result.clean_scores, model.score(images))


def test_each_crop_of_a_linear_model_moves_by_eps_times_the_l1_norm() -> None:
    inner = linear()
    result = attack_patchwise(FGSM(eps="4/255", objective="raise"), averaged(inner), photos())
    expected = (4 / 255 * inner.slopes.detach().abs().sum()).expand(2)
    torch.testing.assert_close(result.scores - result.clean_scores, expected, rtol=1e-4, atol=0)
    torch.testing.assert_close(result.scores_8bit - result.clean_scores, expected, rtol=1e-4, atol=0)


def test_crops_that_need_not_agree_move_farther_than_one_perturbation_for_the_photo() -> None:
    model, images, attack = averaged(linear()), photos(), FGSM(objective="raise")
    patchwise, whole = attack_patchwise(attack, model, images), attack(model, images)
    ratio = (patchwise.scores - patchwise.clean_scores) / (whole.scores - whole.clean_scores)
    assert (ratio > 1.05).all()  # overlapping crops share pixels end to end


def test_crops_that_do_not_overlap_gain_nothing() -> None:
    model, attack = averaged(linear()), FGSM(objective="raise")
    images = toy_photos(2, 2 * SIDE)
    patchwise, whole = attack_patchwise(attack, model, images), attack(model, images)
    torch.testing.assert_close(patchwise.scores, whole.scores, rtol=1e-5, atol=0)


def test_a_direction_is_decided_crop_by_crop() -> None:
    inner = LinearModel(torch.full((3, SIDE, SIDE), 1 / (3 * SIDE * SIDE)), bias=0.0)  # the mean, 0..1
    inner.crop_size, inner.scale = SIDE, ScoreScale(0, 1)
    halves = torch.tensor([51.0, 204.0]) / 255  # a dark half and a bright one, .2 and .8
    image = halves.repeat_interleave(SIDE).expand(1, 3, SIDE, 2 * SIDE)
    result = attack_patchwise(FGSM(eps=0.1, objective="farther_end"), averaged(inner), image)
    torch.testing.assert_close(result.images.mean((1, 2, 3)), torch.tensor([0.3, 0.7]))
    torch.testing.assert_close(result.scores, torch.tensor([0.5]))


def test_the_kept_goal_is_the_photos_and_not_the_crops() -> None:
    inner = LinearModel(torch.full((3, SIDE, SIDE), 1.0)).eval()
    inner.crop_size = SIDE
    black_and_white = torch.tensor([0.0, 1.0]).repeat_interleave(SIDE).expand(1, 3, SIDE, 2 * SIDE)
    result = attack_patchwise(FGSM(eps="4/255"), averaged(inner), black_and_white)
    moved = (result.scores - result.clean_scores).abs().item()
    assert moved == pytest.approx(4 / 255 * 3 * SIDE * SIDE / 2, rel=1e-4)  # one crop moves, the other can't


def test_each_photo_keeps_its_own_goal_with_the_crops_that_belong_to_it() -> None:
    inner = LinearModel(torch.full((3, SIDE, SIDE), 1.0)).eval()
    inner.crop_size = SIDE
    white_then_black = torch.tensor([1.0, 0.0]).reshape(2, 1, 1, 1).expand(2, 3, SIDE, 2 * SIDE)
    result = attack_patchwise(FGSM(eps="4/255"), averaged(inner), white_then_black)
    assert result.won.tolist() == [0, 1]
    kept = result.by_photo(result.images.mean((1, 2, 3)))
    torch.testing.assert_close(kept, torch.tensor([[251.0, 251.0], [4.0, 4.0]]) / 255)
    torch.testing.assert_close(result.scores, inner.score(result.images).reshape(2, 2).mean(1))


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs_extra(name)) for name in attacks.names()])
@pytest.mark.parametrize("chunk", [1, 5, 12])
def test_the_result_does_not_depend_on_the_chunk(name: str, chunk: int, learned: LearnedState) -> None:
    attack = learned(create_attack(name, **CHEAP.get(name, {})), ConvModel().eval())
    whole = attack_patchwise(attack, averaged(), photos(), chunk=100)
    parts = attack_patchwise(attack, averaged(), photos(), chunk=chunk)
    torch.testing.assert_close(parts.scores, whole.scores, rtol=1e-5, atol=0)
    torch.testing.assert_close(parts.scores_8bit, whole.scores_8bit, rtol=1e-4, atol=0)  # half a level: either way
    assert ((parts.images - whole.images).abs() > 1e-5).float().mean() <= 1e-3
    assert torch.equal(parts.queries, whole.queries)


def test_arrays_are_a_photo_long_and_images_hold_the_crops() -> None:
    images = photos(3)
    result = attack_patchwise(FGSM(eps=0.02), averaged(), images)
    crops = averaged().crops(images)
    assert result.crop_count == 6
    assert torch.equal(result.clean_images, crops.flatten(0, 1))
    assert result.images.shape == result.images_8bit.shape == (18, 3, SIDE, SIDE)
    for values in (result.scores, result.won, result.queries, result.linf, result.l2, result.ssim):
        assert values.shape == (3,)
    change = (result.images - result.clean_images).reshape(3, -1)
    torch.testing.assert_close(result.linf, change.abs().amax(1))
    torch.testing.assert_close(result.l2, change.norm(dim=1))
    assert ((result.ssim > 0) & (result.ssim < 1)).all()


def test_a_photos_crops_count_as_one_pass_and_the_clean_one_is_shared() -> None:
    counting = CountingModel(ConvModel())
    counting.crop_size = SIDE
    result = attack_patchwise(IFGSM(steps=4), averaged(counting), photos(2), chunk=12)
    assert result.queries.tolist() == result.gradients.tolist() == [8, 8]  # 4 steps to either side
    assert counting.backwards == 12 * (8 - 2 + 1)  # both goals start with the one clean pass


def test_the_global_generator_and_the_model_are_left_as_they_were() -> None:
    model, state = averaged(), torch.get_rng_state()
    attack_patchwise(IFGSM(steps=2, random_start=True), model, photos())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())


def test_a_model_without_crops_is_refused() -> None:
    stranger: CropModel = ConvModel().eval()  # type: ignore[assignment]
    with pytest.raises(InputError) as caught:
        attack_patchwise(FGSM(), stranger, photos())
    assert str(caught.value) == (
        "a patchwise attack needs a model that averages crops, got ConvModel; wrap it in CropAverage."
    )


def test_training_mode_wrong_keys_and_wrong_pixels_are_refused() -> None:
    with pytest.raises(InputError, match="training mode"):
        attack_patchwise(FGSM(), averaged().train(), photos())
    with pytest.raises(InputError, match=r"^keys must name each of the 2 images, got 1\.$"):
        attack_patchwise(FGSM(), averaged(), photos(), ["a"])
    with pytest.raises(InputError, match=r"divide by 255\.$"):
        attack_patchwise(FGSM(), averaged(), 255 * photos())
    with pytest.raises(InputError, match=r"^chunk must be a whole number of at least 1, got 0\.$"):
        attack_patchwise(FGSM(), averaged(), photos(), chunk=0)
