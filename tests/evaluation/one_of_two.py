"""Evaluations by two processes at once: `evaluate_toys(FOLDER)` in each."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from robustiqa.attacks.gradient import IFGSM
from robustiqa.attacks.random_sign import RandomSign
from robustiqa.core.dataset import Dataset
from robustiqa.evaluation.records import CLEAN, Record, RecordStore
from robustiqa.evaluation.run import evaluate
from robustiqa.evaluation.shards import WHOLE, Shard
from robustiqa.evaluation.views import Evaluation
from tests.photos import tiny_dataset
from tests.toys import ConvModel

SINGLE = Record(
    key="", mos=None, scored_by="one", attacked_on="one", attack=CLEAN, goal=CLEAN, variant="end_to_end",
    eps=0.0, levels=0, clean_score=0.1, float_score=0.2, score=0.3,
)  # fmt: skip
OWN, COMMON = 40, 40  # records


def toy_photos(count: int = 9) -> Dataset:
    """Photographs of two sizes."""
    return tiny_dataset(train=0, validation=0, test=count, low=20, high=21)


def toy_evaluation(folder: Path | None, shard: Shard = WHOLE, **options: Any) -> Evaluation:
    """Two models under two attacks, each also scored by the other, two photographs at a time."""
    models = {"one": ConvModel(seed=1).eval(), "two": ConvModel(seed=2).eval()}
    attacks = [IFGSM(steps=2, random_start=True), RandomSign()]
    options = {"transfer": True, "batch_size": 2, "shard": shard, **options}
    return evaluate(models, toy_photos(), attacks, folder=folder, **options)


def numbered(name: str, count: int) -> list[Record]:
    """Records that differ by their photograph alone."""
    return [replace(SINGLE, key=f"{name}-{place}") for place in range(count)]


def evaluate_toys(folder: str) -> None:
    """Half of an evaluation into `halves`, a whole one into `doubled`, and records one by one into `single.jsonl`."""
    rank = int(os.environ["RANK"])
    store = RecordStore(Path(folder) / "single.jsonl")
    for own, common in zip(numbered(f"of-{rank}", OWN), numbered("common", COMMON), strict=True):
        store.append([own, common])
    toy_evaluation(Path(folder) / "doubled")
    toy_evaluation(Path(folder) / "halves", Shard(rank, 2))
