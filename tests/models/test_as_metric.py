from __future__ import annotations

import pytest
import torch

import robustiqa as riq
from robustiqa.core.errors import InputError
from robustiqa.models.crop_average import CropAverage
from robustiqa.models.mean_score import MeanScore
from tests.toys import ConvModel


def images(count: int, side: int = 24) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(count))


def test_the_metric_is_the_mean_score_of_all_images_seen() -> None:
    model = ConvModel(seed=1).eval()
    metric = riq.as_metric(model)
    metric.update(images(3))
    metric.update(images(2))
    expected = torch.cat([model.score(images(3)), model.score(images(2))]).mean()
    torch.testing.assert_close(metric.compute(), expected)
    metric.reset()
    metric.update(images(1))
    torch.testing.assert_close(metric.compute(), model.score(images(1))[0])


def test_metrics_of_two_processes_add_up() -> None:
    model = ConvModel(seed=1).eval()
    first, second, both = riq.as_metric(model), riq.as_metric(model), riq.as_metric(model)
    first.update(images(3))
    second.update(images(2))
    both.update(images(3))
    both.update(images(2))
    assert isinstance(first, MeanScore)
    assert isinstance(second, MeanScore)
    torch.testing.assert_close(both.compute(), ((first.total + second.total) / (first.count + second.count)).float())


def test_the_loss_is_what_is_missing_to_the_top_of_the_scale_with_its_gradient() -> None:
    model = ConvModel(seed=2).eval()
    loss = riq.as_metric(model, as_loss=True)
    given = images(2).requires_grad_()
    value = loss(given)
    torch.testing.assert_close(value.detach(), 100 - model.score(images(2)).mean())
    (gradient,) = torch.autograd.grad(value, given)
    again = images(2).requires_grad_()
    (expected,) = torch.autograd.grad(-model(again).mean(), again)
    torch.testing.assert_close(gradient, expected)
    assert riq.as_metric(model, as_loss=True, reduction="none")(images(2)).shape == (2,)
    torch.testing.assert_close(riq.as_metric(model, as_loss=True, reduction="sum")(images(2)), 2 * value.detach())


def test_the_scorer_is_frozen_and_stays_in_eval_mode_in_anyones_training_loop() -> None:
    model = ConvModel(seed=2)
    loss, metric = riq.as_metric(model, as_loss=True), riq.as_metric(ConvModel(seed=2))
    torch.nn.ModuleList([loss, metric]).train()
    assert loss.training
    assert not model.training
    metric.update(images(1))  # refuses a model in training mode
    loss(images(1).requires_grad_()).backward()
    assert all(weight.grad is None for weight in model.parameters())


def test_a_model_of_one_crop_size_takes_photographs_of_any() -> None:
    model = riq.create_model("hyperiqa", weights="demo-nt")
    metric = riq.as_metric(model)
    assert isinstance(metric, MeanScore)
    photo = images(1, side=230)
    metric.update(photo)
    torch.testing.assert_close(metric.compute(), CropAverage(model).score(photo)[0])
    whole = CropAverage(model)
    assert riq.as_metric(whole).model is whole


def test_an_unknown_reduction_is_refused() -> None:
    with pytest.raises(InputError, match=r"^reduction must be mean, sum or none, got 'avg'\.$"):
        riq.as_metric(ConvModel(seed=0), as_loss=True, reduction="avg")
