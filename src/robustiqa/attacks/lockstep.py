"""Searches that know one photograph each, run together: one forward pass scores the next image of all of them.

A search is a generator: it yields an image to be scored and is sent the score. It is written as if it were alone, so
a batch gives what its photos give one by one, and each keeps its own count of queries.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

from robustiqa.core.attack import Oracle
from robustiqa.core.objective import Goal

T = TypeVar("T")
Search: TypeAlias = Generator[Tensor, float, T]


@dataclass(frozen=True)
class Scored:
    """An image and what the model says of it.

    Attributes:
        image: (3, H, W).
        score: On the model's scale.
    """

    image: Tensor
    score: float


def ask(image: Tensor) -> Search[Scored]:
    """Asks for one image's score."""
    score = yield image
    return Scored(image, score)


def search_together(
    oracle: Oracle, searches: Sequence[Search[None]], images: Tensor, goal: Goal, query_budget: int
) -> Tensor:
    """Runs one search a photo until it ends or its queries are spent; returns the best image that each asked about.

    Args:
        oracle: The model, counted.
        searches: One for each photo, not started yet.
        images: Clean images, (N, 3, H, W); what is returned for a photo that no question of its search improved.
        goal: Which score is better.
        query_budget: Most queries on one photo.

    Returns:
        (N, 3, H, W).
    """
    best = images.clone()
    best_values = goal(oracle.clean_scores)
    waiting: dict[int, Tensor] = {}  # photo to the image that its search asks about
    for place, search in enumerate(searches):
        _go_on(waiting, place, search, None)
    for _ in range(query_budget):  # a photo that has not ended asks once a pass, so passes are its queries
        if not waiting:
            break
        rows = torch.tensor(list(waiting), device=images.device)
        asked = torch.stack(list(waiting.values()))
        scores = oracle.scores(asked, rows)
        values = goal.at(rows)(scores)
        better = values > best_values[rows]
        best[rows[better]] = asked[better]
        best_values[rows[better]] = values[better]
        for place, score in zip(list(waiting), scores.tolist(), strict=True):
            _go_on(waiting, place, searches[place], score)
    for search in searches:
        search.close()
    return best


def _go_on(waiting: dict[int, Tensor], place: int, search: Search[None], score: float | None) -> None:
    """Hands a search its score and takes its next question, or forgets a search that has ended."""
    try:
        waiting[place] = next(search) if score is None else search.send(score)
    except StopIteration:
        waiting.pop(place, None)
