"""What a verb imports before it works: a line on the screen must not wait for packages that nothing of it needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from robustiqa.evaluation.exported import export
from tests.contracts.test_imports import SLOW
from tests.evaluation.synthetic import synthetic


def modules_after(program: str, *arguments: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running a program."""
    report = "\nimport sys\nprint()\nprint(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", program + report, *arguments], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


HELP = """
import sys
from robustiqa.cli.app import main
try:
    code = main()
except SystemExit as stop:
    code = stop.code
assert not code, code
"""


def test_importing_the_package_imports_nothing_but_the_standard_library() -> None:
    third_party = modules_after("import robustiqa") - modules_after("") - set(sys.stdlib_module_names)
    assert third_party == {"robustiqa"}


def test_an_import_of_another_package_would_be_seen() -> None:
    assert "numpy" in modules_after("import robustiqa, numpy.linalg")


@pytest.mark.parametrize("verb", [(), ("score",), ("attack",), ("train",), ("evaluate",)])
def test_help_imports_neither_torch_nor_another_slow_package(verb: tuple[str, ...]) -> None:
    loaded = modules_after(HELP, *verb, "--help")
    assert "robustiqa" in loaded
    assert loaded & ({"torch", "torchvision", "numpy"} | SLOW) == set()


@pytest.mark.parametrize("kind", [(), ("weights",)])
def test_lists_import_neither_torch_nor_another_slow_package(kind: tuple[str, ...]) -> None:
    assert modules_after(HELP, "list", *kind) & ({"torch", "torchvision"} | SLOW) == set()


def test_a_report_is_made_from_records_without_torch(tmp_path: Path) -> None:
    export(synthetic(12, models={"only": (9.0, 0.8, 5.0)}), tmp_path)
    assert modules_after(HELP, "report", str(tmp_path)) & {"torch", "torchvision", "timm", "torchmetrics"} == set()
    assert (tmp_path / "report.html").is_file()
