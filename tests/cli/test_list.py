"""`robustiqa list`: every name that another verb takes."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

from robustiqa.attacks import attacks
from robustiqa.cli.listing import DESCRIBED_BY_MODULE, REGISTRIES
from robustiqa.datasets import datasets
from robustiqa.training.spec import recipe_names
from tests.cli.conftest import Run


def test_each_kind_is_listed_with_a_line_on_each_name(run: Run) -> None:
    document = run("list", "--json").document
    kinds = [kind for kind in document if kind not in ("schema_version", "verb")]
    assert kinds == [*REGISTRIES, "recipes", "experiments", "weights"]
    assert [entry["name"] for entry in document["attacks"]] == attacks.names()
    assert [entry["name"] for entry in document["datasets"]] == datasets.names()
    assert [entry["name"] for entry in document["recipes"]] == recipe_names()
    for kind in kinds:
        assert all(len(entry["summary"]) > 10 for entry in document[kind]), kind


@pytest.mark.parametrize("kind", [*REGISTRIES, "recipes", "experiments", "weights"])
def test_one_kind_is_listed_alone(run: Run, kind: str) -> None:
    ran = run("list", kind)
    assert ran.code == 0
    assert ran.out.splitlines()[0].split(maxsplit=1) == ["name", "what it is"]
    listed = [line.split()[0] for line in ran.out.splitlines()[1:]]
    names = [entry["name"] for entry in run("list", kind, "--json").document[kind]]
    assert listed == (names or ["none"])


@pytest.mark.parametrize("kind", REGISTRIES)
def test_a_summary_is_what_python_shows_of_the_thing_itself(run: Run, kind: str) -> None:
    module, _, attribute = REGISTRIES[kind].partition(":")
    registry = getattr(importlib.import_module(module), attribute)
    for entry in run("list", kind, "--json").document[kind]:
        thing = registry.get(entry["name"])
        shown = importlib.import_module(thing.__module__) if kind in DESCRIBED_BY_MODULE else thing
        assert entry["summary"] == (inspect.getdoc(shown) or "").splitlines()[0].rstrip(".")


def test_names_are_listed_without_torch() -> None:
    script = """
import sys
from robustiqa.cli.app import main
for kind in sys.argv[1:]:
    assert main(["list", kind, "--json"]) == 0, kind
    assert "torch" not in sys.modules, kind
"""
    kinds = [*REGISTRIES, "recipes", "experiments"]  # `weights` are files of tensors
    done = subprocess.run([sys.executable, "-c", script, *kinds], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
