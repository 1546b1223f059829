"""The names people meet, `robustiqa.<name>`: lazy, typed, documented, and all there."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, assert_type

import pytest

import robustiqa as riq

if TYPE_CHECKING:  # mypy checks these two lines: a typed name, and a wrong one that it refuses
    assert_type(riq.create_model("hyperiqa"), riq.QualityModel)
    riq.creat_model  # type: ignore[attr-defined]  # noqa: B018

PACKAGE = Path(str(riq.__file__)).parent
NAMES = list(riq.__all__)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_resolves_and_says_what_it_is_for(name: str) -> None:
    module, attribute = riq._TABLE[name].split(":")
    value = getattr(importlib.import_module(module), attribute)
    assert callable(value)
    assert len(inspect.getdoc(value) or "") > 20
    assert getattr(riq, name) is value or name == "report"  # the last test is about report


def test_type_checkers_and_run_time_are_told_the_same_table() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    typed = {
        str(alias.asname): f"{node.module}:{alias.name}"
        for block in tree.body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == riq._TABLE
    assert list(typed) != []


def test_the_package_tells_type_checkers_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_dir_lists_every_public_name() -> None:
    assert set(NAMES) <= set(dir(riq))


def test_a_wrong_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'robustiqa' has no attribute 'creat_model'$"):
        getattr(riq, "creat_model")  # noqa: B009


def test_report_can_be_called_although_its_room_has_the_same_name(monkeypatch: pytest.MonkeyPatch) -> None:
    room = importlib.import_module("robustiqa.report")
    monkeypatch.setattr(room, "report", lambda evaluation: f"report of {evaluation}", raising=False)
    public: Any = riq.report
    assert public("a run") == "report of a run"
    assert isinstance(public, ModuleType)
