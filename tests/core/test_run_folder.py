from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from robustiqa.core.errors import SpecError
from robustiqa.core.run_folder import SPEC_FILE, environment, open_run_folder, spec_hash, write_atomically

SPEC: dict[str, Any] = {"epochs": 2, "model": {"name": "hyperiqa", "backbone": "resnet18"}, "seeds": [0, 1]}


def test_a_new_folder_holds_its_spec_its_hash_and_the_versions(tmp_path: Path) -> None:
    returned = open_run_folder(tmp_path / "deep" / "run", SPEC)
    content = json.loads((tmp_path / "deep" / "run" / SPEC_FILE).read_text())
    assert content["spec"] == SPEC
    assert content["spec_hash"] == returned == spec_hash(SPEC)
    assert content["schema_version"] == 1
    assert content["environment"]["torch"] == metadata.version("torch")


def test_the_same_spec_is_welcome_again_and_nothing_is_rewritten(tmp_path: Path) -> None:
    open_run_folder(tmp_path, SPEC)
    before = (tmp_path / SPEC_FILE).read_bytes()
    shuffled = dict(reversed(SPEC.items()))
    assert open_run_folder(tmp_path, shuffled) == spec_hash(SPEC)
    assert (tmp_path / SPEC_FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"epochs": 3}, "epochs is 2 there, 3 now"),
        ({"model": {"name": "hyperiqa", "backbone": "resnet50"}}, 'model.backbone is "resnet18" there, "resnet50" now'),
        ({"epochs": 3, "seeds": [0]}, "epochs is 2 there, 3 now"),
        ({"seeds": (0, 2)}, "seeds is [0, 1] there, [0, 2] now"),
        ({"penalty": 1e-3}, "penalty is null there, 0.001 now"),
        ({"epochs": 2.0}, "epochs is 2 there, 2.0 now"),
    ],
)
def test_another_spec_is_refused_and_the_first_difference_named(
    changed: dict[str, Any], difference: str, tmp_path: Path
) -> None:
    open_run_folder(tmp_path, SPEC)
    message = f"{tmp_path} holds another run ({difference}); choose another folder or remove it."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        open_run_folder(tmp_path, {**SPEC, **changed})


def test_tuples_and_lists_are_one_spec(tmp_path: Path) -> None:
    open_run_folder(tmp_path, SPEC)
    open_run_folder(tmp_path, {**SPEC, "seeds": (0, 1)})


def test_a_folder_of_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    message = f"{tmp_path} is not empty and not a run folder; choose another."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        open_run_folder(tmp_path, SPEC)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_hidden_files_do_not_make_a_folder_foreign(tmp_path: Path) -> None:
    (tmp_path / f".{SPEC_FILE}.123.part").write_text('{"sch')  # a kill came while the spec was written
    open_run_folder(tmp_path, SPEC)
    assert (tmp_path / SPEC_FILE).is_file()


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    message = f"{tmp_path / 'run'} is a file, and a run needs a folder; choose another name."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        open_run_folder(tmp_path / "run", SPEC)


@pytest.mark.parametrize("text", ["", "not JSON", "[1]", '{"schema_version": 99, "spec_hash": "0"}', '{"name": "x"}'])
def test_a_run_file_of_something_else_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / SPEC_FILE).write_text(text)
    message = f"{tmp_path / SPEC_FILE} is not a run of this version, which writes schema 1; choose another."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        open_run_folder(tmp_path, SPEC)


def test_the_hash_depends_on_values_and_not_on_their_order() -> None:
    assert spec_hash({"a": 1, "b": {"c": 2, "d": 3}}) == spec_hash({"b": {"d": 3, "c": 2}, "a": 1})
    assert spec_hash({"a": 1}) != spec_hash({"a": 2})
    assert re.fullmatch("[0-9a-f]{16}", spec_hash({}))


def test_writing_replaces_the_file_and_leaves_nothing_beside(tmp_path: Path) -> None:
    target = tmp_path / "below" / "page.md"
    write_atomically(target, "old")
    write_atomically(target, "größer".encode())
    assert target.read_text(encoding="utf-8") == "größer"
    assert [path.name for path in target.parent.iterdir()] == ["page.md"]


def test_a_failed_write_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "page.md"
    write_atomically(target, "old")

    def full_disk(file: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="no space left"):
        write_atomically(target, "new")
    assert target.read_text() == "old"


def test_the_environment_names_versions_and_no_machine() -> None:
    found = environment()
    assert {"python", "machine", "system", "torch", "timm"} <= set(found)
    assert not any("/" in value for value in found.values())


def test_another_process_may_open_the_same_folder_at_the_same_moment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    listed = Path.iterdir

    def while_another_opens_it(folder: Path) -> Iterator[Path]:
        monkeypatch.undo()
        open_run_folder(tmp_path, SPEC)
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", while_another_opens_it)
    assert open_run_folder(tmp_path, SPEC) == spec_hash(SPEC)
