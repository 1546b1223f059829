from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from robustiqa.defenses.norm_regularization import DoubleBackward, FiniteDifference, NormRegularization
from robustiqa.models.hyperiqa import HyperIQA
from tests.golden import EXECUTIONS, FORMATS, golden_hyperiqa, golden_images, golden_values, thread_count

QUICK = [(0.01, ("contiguous", 1)), (0.001, ("channels_last", 2))]  # in every test run; the others with the slow tests


@pytest.fixture(scope="module")
def values(shared: Path) -> dict[str, Any]:
    return golden_values(shared, "hyperiqa-nt")


@pytest.fixture(scope="module")
def filled(shared: Path) -> HyperIQA:
    return golden_hyperiqa(shared)


@pytest.fixture
def model(filled: HyperIQA) -> Iterator[HyperIQA]:
    yield filled
    filled.zero_grad()


def gradient_norms(model: HyperIQA) -> dict[str, float]:
    """Euclidean norm of each weight's gradient, under our names; 0 where the loss does not reach."""
    return {
        name: 0.0 if weight.grad is None else weight.grad.double().norm().item()
        for name, weight in model.named_parameters()
    }


@pytest.mark.parametrize(
    ("h", "memory_format", "threads"),
    [
        pytest.param(h, *one, marks=() if (h, one) in QUICK else pytest.mark.slow)
        for h in (0.01, 0.001)
        for one in EXECUTIONS
    ],
)
def test_penalty_and_its_weight_gradients_are_those_of_the_published_code(
    shared: Path, values: dict[str, Any], model: HyperIQA, h: float, memory_format: str, threads: int
) -> None:
    case, layout = values[f"eval-bn h={h}"], FORMATS[memory_format]
    images = golden_images(shared, 4).contiguous(memory_format=layout)
    model.to(memory_format=layout)
    with thread_count(threads):
        scores, penalty = NormRegularization(FiniteDifference(h=h), weight=1.0)(model, images)
        torch.autograd.backward(penalty)
    norms = gradient_norms(model)
    published = {
        ours: case["grad_l2_by_name"][name]
        for name in case["grad_l2_by_name"]
        for ours in HyperIQA.published_names.apply({name: Tensor()})
    }
    torch.testing.assert_close(scores.detach(), torch.tensor(case["scores"]), rtol=1e-4, atol=0)
    assert penalty.item() == pytest.approx(case["penalty"], rel=1e-3)
    total = sum(norm**2 for norm in norms.values()) ** 0.5
    assert total == pytest.approx(case["penalty_parameter_gradient_l2"], rel=1e-3)
    assert {name: norms[name] for name in published} == pytest.approx(published, rel=1e-2)


@pytest.mark.parametrize("h", [0.01, 0.001])
def test_finite_differences_of_single_images_are_the_published_ones(
    shared: Path, values: dict[str, Any], model: HyperIQA, h: float
) -> None:
    _, norms = FiniteDifference(h=h)(model, golden_images(shared, 4)[:1])
    published = values[f"eval-bn h={h}"]["finite_difference"]
    torch.testing.assert_close(norms.detach(), torch.tensor(published[:1]), rtol=1e-3, atol=0)


def test_double_backward_finds_the_published_exact_norms(shared: Path, values: dict[str, Any], model: HyperIQA) -> None:
    _, norms = DoubleBackward()(model, golden_images(shared, 4))
    published = values["eval-bn h=0.01"]["exact_l1"]
    torch.testing.assert_close(norms.detach(), torch.tensor(published), rtol=1e-3, atol=0)
