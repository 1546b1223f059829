from __future__ import annotations

import math
import re

import pytest
import torch

from robustiqa.core.errors import SpecError
from robustiqa.training.losses import LOSSES, find_loss, find_schedule, warmup_factor

# epoch to (backbone rate, head rate) at a backbone rate of 2e-5 and a ratio of 10, as the published solver means them:
# the rate is divided by 10 every 6 epochs, and the ratio becomes 1 after epoch 8
INTENDED_HEAD_RATES = {epoch: 2e-5 * (10 if epoch <= 8 else 1) / 10 ** (epoch // 6) for epoch in range(16)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("l1", (3 + 0.5 + 2) / 3), ("mse", (9 + 0.25 + 4) / 3), ("huber", (2.5 + 0.125 + 1.5) / 3)],
)
def test_losses_are_what_their_names_say(name: str, expected: float) -> None:
    scores, mos = torch.tensor([53.0, 20.5, 78.0]), torch.tensor([50.0, 20.0, 80.0])
    assert find_loss(name)(scores, mos).item() == pytest.approx(expected)


def test_an_unknown_loss_or_schedule_is_named() -> None:
    with pytest.raises(SpecError, match=f"^{re.escape('unknown loss ' + repr('mes'))}; did you mean 'mse'"):
        find_loss("mes")
    message = "unknown schedule 'cosin'; did you mean 'cosine'? Known: cosine, hyperiqa."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        find_schedule("cosin")
    assert list(LOSSES) == ["l1", "mse", "huber", "norm-in-norm"]


def test_cosine_starts_at_one_falls_and_ends_near_zero() -> None:
    cosine, steps = find_schedule("cosine"), 200
    factors = [cosine(step, steps, 50) for step in range(steps)]
    assert all(backbone == head for backbone, head in factors)
    rates = [backbone for backbone, _ in factors]
    assert rates[0] == 1
    assert rates == sorted(rates, reverse=True)
    assert rates[steps // 2] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx((math.pi / (2 * steps)) ** 2, rel=1e-3)


@pytest.mark.parametrize("epoch", range(16))
def test_hyperiqa_gives_the_head_the_rates_its_authors_meant(epoch: int) -> None:
    schedule, steps_per_epoch = find_schedule("hyperiqa"), 7
    for step in (epoch * steps_per_epoch, (epoch + 1) * steps_per_epoch - 1):
        backbone, head = schedule(step, 16 * steps_per_epoch, steps_per_epoch)
        assert backbone == 1
        assert 2e-5 * 10 * head == pytest.approx(INTENDED_HEAD_RATES[epoch])


def test_hyperiqa_head_factors_are_the_documented_ones() -> None:
    schedule = find_schedule("hyperiqa")
    found = [schedule(epoch, 16, 1)[1] for epoch in range(16)]
    assert found == pytest.approx(6 * [1] + 3 * [0.1] + 3 * [0.01] + 4 * [0.001])


def test_warm_up_is_linear_and_then_gone() -> None:
    assert [warmup_factor(step, 4) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])
    assert [warmup_factor(step, 0) for step in range(3)] == [1, 1, 1]
