"""What an attack finds without asking the model is found once for all models, and costs each what it cost once."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from robustiqa.attacks.gradient import FGSM
from robustiqa.attacks.learned import DirectedAttack
from robustiqa.attacks.objectives import FartherEnd, Raise
from robustiqa.core.dataset import Dataset
from robustiqa.core.errors import InputError
from robustiqa.evaluation.records import Record
from robustiqa.evaluation.run import evaluate
from tests.photos import tiny_dataset
from tests.toys import ConvModel, toy_photos

SECONDS = 0.05
MODELS = {label: ConvModel(seed=seed).eval() for seed, label in enumerate(("one", "two", "three"))}


@dataclass(frozen=True, kw_only=True)
class Waves(DirectedAttack):
    """Stripes, after a search that takes its time."""

    name: ClassVar[str] = "waves"
    searches: ClassVar[list[int]] = []

    def pushed(self, images: Tensor, signs: Tensor) -> Tensor:
        self.searches.append(len(images))
        time.sleep(SECONDS)
        stripes = torch.sin(torch.arange(images.shape[-1]).float()) + images.mean(1, keepdim=True)
        return images + signs[:, None, None, None] * self.budget * stripes


@dataclass(frozen=True, kw_only=True)
class LonelyWaves(Waves):
    """The same, searched for each model."""

    asks_model: ClassVar[bool] = True


@pytest.fixture(autouse=True)
def nothing_searched_yet() -> None:
    Waves.searches.clear()


def photos() -> Dataset:
    return tiny_dataset(train=0, validation=0, test=4, low=20, high=20)


def untimed(records: tuple[Record, ...]) -> list[Record]:
    return [replace(record, seconds=None) for record in records]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_one_search_serves_all_models(batch_size: int) -> None:
    options: dict[str, Any] = {"batch_size": batch_size, "variants": ("end_to_end",)}
    together = evaluate(MODELS, photos(), [Waves(), FGSM()], **options)
    assert sum(Waves.searches) == 4 * 2  # photographs, directions
    apart = evaluate(MODELS, photos(), [LonelyWaves(), FGSM()], **options)
    assert sum(Waves.searches) == 4 * 2 + 3 * 4 * 2
    assert untimed(together.records) == untimed(apart.records)
    scores = {(one.attacked_on, one.score) for one in together.records if one.attack == Waves().label}
    assert len(scores) == 3 * 4 * 2  # each model's own


def test_an_objective_that_goes_by_the_models_own_scores_is_searched_for_each() -> None:
    for objective in ("squared_shift", FartherEnd(once=True)):
        Waves.searches.clear()
        both = evaluate(MODELS, photos(), [Waves(objective=objective)])
        apart = evaluate(MODELS, photos(), [LonelyWaves(objective=objective)])
        assert untimed(both.records) == untimed(apart.records)


def test_each_model_is_told_the_seconds_of_the_search() -> None:
    found = evaluate(MODELS, photos(), [Waves()], timed=True)
    seconds = {record.attacked_on: record.seconds or 0.0 for record in found.records if record.goal == "raise"}
    assert min(seconds.values()) > SECONDS
    assert len(set(seconds.values())) == 1


def test_scores_of_others_are_those_without_sharing() -> None:
    shared = evaluate(MODELS, photos(), [Waves()], transfer=True)
    apart = evaluate(MODELS, photos(), [LonelyWaves()], transfer=True)
    assert untimed(shared.records) == untimed(apart.records)


def test_a_run_that_was_stopped_between_models_goes_on(tmp_path: Path) -> None:
    whole = evaluate(MODELS, photos(), [Waves()], folder=tmp_path)
    file = tmp_path / "records.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    kept = [line for line in lines if '"attacked_on": "three"' not in line and '"attacked_on":"three"' not in line]
    assert len(kept) < len(lines)
    file.write_text("".join(kept))
    again = evaluate(MODELS, photos(), [Waves()], folder=tmp_path)
    assert sorted(map(repr, untimed(again.records))) == sorted(map(repr, untimed(whole.records)))


def test_what_was_found_on_one_model_is_refused_where_it_depends_on_it() -> None:
    images = toy_photos(2, 20)
    refused = pytest.raises(
        InputError, match=f"^{re.escape('what an attack found on one model is no use on another; leave out found.')}$"
    )
    for attack in (FGSM(objective=Raise()), Waves(objective="worst_of_both"), Waves(objective="squared_shift")):
        with refused:
            attack(MODELS["one"], images, found=images)
    result = Waves(objective=Raise())(MODELS["one"], images, found=images)
    assert torch.equal(result.images, images)
    assert not Waves.searches
