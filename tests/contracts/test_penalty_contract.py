"""What every penalty in the registry owes, with each estimator it takes; a new one is tested by its registry line."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustiqa.core.errors import InputError
from robustiqa.core.penalty import Penalty
from robustiqa.defenses import estimators, penalties
from tests.toys import ConstantModel, ConvModel

ONLY: dict[str, tuple[str, ...]] = {"nt-published": ("finite_difference",)}  # penalties that refuse other estimators
OF_THE_BATCH = ("nt-standardized",)  # measured in what the batch's scores spread over: blind to their scale


def cases() -> list[Any]:
    """Every penalty with every estimator that it takes."""
    return [
        pytest.param((name, estimator), id=f"{name} {estimator}")
        for name in penalties.names()
        for estimator in ONLY.get(name, estimators.names())
    ]


class Stranger(nn.Module):
    """Anyone's module: no base class of ours, no `input_std`, dropout inside."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.SiLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(144, 1)
        )

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.body(images)[:, 0]
        return scores


@pytest.fixture(params=cases())
def chosen(request: pytest.FixtureRequest) -> tuple[str, str]:
    names: tuple[str, str] = request.param
    return names


def penalty_of(chosen: tuple[str, str], weight: float = 0.01) -> Penalty:
    name, estimator = chosen
    return penalties.create(name, estimator=estimators.create(estimator), weight=weight)


def photos() -> Tensor:
    return torch.rand(3, 3, 8, 8)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", [ConvModel, Stranger])
def test_it_is_a_positive_scalar_that_reaches_the_weights(
    chosen: tuple[str, str], kind: type[nn.Module], training: bool
) -> None:
    model = kind().train(training)
    scores, penalty = penalty_of(chosen)(model, photos())
    torch.autograd.backward(penalty)
    reached = [weight.grad for weight in model.parameters() if weight.grad is not None]
    assert scores.shape == (3,) and penalty.shape == ()
    assert penalty.item() > 0
    assert all(gradient.isfinite().all() for gradient in reached)
    assert sum(gradient.abs().sum().item() for gradient in reached) > 0


def test_it_is_zero_on_a_constant_model(chosen: tuple[str, str]) -> None:
    _, penalty = penalty_of(chosen)(ConstantModel(), photos())
    assert penalty.item() == 0


@pytest.mark.parametrize("training", [False, True])
def test_scores_are_those_of_one_clean_pass_and_carry_its_graph(chosen: tuple[str, str], training: bool) -> None:
    model, images = ConvModel().train(training), photos()
    torch.manual_seed(1)
    scores, _ = penalty_of(chosen)(model, images)
    torch.manual_seed(1)
    torch.testing.assert_close(scores, model(images))
    (gradient,) = torch.autograd.grad(scores.sum(), model.head.weight)
    assert gradient.abs().sum() > 0


def test_it_is_proportional_to_its_weight_and_zero_at_zero(chosen: tuple[str, str]) -> None:
    model, images = ConvModel().eval(), photos()
    one, ten, none = (penalty_of(chosen, weight)(model, images).penalty.item() for weight in (0.01, 0.1, 0.0))
    assert ten == pytest.approx(10 * one, rel=1e-5)
    assert none == 0


def test_it_grows_with_the_square_of_the_score_scale_or_not_at_all(chosen: tuple[str, str]) -> None:
    class Doubled(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.module = model

        def forward(self, images: Tensor) -> Tensor:
            scores: Tensor = 2 * self.module(images)
            return scores

    model, images = ConvModel().eval().double(), photos().double()
    once, twice = (penalty_of(chosen)(one, images).penalty.item() for one in (model, Doubled(model)))
    assert twice == pytest.approx(once if chosen[0] in OF_THE_BATCH else 4 * once, rel=1e-6)


@pytest.mark.parametrize("training", [False, True])
def test_images_modes_and_gradient_switches_are_left_as_they_were(chosen: tuple[str, str], training: bool) -> None:
    model, images = Stranger().train(training), photos()
    frozen = model.body[0].weight
    assert isinstance(frozen, nn.Parameter)
    frozen.requires_grad_(False)
    before, modes = images.clone(), [part.training for part in model.modules()]
    switches = [weight.requires_grad for weight in model.parameters()]
    penalty_of(chosen)(model, images)
    assert torch.equal(images, before) and not images.requires_grad and images.grad is None
    assert [part.training for part in model.modules()] == modes
    assert [weight.requires_grad for weight in model.parameters()] == switches
    assert all(weight.grad is None for weight in model.parameters())


def test_equal_seeds_give_equal_penalties(chosen: tuple[str, str]) -> None:
    model, images = Stranger().train(), photos()
    found = []
    for _ in range(2):
        torch.manual_seed(5)
        found.append(penalty_of(chosen)(model, images).penalty.item())
    assert found[0] == found[1]


def test_the_mean_over_a_batch_is_the_mean_over_its_images(chosen: tuple[str, str]) -> None:
    if chosen[0] in OF_THE_BATCH:
        pytest.skip(f"{chosen[0]} depends on all images of a batch")
    model, images = ConvModel().eval(), photos()
    alone = [penalty_of(chosen)(model, image[None]).penalty.item() for image in images]
    assert penalty_of(chosen)(model, images).penalty.item() == pytest.approx(sum(alone) / 3, rel=1e-3)


def test_negative_weights_are_refused(chosen: tuple[str, str]) -> None:
    with pytest.raises(InputError, match=r"must be at least 0, got -0\.5"):
        penalty_of(chosen, weight=-0.5)


def test_unknown_options_are_refused_with_the_closest_name() -> None:
    for name in penalties.names():
        with pytest.raises(InputError, match=f"penalty '{name}' has no option 'weigth'; did you mean 'weight'?"):
            penalties.create(name, weigth=0.1)


def test_it_goes_by_keyword_with_defaults_that_work() -> None:
    for name in penalties.names():
        scores, penalty = penalties.create(name)(ConvModel().eval(), photos(), gradient_scale=2.0)
        assert scores.shape == (3,)
        assert penalty.item() > 0
