from __future__ import annotations

import math
import re

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import stats
from torch import Tensor

from robustiqa.core.errors import InputError
from robustiqa.training.norm_in_norm import NormInNorm

Array = npt.NDArray[np.float64]
OPTIONS = [(1, 2, 0), (1, 2, 0.1), (2, 2, 0), (2, 2, 1), (1, 1, 0.1), (2, 1, 0.1), (1.5, 3, 0.5), (3, 1.5, 0)]


def pairs(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Scores and opinions that have something to do with each other, in double precision."""
    draw = torch.Generator().manual_seed(seed)
    mos = 100 * torch.rand(count, generator=draw, dtype=torch.float64)
    return 3 - 0.02 * mos + torch.randn(count, generator=draw, dtype=torch.float64), mos


def norm_of(values: list[float], order: float) -> float:
    total = 0.0
    for value in values:
        total += float(abs(value) ** order)
    return float(total ** (1 / order))


def normalized(values: list[float], order: float) -> list[float]:
    mean = sum(values) / len(values)
    centered = [value - mean for value in values]
    length = norm_of(centered, order)
    return [value / length for value in centered]


def by_definition(scores: list[float], mos: list[float], p: float, q: float, variant: float) -> float:
    """The loss, number by number."""
    predicted, wanted = normalized(scores, q), normalized(mos, q)
    bound: float = 2 ** max(1, 1 / q) * len(mos) ** max(0, 1 / p - 1 / q)
    loss = (norm_of([a - b for a, b in zip(predicted, wanted, strict=True)], p) / bound) ** p
    product = sum(a * b for a, b in zip(predicted, wanted, strict=True))
    cosine = product / (norm_of(predicted, 2) * norm_of(wanted, 2))
    varied = (norm_of([cosine * a - b for a, b in zip(predicted, wanted, strict=True)], p) / bound) ** p
    return float(loss + variant * varied)


@pytest.mark.parametrize(("p", "q", "variant"), OPTIONS)
@pytest.mark.parametrize("count", [2, 3, 8, 33])
def test_it_agrees_with_its_definition_number_by_number(p: float, q: float, variant: float, count: int) -> None:
    for seed in range(3):
        scores, mos = pairs(count, seed)
        found = NormInNorm(p=p, q=q, variant=variant)(scores, mos).item()
        assert found == pytest.approx(by_definition(scores.tolist(), mos.tolist(), p, q, variant), rel=1e-6, abs=1e-7)
        assert 0 <= found <= 1 + variant


def test_by_default_it_is_half_the_published_distance_over_the_square_root_of_the_batch() -> None:
    scores, mos = pairs(8)
    a, b = (values.numpy() - values.numpy().mean() for values in (scores, mos))
    distance = np.abs(a / np.linalg.norm(a) - b / np.linalg.norm(b)).sum()
    assert NormInNorm()(scores, mos).item() == pytest.approx(distance / (2 * math.sqrt(8)), rel=1e-6)


@pytest.mark.parametrize("count", [3, 16])
def test_for_norms_of_two_it_is_half_of_what_plcc_lacks_of_one(count: int) -> None:
    scores, mos = pairs(count)
    plcc = stats.pearsonr(scores.numpy(), mos.numpy())[0]
    both, alone = (NormInNorm(p=2, q=2, variant=variant)(scores, mos).item() for variant in (1, 0))
    assert alone == pytest.approx((1 - plcc) / 2, rel=1e-6)
    assert both - alone == pytest.approx((1 - plcc**2) / 4, rel=1e-6)


@pytest.mark.parametrize(("p", "q", "variant"), OPTIONS)
@pytest.mark.parametrize(("slope", "offset"), [(1e-3, 0), (7, -40), (250, 1e3)])
def test_a_slope_and_an_offset_of_the_scores_change_nothing(
    p: float, q: float, variant: float, slope: float, offset: float
) -> None:
    loss_of, (scores, mos) = NormInNorm(p=p, q=q, variant=variant), pairs(9)
    expected = loss_of(scores, mos).item()
    assert loss_of(slope * scores + offset, mos).item() == pytest.approx(expected, rel=1e-4)
    assert loss_of(scores, slope * mos + offset).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("p", "q", "variant"), OPTIONS)
def test_no_gradient_shrinks_stretches_or_shifts_the_scores(p: float, q: float, variant: float) -> None:
    scores, mos = pairs(9)
    scores.requires_grad_()
    (gradient,) = torch.autograd.grad(NormInNorm(p=p, q=q, variant=variant)(scores, mos), scores)
    size = gradient.norm() * scores.norm()
    assert abs((gradient * scores).sum() / size) < 1e-6
    assert abs(gradient.sum() / gradient.abs().sum()) < 1e-6


@pytest.mark.parametrize(("p", "q", "variant"), OPTIONS)
def test_gradients_are_finite_differences(p: float, q: float, variant: float) -> None:
    scores, mos = pairs(6)
    loss_of = NormInNorm(p=p, q=q, variant=variant)
    assert torch.autograd.gradcheck(lambda values: loss_of(values, mos), scores.requires_grad_())


@pytest.mark.parametrize(("p", "q"), [(1, 2), (2, 2), (1, 1), (2, 1)])
def test_it_is_zero_for_perfect_scores_and_larger_for_worse_ones(p: float, q: float) -> None:
    _, mos = pairs(12)
    noise = torch.randn(12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    loss_of = NormInNorm(p=p, q=q)
    found = [loss_of(mos / 7 + size * noise, mos).item() for size in (0, 1, 4)]
    assert found[0] == pytest.approx(0, abs=1e-8)
    assert found[0] < found[1] < found[2] < loss_of(-mos, mos).item() <= 1


def test_of_two_photographs_only_the_order_counts() -> None:
    scores = torch.tensor([1.0, 3.0], dtype=torch.float64, requires_grad=True)
    opinions = torch.tensor([[20.0, 30.0], [90.0, 10.0]], dtype=torch.float64)
    right, wrong = (NormInNorm()(scores, mos) for mos in opinions)
    assert right.item() == pytest.approx(0, abs=1e-7)
    assert wrong.item() == pytest.approx(1)
    assert torch.autograd.grad(wrong, scores)[0].abs().max() < 1e-6


def test_equal_scores_or_opinions_have_a_finite_loss_and_gradient() -> None:
    scores, mos = pairs(4)
    for first, second in ((torch.ones_like(scores), mos), (scores, torch.ones_like(mos))):
        first = first.clone().requires_grad_()
        loss = NormInNorm(variant=0.1)(first, second)
        (gradient,) = torch.autograd.grad(loss, first)
        assert loss.isfinite()
        assert gradient.isfinite().all()


def test_one_photograph_and_what_is_no_norm_are_refused() -> None:
    one = re.escape("norm-in-norm compares photographs with one another; expected 2 or more, got 1.")
    with pytest.raises(InputError, match=f"^{one}$"):
        NormInNorm()(torch.ones(1), torch.ones(1))
    for p, q in ((0.5, 2), (1, 0), (math.nan, 2)):
        with pytest.raises(InputError, match=f"^norm-in-norm takes p and q of at least 1, got {p} and {q}\\.$"):
            NormInNorm(p=p, q=q)
    with pytest.raises(InputError, match=r"^the weight of norm-in-norm's variant must be at least 0, got -1\.$"):
        NormInNorm(variant=-1)
