from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from robustiqa.attacks.gradient import IFGSM
from robustiqa.attacks.mifgsm import MIFGSM
from robustiqa.attacks.objectives import Target
from robustiqa.core.errors import InputError
from tests.attacks.climbs import Hill, mifgsm
from tests.toys import ConvModel, CountingModel, LinearModel, QuadraticModel, RecordingModel, toy_photos


@pytest.mark.parametrize(("norm", "eps", "step"), [("linf", 0.05, None), ("linf", 0.05, 0.02), ("l2", 0.3, 0.11)])
@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("objective", "sign"), [("raise", 1.0), ("lower", -1.0)])
def test_every_iterate_agrees_with_numpy_and_the_last_is_returned(
    norm: str, eps: float, step: float | None, decay: float, objective: str, sign: float
) -> None:
    photos = toy_photos(1, 4, low=0, high=255).double()
    inner = QuadraticModel.random(4)
    model = RecordingModel(inner).eval()
    attack = MIFGSM(eps=eps, norm=norm, steps=8, step_size=step, decay=decay, objective=objective)
    result = attack(model, photos)
    matrix, peak = inner.matrix.detach().numpy(), inner.peak.detach().flatten().numpy()
    visited = mifgsm(Hill(matrix, peak, photos.flatten().numpy(), norm, eps, sign), 8, step or eps / 8, decay)
    for asked, expected in zip(model.asked, visited, strict=False):
        np.testing.assert_allclose(asked.flatten().numpy(), expected, rtol=0, atol=1e-7)
    np.testing.assert_allclose(result.images.flatten().numpy(), visited[-1], rtol=0, atol=1e-7)


def test_without_memory_it_is_ifgsm() -> None:
    model, photos = ConvModel().eval(), toy_photos(3)
    momentum = MIFGSM(decay=0.0, step_size="1/255", random_start=True)(model, photos)
    plain = IFGSM(step_size="1/255", random_start=True)(model, photos)
    torch.testing.assert_close(momentum.images, plain.images, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.02), ("l2", 0.3)])
def test_a_linear_score_moves_by_eps_times_the_dual_norm(norm: str, eps: float) -> None:
    model, photos = LinearModel.random(12, size=1.0).double(), toy_photos(3, 12).double()
    slopes = model.slopes.detach()
    result = MIFGSM(eps=eps, norm=norm, objective="raise")(model, photos)
    expected = eps * (slopes.abs().sum() if norm == "linf" else slopes.square().sum().sqrt())
    torch.testing.assert_close(result.scores - result.clean_scores, expected.expand(3))


def test_momentum_carries_over_a_gradient_that_vanishes() -> None:
    model, photos = LinearModel(torch.zeros(3, 8, 8)).eval(), toy_photos(2, 8)
    assert torch.equal(MIFGSM(objective="raise")(model, photos).images, photos)


def test_a_photo_close_enough_to_its_target_stops_there_and_costs_no_more() -> None:
    model, photos = LinearModel.random(8, size=1.0).double(), toy_photos(3, 8).double()
    reach = 0.05 * float(model.slopes.detach().abs().sum())
    clean = model(photos).detach()
    aim = float(clean[0]) + 0.42 * reach
    counting = CountingModel(model).eval()
    attack = MIFGSM(eps=0.05, steps=10, objective=Target(score=aim), tolerance=0.051 * reach)
    result = attack(counting, photos)
    steps = ((clean - aim).abs() / (0.1 * reach)).round().long()  # each step covers a tenth of the reach
    within = steps < 10
    assert within[0]
    assert torch.equal(result.gradients[within], steps[within] + 1)
    assert ((result.scores - aim).abs()[within] <= 0.051 * reach).all()
    assert (result.gradients[~within] == 10).all()
    assert counting.forwards == 3 + 2 * 3 + int(result.queries.sum())


def test_photos_beyond_the_score_bound_are_left_alone() -> None:
    model, photos = ConvModel().eval(), toy_photos(3)
    result = MIFGSM(objective="lower", score_bound=1e3, random_start=True)(model, photos)
    assert torch.equal(result.images, photos)
    assert result.gradients.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0."),
        ({"step_size": 0}, "step_size must be greater than 0, got 0; leave it out for eps / steps."),
        ({"step_size": 2}, "step_size is in [0, 1] pixel units, got 2; did you mean '2/255'?"),
        ({"decay": -0.5}, "decay must be a finite number of at least 0, got -0.5."),
    ],
)
def test_a_wrong_option_is_refused_in_one_sentence(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        MIFGSM(**options)
    assert str(caught.value) == problem
