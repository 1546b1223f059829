from __future__ import annotations

import gzip
import json
import math
import re
import struct
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robustiqa.core.errors import SpecError
from robustiqa.evaluation.records import OPTIONAL, Record, RecordStore, read_records, write_compressed

RECORD = Record(
    key="größe/photo 1.png",
    mos=100 / 3,
    scored_by="NT, seed 0",
    attacked_on="baseline, seed 0",
    attack="ifgsm(eps=4/255, steps=10, step_size=1/255)",
    goal="lower",
    variant="end_to_end",
    eps=4 / 255,
    levels=4,
    clean_score=0.1 + 0.2,
    float_score=-1e-300,
    score=math.pi,
    gradient_l1=None,
    linf=4.0,
    l2=1 / 7,
    ssim=0.97,
    queries=10,
    gradients=11,
)


def some(count: int) -> list[Record]:
    return [replace(RECORD, key=f"{place:03d}.png", score=place / 7) for place in range(count)]


@pytest.mark.parametrize(
    "record",
    [RECORD, replace(RECORD, mos=None, gradient_l1=123.456), replace(RECORD, score=5e-324, clean_score=-1.7e308)],
)
def test_a_line_gives_the_record_back_to_the_last_bit(record: Record) -> None:
    line = record.to_line()
    assert "\n" not in line
    assert Record.from_line(line) == record
    measured = {name: value for name, value in asdict(record).items() if name not in OPTIONAL}
    assert json.loads(line) == measured


def test_what_only_some_runs_measure_is_left_out_where_it_was_not_measured() -> None:
    measured = replace(RECORD, lpips=0.25, seconds=1.5, peak_memory=2**31)
    said = json.loads(measured.to_line())
    assert (said["lpips"], said["seconds"], said["peak_memory"]) == (0.25, 1.5, 2**31)
    assert Record.from_line(measured.to_line()) == measured
    assert not {"lpips", "seconds", "peak_memory"} & set(json.loads(RECORD.to_line()))  # as lines were before


def test_scores_that_are_not_finite_survive_so_that_nothing_is_lost() -> None:
    record = replace(RECORD, score=math.nan, float_score=math.inf, clean_score=-math.inf)
    back = Record.from_line(record.to_line())
    assert math.isnan(back.score)
    assert (back.float_score, back.clean_score) == (math.inf, -math.inf)
    assert back.to_line() == record.to_line()


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_records_of_another_schema_version_are_refused(version: object) -> None:
    line = json.dumps({**asdict(RECORD), "schema_version": version})
    message = (
        f"records of schema version {version} can't be read by this version, which writes 1; "
        "use the version that wrote them."
    )
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        Record.from_line(line)


def test_identity_is_what_was_done_to_which_photo_and_not_what_came_of_it() -> None:
    for field in ("scored_by", "attacked_on", "attack", "goal", "variant", "key"):
        changed: dict[str, Any] = {field: "other"}
        assert replace(RECORD, **changed).identity != RECORD.identity
    assert replace(RECORD, score=1.0, mos=None, linf=0.0, queries=3).identity == RECORD.identity


def test_a_store_appends_and_reads_in_order(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "records.jsonl"
    store = RecordStore(path)
    assert list(store) == []
    assert not path.parent.exists()
    records = some(5)
    store.append(records[:2])
    store.append([])
    store.append(records[2:])
    assert list(store) == list(RecordStore(path)) == list(read_records(path)) == records
    assert path.read_text() == "".join(record.to_line() + "\n" for record in records)


def test_a_last_line_cut_anywhere_is_dropped_and_the_rest_kept(tmp_path: Path) -> None:
    path, records = tmp_path / "records.jsonl", some(3)
    RecordStore(path).append(records)
    whole = path.read_bytes()
    second = whole.index(b"\n") + 1
    third = whole.index(b"\n", second) + 1
    for cut in (*range(third, third + 5), len(whole) - 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert list(RecordStore(path)) == records[:2]
        assert path.read_bytes() == whole[:third]
        RecordStore(path).append(records[2:])
        assert path.read_bytes() == whole
    path.write_bytes(whole[: second - 1])
    assert list(RecordStore(path)) == []
    assert path.read_bytes() == b""


def test_whole_lines_are_left_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    RecordStore(path).append(some(3))
    before, when = path.read_bytes(), path.stat().st_mtime_ns
    RecordStore(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, when)


def test_compressed_records_are_those_that_went_in(tmp_path: Path) -> None:
    path, records = tmp_path / "deep" / "records.jsonl.gz", some(20)
    write_compressed(records, path)
    assert list(read_records(path)) == records
    assert gzip.decompress(path.read_bytes()) == "".join(record.to_line() + "\n" for record in records).encode()


@pytest.mark.parametrize(
    "number", [0.1, 1 / 3, 54.25955, 1e-7, 16777217.0, 3e38, 1e-45, -0.0, 1e300, math.inf, math.nan]
)
def test_float32_is_written_short_and_read_to_the_last_bit_as_is_what_is_not_float32(number: float) -> None:
    tenth = float(np.float32(0.1))
    single = replace(RECORD, clean_score=tenth, float_score=tenth, score=1.0, l2=tenth, ssim=tenth)
    single = replace(single, gradient_l1=float(np.float32(54.25955)))
    for record in (RECORD, single, replace(single, score=number), replace(single, clean_score=number)):
        again = Record.from_line(record.to_line(short=True))
        assert struct.pack("2d", again.score, again.clean_score) == struct.pack("2d", record.score, record.clean_score)
        assert repr(again) == repr(record)
    assert '"gradient_l1":54.25955,' in single.to_line(short=True)
    assert '"gradient_l1":54.25954818725586,' in single.to_line()


def test_compressed_bytes_depend_on_the_records_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_compressed(iter(some(20)), tmp_path / "one.jsonl.gz")
    monkeypatch.setattr("time.time", lambda: 1e9)
    write_compressed(some(20), tmp_path / "two" / "other name.jsonl.gz")
    content = (tmp_path / "one.jsonl.gz").read_bytes()
    assert (tmp_path / "two" / "other name.jsonl.gz").read_bytes() == content
    assert content[3] == 0  # no file name, comment or checksum of a header
    assert content[4:8] == bytes(4)  # no time
    write_compressed(some(19), tmp_path / "three.jsonl.gz")
    assert (tmp_path / "three.jsonl.gz").read_bytes() != content
