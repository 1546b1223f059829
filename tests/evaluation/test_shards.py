"""Shards of an evaluation: no photograph twice, none missing, the records of a single process."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from torch import Tensor

from robustiqa.attacks.random_sign import RandomSign
from robustiqa.core.dataset import ImageSource
from robustiqa.core.errors import InputError
from robustiqa.evaluation.records import RECORDS_FILE, Record, read_records
from robustiqa.evaluation.run import evaluate, record_count
from robustiqa.evaluation.shards import WHOLE, Shard, parse_shard
from tests.evaluation.one_of_two import COMMON, OWN, numbered, toy_evaluation, toy_photos
from tests.toys import ConvModel
from tests.two_processes import run_in_two


def lines(folder: Path) -> list[str]:
    return sorted((folder / RECORDS_FILE).read_text().splitlines())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of one process."""
    folder = tmp_path_factory.mktemp("whole")
    toy_evaluation(folder)
    return folder


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes wrote at once."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork to start two processes at the cost of one")
    folder = tmp_path_factory.mktemp("both")
    ended = run_in_two(folder / "processes", "tests.evaluation.one_of_two:evaluate_toys", folder)
    assert ended.codes == (0, 0), ended.err
    return folder


def test_two_shards_at_once_write_the_records_of_one_process(whole: Path, both: Path) -> None:
    assert lines(both / "halves") == lines(whole)
    assert (both / "halves" / "run.json").read_bytes() == (whole / "run.json").read_bytes()


def test_two_processes_on_the_same_photographs_write_each_record_once(whole: Path, both: Path) -> None:
    assert lines(both / "doubled") == lines(whole)


def test_no_record_is_lost_or_doubled_where_two_processes_write(both: Path) -> None:
    found = Counter(record.key for record in read_records(both / "single.jsonl"))
    wanted = [*numbered("of-0", OWN), *numbered("of-1", OWN), *numbered("common", COMMON)]
    assert found == Counter(record.key for record in wanted)


@pytest.mark.parametrize("batch_size", [1, 2, 3])
@pytest.mark.parametrize("count", [2, 5])
def test_shards_one_after_the_other_make_the_records_of_one_process(
    count: int, batch_size: int, tmp_path: Path
) -> None:
    alone = toy_evaluation(tmp_path / "alone", batch_size=batch_size)
    seen: Counter[str] = Counter()
    for index in reversed(range(count)):
        part = toy_evaluation(None, Shard(index, count), batch_size=batch_size).records
        seen.update({record.key for record in part})
        found = toy_evaluation(tmp_path / "parts", Shard(index, count), batch_size=batch_size)
    assert seen == Counter(photo.key for photo in toy_photos())  # no photograph twice, none missing
    assert lines(tmp_path / "parts") == lines(tmp_path / "alone")

    def by_identity(record: Record) -> tuple[str, ...]:
        return record.identity

    assert sorted(found.records, key=by_identity) == sorted(alone.records, key=by_identity)
    assert found.info == alone.info
    assert found.models == alone.models and found.attacks == alone.attacks


def test_more_shards_than_photographs_leave_some_without_work(tmp_path: Path) -> None:
    assert toy_evaluation(tmp_path, Shard(19, 20)).records == ()
    assert toy_evaluation(None, Shard(19, 20)).records == ()


def test_an_evaluation_may_go_on_with_another_number_of_shards(whole: Path, tmp_path: Path) -> None:
    for shard in (Shard(1, 3), WHOLE):
        toy_evaluation(tmp_path, shard)
    assert lines(tmp_path) == lines(whole)


@dataclass
class Counted:
    """Notes that a photograph was read."""

    source: ImageSource
    key: str
    read_keys: list[str] = field(default_factory=list)

    def read(self) -> Tensor:
        self.read_keys.append(self.key)
        return self.source.read()


def test_one_by_one_a_shard_reads_its_own_photographs_alone() -> None:
    read: list[str] = []
    dataset = toy_photos(7)
    watched = replace(dataset, photos=tuple(replace(p, source=Counted(p.source, p.key, read)) for p in dataset.photos))
    told: list[tuple[int, int]] = []
    found = evaluate(
        ConvModel().eval(), watched, shard=Shard(1, 3), progress=lambda done, total: told.append((done, total))
    )
    assert read == [record.key for record in found.records] == ["test-001.png", "test-004.png"]
    assert told == [(2, 7), (5, 7)]  # photographs passed


@pytest.mark.parametrize("transfer", [False, True])
def test_the_number_of_records_is_known_beforehand(transfer: bool) -> None:
    models = {name: ConvModel(seed=seed, crop_size=16).eval() for seed, name in enumerate("abc")}
    attacks, variants = [RandomSign(), RandomSign(objective="absolute_shift")], ("end_to_end", "patchwise")
    dataset = toy_photos(2)
    found = evaluate(models, dataset, attacks, variants=variants, transfer=transfer)
    assert len(found.records) == record_count(2, 3, attacks, variants, transfer)


def test_a_shard_is_written_as_its_number_of_how_many() -> None:
    assert parse_shard("2/4") == Shard(1, 4)
    assert parse_shard("1/1") == WHOLE
    assert list(Shard(1, 3).of(range(8))) == [1, 4, 7]
    for text in ("0/4", "5/4", "2", "a/b", "2/0", "-1/2", ""):
        with pytest.raises(InputError, match=f"^{re.escape('a shard is one of 1 to n, such as 2/4, got ')}"):
            parse_shard(text)
