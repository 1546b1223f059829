"""What every attack in the registry owes; a new attack is tested by its registry line alone."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from robustiqa.attacks import attacks, create_attack
from robustiqa.attacks.base import NamedAttack
from robustiqa.attacks.objectives import objectives
from robustiqa.core.attack import AttackResult
from robustiqa.core.errors import InputError
from tests.attack_options import CHEAP, needs_extra
from tests.learned import LearnedState
from tests.toys import ConvModel, CountingModel, LinearModel, toy_photos

BUDGETS: list[float | str] = [0.001, 0.01, "4/255", "8/255"]
CONTROLS = ("random_sign",)
ON_TOP: dict[str, dict[str, Any]] = {"random_start": {"random_start": True}}  # options worth a variant each


def variants() -> list[NamedAttack]:
    """Every attack with its defaults but for `CHEAP`, and once more with each of `ON_TOP` that it has."""
    found = []
    for name in attacks.names():
        cheap = CHEAP.get(name, {})
        found.append(create_attack(name, **cheap))
        fields = getattr(attacks.get(name), "__dataclass_fields__", {})
        found += [create_attack(name, **cheap, **options) for key, options in ON_TOP.items() if key in fields]
    return found


def with_options(attack: NamedAttack, **options: Any) -> NamedAttack:
    return replace(attack, **options)


def parametrized(chosen: list[NamedAttack]) -> pytest.MarkDecorator:
    """A run of a test an attack, skipped where a package that the attack needs is not installed."""
    cases = [pytest.param(attack, marks=needs_extra(attack.name), id=attack.label) for attack in chosen]
    return pytest.mark.parametrize("attack", cases, indirect=True)


@pytest.fixture
def attack(request: pytest.FixtureRequest, learned: LearnedState) -> NamedAttack:
    """The attack, with the learned state that it needs, if any; it is fitted to `model_and_photos`' model."""
    return learned(request.param, model_and_photos()[0])


every_attack = parametrized(variants())
every_real_attack = parametrized([attack for attack in variants() if attack.name not in CONTROLS])


def model_and_photos(count: int = 4) -> tuple[ConvModel, Tensor]:
    return ConvModel(seed=1).eval(), toy_photos(count, 24, seed=1, low=0, high=255)


def levels(images: Tensor) -> Tensor:
    """8-bit levels of images that must hold nothing else."""
    found = (images.double() * 255).round()
    assert torch.equal((found / 255).float(), images)
    return found


def differing(images: Tensor, others: Tensor) -> float:
    """The share of pixels that differ by more than rounding, which steps that are no signs carry on."""
    return ((images - others).abs() > 1e-5).float().mean().item()


def mean_change(result: AttackResult) -> float:
    return (result.scores_8bit - result.clean_scores).abs().mean().item()


@every_attack
@pytest.mark.parametrize("eps", BUDGETS)
@pytest.mark.parametrize("objective", ["lower", "worst_of_both"])
def test_images_stay_in_range_and_in_budget_in_float_and_in_8_bits(
    attack: NamedAttack, eps: float | str, objective: str
) -> None:
    model, photos = model_and_photos()
    attack = with_options(attack, eps=eps, objective=objective)
    result = attack(model, photos)
    for images in (result.images, result.images_8bit):
        assert images.shape == photos.shape
        assert images.dtype == photos.dtype
        assert images.min() >= 0
        assert images.max() <= 1
    allowed = {0.001: 0, 0.01: 2, "4/255": 4, "8/255": 8}[eps]
    assert (result.images.double() - photos.double()).abs().max() <= attack.budget + 1e-7
    assert (levels(result.images_8bit) - levels(photos)).abs().max() <= allowed
    assert result.linf.max() <= attack.budget + 1e-7


@every_attack
def test_scores_are_those_of_the_images_returned(attack: NamedAttack) -> None:
    model, photos = model_and_photos()
    result = attack(model, photos)
    for images, scores in [
        (result.clean_images, result.clean_scores),
        (result.images, result.scores),
        (result.images_8bit, result.scores_8bit),
    ]:
        torch.testing.assert_close(scores, model.score(images), rtol=1e-6, atol=0)
    assert torch.equal(result.clean_images, photos)


@every_attack
def test_an_eps_of_zero_is_the_identity(attack: NamedAttack) -> None:
    model, photos = model_and_photos()
    result = with_options(attack, eps=0)(model, photos)
    assert torch.equal(result.images, photos)
    assert torch.equal(result.images_8bit, photos)
    torch.testing.assert_close(result.scores_8bit, result.clean_scores, rtol=1e-6, atol=0)


@every_attack
def test_input_model_and_global_generators_are_left_as_they_were(attack: NamedAttack) -> None:
    model, photos = model_and_photos()
    model.head.weight.requires_grad_(False)
    kept = photos.clone()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    needing = [weight.requires_grad for weight in model.parameters()]
    torch_state, numpy_state, python_state = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    attack(model, photos)
    assert torch.equal(photos, kept)
    assert not photos.requires_grad
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(value, buffers[name]) for name, value in model.named_buffers())
    assert [weight.requires_grad for weight in model.parameters()] == needing
    assert all(weight.grad is None for weight in model.parameters())
    assert not any(part.training for part in model.modules())
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert str(np.random.get_state()) == str(numpy_state)  # noqa: NPY002
    assert random.getstate() == python_state


@every_attack
def test_the_same_seed_gives_the_same_result_whatever_the_global_generator(attack: NamedAttack) -> None:
    model, photos = model_and_photos()
    first = attack(model, photos)
    torch.manual_seed(12345)
    second = attack(model, photos)
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.scores_8bit, second.scores_8bit)
    assert torch.equal(first.queries, second.queries)


@every_attack
def test_a_batch_gives_what_its_photos_give_one_by_one(attack: NamedAttack) -> None:
    model, photos = model_and_photos()
    keys = [f"photo-{place}" for place in range(len(photos))]
    together = attack(model, photos, keys=keys)
    alone = [attack(model, photos[i : i + 1], keys=keys[i : i + 1]) for i in range(len(photos))]
    images = torch.cat([result.images for result in alone])
    changes = torch.cat([result.scores_8bit - result.clean_scores for result in alone]).abs()
    assert mean_change(together) == pytest.approx(changes.mean().item(), rel=0.01)
    assert differing(together.images, images) <= 1e-3
    assert torch.equal(together.queries, torch.cat([result.queries for result in alone]))


@every_attack
def test_order_and_company_of_photos_do_not_matter(attack: NamedAttack) -> None:
    model, photos = model_and_photos()
    order = [2, 0, 3]
    forward = attack(model, photos, keys=["a", "b", "c", "d"])
    shuffled = attack(model, photos[order], keys=["c", "a", "d"])
    assert differing(forward.images[order], shuffled.images) <= 1e-3


@every_real_attack
@pytest.mark.parametrize("seed", [0, 1])
def test_an_attack_beats_random_signs_of_the_same_size(attack: NamedAttack, seed: int, learned: LearnedState) -> None:
    model, photos = ConvModel(seed).eval(), toy_photos(8, 24, seed)
    attack = learned(attack, model)
    noise = create_attack("random_sign", eps=attack.eps)(model, photos)
    assert mean_change(attack(model, photos)) > 3 * mean_change(noise)


@every_real_attack
@pytest.mark.parametrize(("objective", "sign"), [("lower", -1), ("raise", 1)])
def test_a_directed_attack_moves_scores_its_way(
    attack: NamedAttack, objective: str, sign: int, learned: LearnedState
) -> None:
    model, photos = ConvModel(2).eval(), toy_photos(6)
    attack = learned(attack, model)
    result = with_options(attack, objective=objective)(model, photos)
    assert (sign * (result.scores_8bit - result.clean_scores) > 0).all()


@every_attack
def test_repr_is_the_attack_in_python(attack: NamedAttack) -> None:
    names: dict[str, Any] = {attacks.get(name).__name__: attacks.get(name) for name in attacks.names()}
    names |= {objectives.get(name).__name__: objectives.get(name) for name in objectives.names()}
    for changed in (attack, with_options(attack, eps=0.01, objective="lower", seed=7)):
        assert eval(repr(changed), names) == changed
        assert eval(repr(changed), names).label == changed.label


@every_attack
def test_every_pass_is_counted_and_a_black_box_attack_takes_no_gradient(attack: NamedAttack) -> None:
    photos, count = toy_photos(3), 3
    for objective, goals in [("lower", 1), ("worst_of_both", 2)]:
        model = CountingModel(ConvModel()).eval()
        result = with_options(attack, objective=objective)(model, photos)
        queries, gradients = int(result.queries.sum()), int(result.gradients.sum())
        measuring = 2 * goals * count  # float and 8-bit scores, a goal
        if attack.threat_model == "black-box":
            assert (model.forwards, model.backwards) == (queries + count + measuring, 0)
            assert gradients == 0
            continue
        # The clean pass comes on top, unless each goal's first pass was it and none was run again.
        own = (model.forwards - measuring - queries, model.backwards - gradients)
        assert own in [(count, count), (count - goals * count, count - goals * count)]


def normalized(photos: Tensor) -> Tensor:
    return (photos - 0.45) / 0.225


def broken(photos: Tensor) -> Tensor:
    return photos.where(photos != photos.max(), torch.nan)


@every_attack
@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (normalized, "they look normalized already: pass plain pixels, the model normalizes them."),
        (lambda photos: 255 * photos, "they look like 8-bit values: divide by 255."),
        (broken, "images must lie in [0, 1], got values that are not finite."),
        (lambda photos: photos[0], "images must have shape (N, 3, H, W), got (3, 24, 24)."),
        (lambda photos: (255 * photos).byte(), "divide 8-bit values by 255."),
    ],
)
def test_images_that_are_no_pixels_are_refused(
    attack: NamedAttack, spoil: Callable[[Tensor], Tensor], problem: str
) -> None:
    model, photos = model_and_photos()
    with pytest.raises(InputError) as caught:
        attack(model, spoil(photos))
    assert str(caught.value).endswith(problem)


@every_attack
@pytest.mark.parametrize("part", ["", "body.1"])
def test_a_model_in_training_mode_is_refused(attack: NamedAttack, part: str) -> None:
    model, photos = model_and_photos()
    model.get_submodule(part).train()
    where = f" ({part!r} is)" if part else ""
    with pytest.raises(InputError) as caught:
        attack(model, photos)
    assert str(caught.value) == (
        f"the model is in training mode{where}; call model.eval() before scoring or attacking."
    )


@every_attack
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (2, 3, 13, 21)])
def test_any_size_and_precision_will_do(attack: NamedAttack, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    photos = torch.rand(shape, dtype=dtype).mul(255).round() / 255
    result = attack(ConvModel().eval().to(dtype), photos)
    assert result.images.dtype == result.images_8bit.dtype == dtype
    assert result.images.shape == shape


@every_attack
def test_a_model_that_ignores_its_images_can_not_be_moved(attack: NamedAttack) -> None:
    model = LinearModel(torch.zeros(3, 24, 24)).eval()
    result = attack(model, toy_photos(2))
    assert torch.equal(result.scores, result.clean_scores)


@pytest.mark.parametrize("name", attacks.names())
def test_an_attack_carries_its_registry_name_and_its_card(name: str) -> None:
    attack = attacks.get(name)
    assert attack.name == name
    assert attack.threat_model in ("white-box", "black-box")
    card = importlib.import_module(attack.__module__).__doc__ or ""
    assert all(f"\n{entry}:" in card for entry in ("Threat model", "Cost", "Source", "Deviations"))
