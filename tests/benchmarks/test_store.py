from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.store import Group, Store, load

SETTINGS, MACHINE = {"quick": True, "threads": 1}, {"torch": "2"}


def filled(path: Path) -> Store:
    store = Store(path, SETTINGS, MACHINE)
    store.put("startup", Group("a", {"work": [1.0, 2.0]}, {"work": 4.0}, {"said": 1}))
    return store


def test_a_file_goes_on_where_it_was(tmp_path: Path) -> None:
    filled(tmp_path / "run.json").put("loader", Group("b", {"work": [1.0]}))
    again = Store(tmp_path / "run.json", SETTINGS, MACHINE)
    assert again.has("startup", "a")
    assert again.has("loader", "b")
    assert not again.has("loader", "a")
    kept = load(tmp_path / "run.json").group("startup", "a")
    assert kept == Group("a", {"work": [1.0, 2.0]}, {"work": 4.0}, {"said": 1})


def test_a_group_that_was_skipped_is_tried_again_and_not_read(tmp_path: Path) -> None:
    store = filled(tmp_path / "run.json")
    store.put("peers", Group("a", skipped="there are none"))
    assert not store.has("peers", "a")
    assert store.measurements().group("peers", "a") is None
    assert [group.skipped for group in store.measurements().groups("peers")] == ["there are none"]


def test_a_forgotten_section_is_measured_again_and_the_others_stay(tmp_path: Path) -> None:
    store = filled(tmp_path / "run.json")
    store.put("loader", Group("b", {"work": [1.0]}))
    store.forget("startup")
    assert not store.has("startup", "a")
    assert store.has("loader", "b")


@pytest.mark.parametrize(
    ("settings", "machine", "part"),
    [({**SETTINGS, "threads": 2}, MACHINE, "settings"), (SETTINGS, {"torch": "3"}, "machine")],
)
def test_a_file_of_another_run_is_refused(
    tmp_path: Path, settings: dict[str, object], machine: dict[str, object], part: str
) -> None:
    filled(tmp_path / "run.json")
    with pytest.raises(SystemExit, match=f"measured with another {part}; choose another file"):
        Store(tmp_path / "run.json", settings, machine)


def test_a_file_of_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"schema_version": 0}))
    with pytest.raises(SystemExit, match="not of schema 1"):
        load(path)


def test_rates_and_ratios_count_items() -> None:
    group = Group("a", {"slow": [4.0, 4.0], "fast": [3.0, 3.0], "bare": [2.0, 2.0]}, {"slow": 8.0, "fast": 12.0})
    assert group.rate("slow").middle == 2.0
    assert group.rate("fast").middle == 4.0
    assert group.speedup("fast", "slow").middle == 2.0
    assert group.ratio("fast", "slow").middle == 0.5
    assert Group("a", {"x": [6.0], "y": [3.0]}).ratio("x", "y").middle == 2.0
