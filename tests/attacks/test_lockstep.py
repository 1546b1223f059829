from __future__ import annotations

import torch
from torch import Tensor

from robustiqa.attacks.lockstep import Search, ask, search_together
from robustiqa.core.attack import Oracle
from robustiqa.core.objective import Push
from tests.toys import LinearModel


class Recorder(LinearModel):
    """The mean of an image; remembers how many images came in each forward pass."""

    def __init__(self) -> None:
        super().__init__(torch.full((3, 2, 2), 1 / 12), bias=0.0)
        self.passes: list[int] = []

    def raw_scores(self, normalized: Tensor) -> Tensor:
        self.passes.append(len(normalized))
        return super().raw_scores(normalized)


def gray(level: float) -> Tensor:
    return torch.full((3, 2, 2), level)


def script(levels: list[float], heard: list[float]) -> Search[None]:
    """Asks about gray images in turn and writes down what it is told."""
    for level in levels:
        scored = yield from ask(gray(level))
        assert torch.equal(scored.image, gray(level))
        heard.append(scored.score)


def run(
    scripts: list[list[float]], signs: list[float], budget: int
) -> tuple[Tensor, Oracle, list[list[float]], Recorder]:
    model = Recorder().eval()
    images = torch.stack([gray(0.5)] * len(scripts))
    oracle = Oracle(model, images, model.score(images), None)
    model.passes.clear()
    heard: list[list[float]] = [[] for _ in scripts]
    searches = [script(levels, told) for levels, told in zip(scripts, heard, strict=True)]
    found = search_together(oracle, searches, images, Push(torch.tensor(signs)), budget)
    return found[:, 0, 0, 0], oracle, heard, model


def test_each_search_hears_its_own_scores_and_one_forward_pass_serves_all_that_still_ask() -> None:
    scripts = [[0.1, 0.2, 0.3], [0.6], [], [0.9, 0.8]]
    _, oracle, heard, model = run(scripts, [1.0] * 4, budget=10)
    torch.testing.assert_close([torch.tensor(told) for told in heard], [torch.tensor(levels) for levels in scripts])
    assert oracle.queries.tolist() == [3, 1, 0, 2]
    assert model.passes == [3, 2, 1]


def test_the_best_image_asked_about_is_returned_or_the_clean_one_if_none_is_better() -> None:
    scripts = [[0.6, 0.9, 0.7], [0.6, 0.9, 0.7], [0.4, 0.1, 0.3], [0.4, 0.1, 0.3], []]
    found, *_ = run(scripts, [1.0, -1.0, -1.0, 1.0, 1.0], budget=10)
    torch.testing.assert_close(found, torch.tensor([0.9, 0.5, 0.1, 0.5, 0.5]))


def test_no_photo_is_asked_about_more_often_than_the_budget_says() -> None:
    scripts = [[0.51, 0.52, 0.53, 0.9], [0.6, 0.7], [0.55, 0.56, 0.57]]
    found, oracle, heard, model = run(scripts, [1.0] * 3, budget=3)
    assert oracle.queries.tolist() == [3, 2, 3]
    assert [len(told) for told in heard] == [3, 2, 3]
    assert model.passes == [3, 3, 2]
    torch.testing.assert_close(found, torch.tensor([0.53, 0.7, 0.57]))
