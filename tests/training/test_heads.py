from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustiqa.core.errors import SpecError
from robustiqa.core.model import QualityModel
from robustiqa.defenses import estimators
from robustiqa.defenses.norm_regularization import NormRegularization
from robustiqa.training.heads import further_scores, loss_of_heads
from tests.toys import ConvModel


class ThreeHeads(QualityModel):
    """Three linear heads on pooled pixels; the first is the score."""

    def __init__(self) -> None:
        super().__init__()
        self.mixed = nn.Conv2d(3, 5, 3)
        self.score_heads = nn.Linear(5, 3)

    def raw_scores(self, normalized: Tensor) -> Tensor:
        heads: Tensor = self.score_heads(F.silu(self.mixed(normalized)).mean((2, 3)))
        return heads[:, 0]


@pytest.mark.parametrize("estimator", estimators.names())
@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_further_heads_are_those_of_the_clean_images_whatever_the_penalty(estimator: str, weight: float) -> None:
    model, images = ThreeHeads(), torch.rand(4, 3, 8, 8)
    penalty_of = NormRegularization(estimators.create(estimator), weight=weight)
    with further_scores(model) as further:
        scores, _ = penalty_of(model, images)
    normalized = (images - model.input_mean[:, None, None]) / model.input_std[:, None, None]
    expected = model.score_heads(F.silu(model.mixed(normalized)).mean((2, 3)))
    torch.testing.assert_close(torch.stack([scores, *further], 1), expected)
    (gradient,) = torch.autograd.grad(further[1].sum(), model.mixed.weight)
    assert gradient.abs().sum() > 0


def test_nothing_is_kept_outside_or_of_a_network_with_one_head() -> None:
    model, images = ThreeHeads(), torch.rand(2, 3, 8, 8)
    with further_scores(model) as further:
        pass
    model(images)
    assert further == []
    with further_scores(ConvModel()) as none:
        ConvModel()(images)
    assert none == []


def test_an_error_within_leaves_no_hook_behind() -> None:
    model = ThreeHeads()
    with pytest.raises(KeyError), further_scores(model):
        raise KeyError
    assert len(model.score_heads._forward_hooks) == 0


def test_the_loss_is_the_weighted_sum_of_the_heads_losses_in_float32() -> None:
    mos = torch.tensor([50.0, 20.0])
    heads = [torch.tensor([52.0, 20.0]), torch.tensor([50.0, 26.0]), torch.tensor([40.0, 20.0], dtype=torch.bfloat16)]
    total = loss_of_heads(F.l1_loss, (1.0, 0.1, 0.01), heads, mos)
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(1 + 0.1 * 3 + 0.01 * 5)
    assert loss_of_heads(F.l1_loss, (1.0, 0.1, 0.1), heads[:1], mos).item() == 1


def test_more_heads_than_weights_are_refused() -> None:
    message = r"^the network has 3 heads; give head_weights a number for each, got 2\.$"
    with pytest.raises(SpecError, match=message):
        loss_of_heads(F.l1_loss, (1.0, 0.1), [torch.zeros(2)] * 3, torch.zeros(2))
