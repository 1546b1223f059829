"""What every attack with a `norm` owes under an L2 budget, beside what the attack contract asks of its default."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from robustiqa.attacks import attacks, create_attack
from robustiqa.attacks.base import NamedAttack
from robustiqa.core import pixels
from robustiqa.core.balls import L2Ball
from robustiqa.core.seeds import generator
from tests.attack_options import CHEAP
from tests.toys import ConvModel, toy_photos

EPS = 0.65  # about as long as 4/255 in each value of a 24x24 photo
ABLE = [name for name in attacks.names() if "norm" in getattr(attacks.get(name), "__dataclass_fields__", {})]
every_l2_attack = pytest.mark.parametrize("name", ABLE)


def l2_attack(name: str, **options: Any) -> NamedAttack:
    return create_attack(name, **{"norm": "l2", "eps": EPS, **CHEAP.get(name, {}), **options})


def model_and_photos(count: int = 3) -> tuple[ConvModel, Tensor]:
    return ConvModel(seed=1).eval(), toy_photos(count, 24, seed=1, low=0, high=255)


def test_there_are_attacks_with_a_norm() -> None:
    assert {"apgd", "mifgsm"} <= set(ABLE)


@every_l2_attack
@pytest.mark.parametrize("eps", [0.01, "0.2", EPS, 3])
def test_images_stay_in_range_and_in_the_l2_budget_in_float_and_in_8_bits(name: str, eps: float | str) -> None:
    model, photos = model_and_photos()
    attack = l2_attack(name, eps=eps, objective="lower")
    result = attack(model, photos)
    for images in (result.images, result.images_8bit):
        assert images.min() >= 0
        assert images.max() <= 1
        assert (pixels.l2_distance(images.double(), photos.double()) <= attack.budget * (1 + 2e-6) + 1e-7).all()
    assert torch.equal(result.images_8bit, pixels.quantize(result.images_8bit))
    assert (result.l2 > 0.9 * attack.budget).all()


@every_l2_attack
def test_an_l2_budget_of_zero_is_the_identity(name: str) -> None:
    model, photos = model_and_photos()
    result = l2_attack(name, eps=0)(model, photos)
    assert torch.equal(result.images, photos)
    assert torch.equal(result.images_8bit, photos)


@every_l2_attack
@pytest.mark.parametrize("random_start", [False, True])
def test_a_batch_gives_what_its_photos_give_one_by_one_in_l2(name: str, random_start: bool) -> None:
    model, photos = model_and_photos()
    attack = l2_attack(name, random_start=random_start, objective="raise")
    together = attack(model, photos, keys=["a", "b", "c"])
    alone = [attack(model, photos[i : i + 1], keys=["abc"[i]]) for i in range(3)]
    torch.testing.assert_close(together.images, torch.cat([one.images for one in alone]), rtol=0, atol=1e-4)
    torch.testing.assert_close(together.scores_8bit, torch.cat([one.scores_8bit for one in alone]), rtol=1e-4, atol=0)


@every_l2_attack
def test_an_l2_attack_beats_noise_of_the_same_length(name: str) -> None:
    model, photos = model_and_photos()
    noise = L2Ball(EPS).random_point(photos, [generator(key) for key in range(len(photos))])
    clean = model.score(photos)
    result = l2_attack(name, objective="raise")(model, photos)
    assert ((result.scores_8bit - clean) > 3 * (model.score(noise) - clean).abs()).all()


@every_l2_attack
def test_repr_and_label_of_an_l2_attack_say_its_norm(name: str) -> None:
    attack = l2_attack(name)
    assert "norm='l2'" in repr(attack)
    assert "eps=0.65, norm=l2" in attack.label
    assert "norm" not in create_attack(name).label
