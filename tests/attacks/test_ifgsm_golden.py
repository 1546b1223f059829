from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from robustiqa.attacks import create_attack
from robustiqa.core.attack import AttackResult
from robustiqa.models.hyperiqa import HyperIQA
from tests.golden import golden_hyperiqa, golden_images, golden_values

# eps, step size and steps, by the name of the golden case without its direction
ONE_STEP = ("eps=0.030000 alpha=0.010000 steps=1", 0.03, 0.01, 1)
TEN_LARGE_STEPS = ("eps=0.030000 alpha=0.010000 steps=10", 0.03, 0.01, 10)
TEN_SMALL_STEPS = ("eps=0.015686 alpha=0.003922 steps=10", "4/255", "1/255", 10)

Case = tuple[str, float | str, float | str, int]


@pytest.fixture(scope="module")
def model(shared: Path) -> HyperIQA:
    return golden_hyperiqa(shared).to(memory_format=torch.channels_last)


def attacked(shared: Path, model: HyperIQA, case: Case, direction: str, photos: slice) -> tuple[AttackResult, Any]:
    """What our attack does to some of the four golden photographs, and what the published one did to all."""
    name, eps, step_size, steps = case
    attack = create_attack("ifgsm", eps=eps, steps=steps, step_size=step_size, objective=direction)
    images = golden_images(shared, 4)[photos].contiguous(memory_format=torch.channels_last)
    result = attack(model, images)
    return result, golden_values(shared, "hyperiqa-nt")["ifgsm"][f"{name} {direction}"]


@pytest.mark.parametrize("direction", ["lower", "raise"])
def test_one_step_reaches_the_published_scores(shared: Path, model: HyperIQA, direction: str) -> None:
    result, published = attacked(shared, model, ONE_STEP, direction, slice(None))
    torch.testing.assert_close(result.scores, torch.tensor(published["scores"]), rtol=1e-3, atol=0)
    assert result.linf.max() == pytest.approx(published["linf"], rel=1e-6)


@pytest.mark.parametrize(
    ("case", "direction", "photo"),
    [(TEN_LARGE_STEPS, "raise", 1), (TEN_SMALL_STEPS, "lower", 2)],
)
def test_ten_steps_reach_the_published_score_of_a_photograph(
    shared: Path, model: HyperIQA, case: Case, direction: str, photo: int
) -> None:
    result, published = attacked(shared, model, case, direction, slice(photo, photo + 1))
    assert result.scores.item() == pytest.approx(published["scores"][photo], rel=1e-2)
    assert result.linf.item() == pytest.approx(published["linf"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["lower", "raise"])
@pytest.mark.parametrize("case", [TEN_LARGE_STEPS, TEN_SMALL_STEPS])
def test_ten_steps_reach_the_published_scores_of_all(shared: Path, model: HyperIQA, case: Case, direction: str) -> None:
    result, published = attacked(shared, model, case, direction, slice(None))
    torch.testing.assert_close(result.scores, torch.tensor(published["scores"]), rtol=1e-2, atol=0)
    assert result.linf.max() == pytest.approx(published["linf"], rel=1e-5)
