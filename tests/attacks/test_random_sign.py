from __future__ import annotations

import pytest
import torch

from robustiqa.attacks.random_sign import RandomSign
from tests.toys import ConvModel, CountingModel, LinearModel, toy_photos


def test_every_pixel_moves_by_eps_half_of_them_up() -> None:
    photos = toy_photos(2, 64)
    result = RandomSign(eps=0.02)(ConvModel().eval(), photos)
    torch.testing.assert_close((result.images - photos).abs(), torch.full_like(photos, 0.02), rtol=0, atol=1e-6)
    share_up = (result.images > photos).float().mean((1, 2, 3))
    torch.testing.assert_close(share_up, torch.full((2,), 0.5), rtol=0, atol=0.02)


def test_channels_and_photos_draw_different_signs_and_the_seed_decides() -> None:
    photos = toy_photos(1, 32).expand(2, 3, 32, 32)
    up = RandomSign()(ConvModel().eval(), photos).images > photos
    assert not torch.equal(up[0], up[1])
    assert not torch.equal(up[0, 0], up[0, 1])
    assert not torch.equal(up, RandomSign(seed=1)(ConvModel().eval(), photos).images > photos)


def test_the_noise_does_not_depend_on_the_model_or_the_objective() -> None:
    photos = toy_photos(2)
    reference = RandomSign()(ConvModel().eval(), photos).images
    for objective in ("lower", "raise", "absolute_shift"):
        found = RandomSign(objective=objective)(LinearModel.random(), photos)
        assert torch.equal(found.images, reference)


def test_it_asks_the_model_nothing() -> None:
    model = CountingModel(ConvModel()).eval()
    result = RandomSign(objective="raise")(model, toy_photos(2))
    assert result.queries.tolist() == result.gradients.tolist() == [0, 0]
    assert model.forwards == 2 * 3  # clean, float and 8-bit scores


@pytest.mark.parametrize("side", [16, 64])
def test_on_a_linear_model_it_moves_the_score_by_the_l2_norm_and_not_the_l1(side: int) -> None:
    model, photos = LinearModel.random(side, size=1.0), toy_photos(1, side).expand(64, 3, side, side)
    result = RandomSign(eps=0.01, objective="raise")(model, photos)
    spread = (result.scores - result.clean_scores).square().mean().sqrt().item()
    expected = 0.01 * model.slopes.detach().norm().item()  # independent signs add up in squares
    assert spread == pytest.approx(expected, rel=0.25)
