"""Rules that hold for every source file, read off the syntax trees, imports inside functions included.

    cli -> experiments -> report -> evaluation -> training -> published
        -> models | attacks | defenses | datasets | metrics -> core

A room may import rooms to its right; the five siblings never import one another. Beside that: only `cli` prints and
reads the environment, slow packages are imported where they are used, and what is public says what it is for.
Each rule is also run on a planted violation, so that it can't fall silent.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"
SOURCE_FILES = sorted((SOURCE / "robustiqa").rglob("*.py"))
SIBLINGS = ("models", "attacks", "defenses", "datasets", "metrics")
ORDER = (
    ("robustiqa",),  # the public names and __main__
    ("cli",),
    ("experiments",),
    ("report",),
    ("evaluation",),
    ("training",),
    ("published",),
    SIBLINGS,
    ("core",),
)
PLACE = {room: place for place, rooms in enumerate(ORDER) for room in rooms}
MOST_LINES = 300
SLOW = {"accelerate", "kornia", "matplotlib", "pandas", "scipy", "skimage", "tensorboard", "timm", "torchmetrics"}
SLOW_MODULES = ("robustiqa.models.mean_score",)  # subclasses of slow packages' classes: imported late themselves
TALKING = {"click", "rich", "tqdm", "typer", "sys.stdout", "sys.stderr", "print", "pprint.pprint"}
ENVIRONMENT = {"os.environ", "os.environb", "os.getenv", "os.putenv"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def module_name(path: Path) -> str:
    """`robustiqa.core.seeds` for .../src/robustiqa/core/seeds.py; a package ends in `.__init__`."""
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts)


def imports(tree: ast.AST, module: str) -> Iterator[tuple[ast.AST, str]]:
    """Each import in a tree and the full dotted name that it brings in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            named = [word.value for word in node.args[:1] if isinstance(word, ast.Constant)]
            yield from ((node, name) for name in named if isinstance(name, str))


def room(name: str) -> str:
    """The room that a dotted name of this package lies in; `robustiqa` if it lies in none."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in PLACE else "robustiqa"


def wrong_way_imports(tree: ast.AST, module: str) -> Iterator[str]:
    """Imports that do not point right."""
    own = room(module)
    for _, name in imports(tree, module):
        if name.split(".")[0] == "robustiqa" and own != "robustiqa":
            other = room(name)
            if other != own and PLACE[other] <= PLACE[own]:
                yield f"{own} must not import {other} ({name})"


def uses(tree: ast.AST, module: str, names: set[str]) -> Iterator[str]:
    """Imports of the named things or from them, and mentions of them by their dotted names."""
    brought = [name for _, name in imports(tree, module)]
    written = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Name | ast.Attribute)]
    for name in [*brought, *written]:
        if any(name == used or name.startswith(f"{used}.") for used in names):
            yield name


def slow_imports_at_the_top(tree: ast.AST, module: str) -> Iterator[str]:
    """Slow packages imported outside every function and outside `if TYPE_CHECKING`."""
    deferred = [
        node
        for node in ast.walk(tree)
        if isinstance(node, FUNCTIONS) or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    ]
    later = {id(inner) for node in deferred for inner in ast.walk(node)}
    for node, name in imports(tree, module):
        slow = name.split(".")[0] in SLOW or name.startswith(SLOW_MODULES)
        if slow and id(node) not in later and module not in SLOW_MODULES:
            yield name


def undocumented_names(tree: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[str]:
    """Public classes, functions and methods without a docstring."""
    for node in tree.body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not node.name.startswith("_"):
            if ast.get_docstring(node) is None and not _restates_another(node):
                yield prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from undocumented_names(node, f"{prefix}{node.name}.")


def _restates_another(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    return any(ast.unparse(mark).endswith((".setter", "overload", "override")) for mark in node.decorator_list)


def in_source(rule: str) -> list[str]:
    """Violations of one rule in the package, each with its module."""
    found = []
    for path in SOURCE_FILES:
        module, tree = module_name(path), ast.parse(path.read_text(encoding="utf-8"))
        found += [f"{module}: {violation}" for violation in violations(rule, tree, module)]
    return found


def violations(rule: str, tree: ast.Module, module: str) -> list[str]:
    """Violations of one rule in one file."""
    quiet = room(module) != "cli"
    by_rule = {
        "imports point right": wrong_way_imports(tree, module),
        "only cli prints": uses(tree, module, TALKING) if quiet else (),
        "only cli reads the environment": uses(tree, module, ENVIRONMENT) if quiet else (),
        "slow packages are imported where they are used": slow_imports_at_the_top(tree, module),
        "public names have docstrings": undocumented_names(tree),
    }
    return list(by_rule[rule])


PLANTED = {
    "imports point right": [
        ("robustiqa.core.seeds", "def f():\n    from robustiqa.models import create_model"),
        ("robustiqa.core.seeds", "from .. import models"),
        ("robustiqa.core.__init__", "from ..models import create_model"),
        ("robustiqa.models.hyperiqa", "import robustiqa.attacks.gradient as g"),
        ("robustiqa.models.hyperiqa", "from robustiqa import create_attack"),
        ("robustiqa.models.hyperiqa", "import importlib\nimportlib.import_module('robustiqa.training.loop')"),
        ("robustiqa.training.loop", "from robustiqa.evaluation.run import evaluate"),
        ("robustiqa.evaluation.run", "from robustiqa import report"),
        ("robustiqa.cli.app", "import robustiqa"),
        ("robustiqa.cli.app", "from robustiqa.utilities import anything"),
    ],
    "only cli prints": [
        ("robustiqa.core.seeds", "print(1)"),
        ("robustiqa.core.seeds", "import sys\nsys.stderr.write('')"),
        ("robustiqa.core.seeds", "def f():\n    from rich.progress import track"),
        ("robustiqa.core.seeds", "import typer"),
    ],
    "only cli reads the environment": [
        ("robustiqa.core.seeds", "import os\nos.environ['HOME']"),
        ("robustiqa.core.seeds", "import os\nos.getenv('HOME')"),
        ("robustiqa.core.seeds", "from os import environ"),
    ],
    "slow packages are imported where they are used": [
        ("robustiqa.cli.app", "import pandas as pd"),
        ("robustiqa.metrics.mapping", "from scipy.optimize import curve_fit"),
        ("robustiqa.metrics.mapping", "class A:\n    import timm"),
        ("robustiqa.models.as_metric", "from robustiqa.models.mean_score import MeanScore"),
    ],
    "public names have docstrings": [
        ("robustiqa.core.seeds", "def seed(): ..."),
        ("robustiqa.core.seeds", "class Seed: ..."),
        ("robustiqa.core.seeds", "class Seed:\n    '''Says.'''\n    def draw(self): ..."),
    ],
}
INNOCENT = """
'''A module; print(1) and os.environ in a docstring are words.'''
from typing import TYPE_CHECKING
import os, sys
import torch
from robustiqa.core.errors import InputError
if TYPE_CHECKING:
    import pandas as pd
def public():
    '''Says.'''
    import scipy
    return os.getpid(), sys.argv, image.print
def _private(): ...
class _Private:
    def method(self): ...
"""


@pytest.mark.parametrize("rule", PLANTED)
def test_every_source_file_keeps_the_rule_that(rule: str) -> None:
    assert len(SOURCE_FILES) > 20
    assert in_source(rule) == []


@pytest.mark.parametrize(
    ("rule", "module", "text"), [(rule, *plant) for rule, plants in PLANTED.items() for plant in plants]
)
def test_a_planted_violation_is_found(rule: str, module: str, text: str) -> None:
    assert len(violations(rule, ast.parse(text), module)) >= 1


@pytest.mark.parametrize("rule", PLANTED)
def test_an_innocent_file_is_left_alone(rule: str) -> None:
    assert violations(rule, ast.parse(INNOCENT), "robustiqa.metrics.mapping") == []


@pytest.mark.parametrize(
    ("own", "other"), [("cli", "core"), ("experiments", "report"), ("published", "defenses"), ("models", "models")]
)
def test_imports_that_point_right_are_allowed(own: str, other: str) -> None:
    tree = ast.parse(f"from robustiqa.{other}.some_file import something")
    assert violations("imports point right", tree, f"robustiqa.{own}.app") == []


def test_every_source_file_lies_in_a_room() -> None:
    homeless = [module for module in map(module_name, SOURCE_FILES) if room(module) == "robustiqa"]
    assert set(homeless) <= {"robustiqa.__init__", "robustiqa.__main__"}
    assert room("robustiqa.utilities") == "robustiqa"


def too_long(files: list[Path]) -> list[str]:
    """Files of more than `MOST_LINES` lines, with their lengths."""
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    return [f"{name} has {length} lines" for name, length in lengths.items() if length > MOST_LINES]


def test_no_file_is_longer_than_300_lines() -> None:
    assert too_long([*SOURCE_FILES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]) == []


def test_a_file_of_301_lines_is_found_and_one_of_300_is_not(tmp_path: Path) -> None:
    for count in (300, 301):
        (tmp_path / f"{count}.py").write_text("\n" * count)
    assert too_long(sorted(tmp_path.iterdir())) == ["301.py has 301 lines"]
