"""What holds for every page without running it: links lead somewhere, command lines parse, names and numbers exist."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import typer

import robustiqa as riq
from robustiqa.cli.app import app
from robustiqa.experiments.comparison import load_comparison
from tests.docs.pages import DOCS, ROOT, Block, blocks, command_lines

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
NORM_REGULARIZATION = DOCS / "explanation" / "norm-regularization.md"
QUOTED_FROM_RESULTS = {  # in the explanation, and as results.md has it
    "320.95": "| base | 320.95 | 24.66 |",
    "24.66": "| base | 320.95 | 24.66 |",
    "54 % less": "0.75 on +NT: 54 % less",
    "35 % less": "| worst of both directions, 8-bit | 5.21 [4.47, 7.03] | **3.38** [2.91, 4.50] | 35 % [30, 39] |",
    "3.38 times": "**3.38**",
    "65 % less": "0.56 on +NT: 65 % less [63, 68]",
    "ten steps as far as before": "3.33 [2.82, 4.37] | −2 % [−10, 4] |",
    ".839": "| farther end (the paper's), 8-bit |",
    ".670": "**0.670**",
    ".596": "**0.596**",
    "0.780 to 0.750": "(SROCC) is 0.780 on base and 0.750 on +NT",
}
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")


def _names(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


def slugs(page: Path) -> set[str]:
    """The anchors of a page's headings, as MkDocs and repository hosts make them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def dead_links(page: Path) -> list[str]:
    """Links to files and headings that are not there; the web is not asked."""
    dead = []
    for found in _LINK.finditer(page.read_text(encoding="utf-8")):
        target, _, anchor = found["target"].partition("#")
        if target.startswith(("http://", "https://")):
            continue
        file = page if not target else (page.parent / target).resolve()
        if not file.is_file() or (anchor and anchor not in slugs(file)):
            dead.append(found["target"])
    return dead


def refused(block: Block) -> list[str]:
    """Command lines that `robustiqa` does not take; placeholders such as PATH are fine, nothing is run."""
    wrong = []
    for words in command_lines(block):
        if words[0] != "robustiqa":
            continue
        try:
            _parse(words[1:])
        except Exception as error:  # whichever the parser raises
            wrong.append(f"{' '.join(words)}: {error}")
    return wrong


def _parse(arguments: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    context: Any = None
    while hasattr(command, "commands"):
        context = command.make_context("robustiqa", arguments[:1], parent=context)
        command, arguments = command.commands[arguments[0]], arguments[1:]
    command.make_context("robustiqa", arguments, parent=context)


def unknown_names(block: Block) -> list[str]:
    """Names that a `python` block takes from this package and that the package does not have."""
    unknown = []
    for node in ast.walk(ast.parse(block.body)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "riq":
            unknown += [] if node.attr in riq.__all__ else [f"riq.{node.attr}"]
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == "robustiqa":
            module = importlib.import_module(str(node.module))
            unknown += [f"{node.module}.{alias.name}" for alias in node.names if not hasattr(module, alias.name)]
    return unknown


@pytest.mark.parametrize("page", PAGES, ids=_names(PAGES))
def test_links_of_the_page_lead_somewhere(page: Path) -> None:
    assert dead_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=_names(PAGES))
def test_command_lines_of_the_page_parse(page: Path) -> None:
    assert [line for block in blocks(page) if block.language == "bash" for line in refused(block)] == []


@pytest.mark.parametrize("page", PAGES, ids=_names(PAGES))
def test_names_in_python_blocks_of_the_page_exist(page: Path) -> None:
    assert [name for block in blocks(page) if block.language == "python" for name in unknown_names(block)] == []


def test_every_page_stands_in_the_navigation_once() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    listed = re.findall(r"[\w/-]+\.md", navigation)
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_the_reference_opens_with_every_public_name() -> None:
    index = (DOCS / "reference" / "index.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"\[`(\w+)`\]\[", index)) == sorted(riq.__all__)


def test_the_reference_has_a_page_for_every_package_that_holds_docstrings() -> None:
    packages = {path.parent.name for path in (ROOT / "src" / "robustiqa").glob("*/__init__.py")}
    pages = {page.stem for page in (DOCS / "reference").glob("*.md")} - {"index"}
    assert packages - pages == {"experiments", "published"}


def test_the_command_line_reference_has_every_verb() -> None:
    page = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    program: Any = typer.main.get_command(app)
    verbs = []
    for name, command in program.commands.items():
        below = getattr(command, "commands", {})
        verbs += [f"{name} {inner}" for inner in below] or [name]
    assert sorted(re.findall(r"^<!-- help: (.*) -->$", page, flags=re.MULTILINE)) == sorted(verbs)


def test_the_comparison_on_its_page_can_be_run(tmp_path: Path) -> None:
    (example,) = (block for block in blocks(DOCS / "comparisons.md") if block.language == "toml")
    (tmp_path / "mine.toml").write_text(example.body, encoding="utf-8")
    made = load_comparison(tmp_path / "mine.toml")
    assert (made.weights, made.recipe.epochs, list(made.controls)) == ((4e-7, 8e-7), 4, ["all of the batch"])


@pytest.mark.parametrize(("quoted", "source"), QUOTED_FROM_RESULTS.items())
def test_numbers_that_the_explanation_quotes_stand_in_the_results(quoted: str, source: str) -> None:
    results = (DOCS / "results.md").read_text(encoding="utf-8").replace("\u00a0", " ")
    assert quoted in NORM_REGULARIZATION.read_text(encoding="utf-8")
    assert source in results
