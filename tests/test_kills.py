"""SIGKILL at any moment, then a restart: every file is bit for bit that of an undisturbed run."""

from __future__ import annotations

import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.killing import survive

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs fork and /proc to kill at chosen moments")

Kill = dict[str, Any]
TRAINED_FILES = ["epoch-01.safetensors", "epoch-02.safetensors", "history.json", "model.safetensors", "run.json"]


def at(event: str, match: str, number: int) -> Kill:
    return {"event": event, "match": match, "number": number}


@dataclass(frozen=True)
class Killed:
    folder: Path
    found: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """Two trainings and an evaluation under three kills each, the moments chosen."""
    kills = {
        "training": [at("fsync", "000004.part/optimizer", 1), at("shutil.rmtree", "decoded", 1), {"after": 0.6}],
        "training in two phases": [
            at("fsync", "000004.part/optimizer_1", 1),  # in the first phase
            at("fsync", "000006.part/optimizer", 1),  # after its last step
            at("fsync", "000008.part/", 1),  # after the first checkpoint of the second phase
        ],
        "evaluation": [at("fsync", "run.json", 1), at("fsync", "records.jsonl", 3), {"after": 0.5}],
    }
    folder = tmp_path_factory.mktemp("killed")
    return Killed(folder, survive(kills, folder))


@pytest.mark.parametrize("job", ["training", "training in two phases", "evaluation"])
def test_three_kills_leave_the_files_of_an_undisturbed_run(job: str, killed: Killed) -> None:
    found = killed.found[job]
    assert found["killed"] == 3
    assert found["outcomes"]
    for outcome in found["outcomes"]:
        assert outcome == found["undisturbed"]


def test_a_finished_training_keeps_neither_checkpoints_nor_decoded_photographs(killed: Killed) -> None:
    assert sorted(killed.found["training"]["undisturbed"]) == TRAINED_FILES


def test_each_record_is_written_once(killed: Killed) -> None:
    lines = (killed.folder / "evaluation" / "undisturbed" / "records.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    names = ("scored_by", "attacked_on", "attack", "goal", "variant", "key")
    photos, models, attacks, goals, scorers = 12, 2, 2, 2, 2
    assert len(records) == photos * models * (1 + attacks * goals * scorers)
    assert len({tuple(record[name] for name in names) for record in records}) == len(records)


@pytest.mark.slow
@pytest.mark.parametrize("job", ["training", "evaluation"])
def test_twenty_kills_leave_the_files_of_an_undisturbed_run(job: str, tmp_path: Path) -> None:
    draw = random.Random(job)
    in_time: list[Kill] = [{"after": draw.uniform(0.05, 0.7)} for _ in range(10)]
    written = {"training": "checkpoint-", "evaluation": "records.jsonl"}[job]
    in_writing = [at("fsync", written, draw.randint(1, 12)) for _ in range(5)]
    in_any_operation = [at("", "", draw.randint(1, 40)) for _ in range(5)]
    kills = [*in_time, *in_writing, *in_any_operation]
    draw.shuffle(kills)
    found = survive({job: kills}, tmp_path)[job]
    assert found["killed"] == 20
    assert all(outcome == found["undisturbed"] for outcome in found["outcomes"])
