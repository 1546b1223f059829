"""The documentation builds without a warning, and its pages fetch nothing from the network."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.docs.pages import DOCS, ROOT


@pytest.mark.slow
def test_the_site_builds_strictly(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="needs the extra docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "reference" / "attacks.html").read_text(encoding="utf-8")
    assert "robustiqa.attacks.create_attack" in page
    assert "Usage: robustiqa score" in (tmp_path / "site" / "reference" / "cli.html").read_text(encoding="utf-8")


@pytest.fixture
def hooks() -> ModuleType:
    pytest.importorskip("mkdocs", reason="needs the extra docs")
    spec = importlib.util.spec_from_file_location("hooks", DOCS / "hooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Page:
    """As much of a page as the hooks look at."""

    class file:  # noqa: N801
        src_uri = "page.md"


@pytest.mark.parametrize(
    "fetched",
    [
        '<script src="https://host/code.js"></script>',
        "<script async src=//host/code.js></script>",
        '<link href="https://host/style.css" rel="stylesheet">',
        "<link rel=preconnect href=https://host crossorigin>",
        '<img alt="" src="http://host/picture.png">',
    ],
)
def test_a_page_that_would_fetch_from_the_network_is_refused(hooks: Any, fetched: str) -> None:
    with pytest.raises(Exception, match=r"^page\.md would fetch from the network: "):
        hooks.on_post_page(f"<html>{fetched}</html>", page=_Page)


def test_entries_of_a_card_begin_a_line_each_in_the_reference_alone(hooks: Any) -> None:
    class page:  # noqa: N801
        class file:  # noqa: N801
            src_uri = "reference/attacks.md"

    card = "<p>Threat model: white-box.\nCost: two passes\nat least.</p>"
    shown = "<p><strong>Threat model:</strong> white-box.<br><strong>Cost:</strong> two passes\nat least.</p>"
    assert hooks.on_page_content(card, page=page) == shown
    assert hooks.on_page_content(card, page=_Page) == card


def test_links_that_a_reader_may_follow_are_fine(hooks: Any) -> None:
    kept = '<a href="https://host/">elsewhere</a><script src="assets/code.js"></script><link rel=canonical href=//host>'
    assert hooks.on_post_page(kept, page=_Page) == kept


def test_help_of_a_verb_takes_the_place_of_its_mark(hooks: Any) -> None:
    page = hooks.on_page_markdown("before\n\n<!-- help: data info -->\n\nafter")
    assert re.match(r"before\n\n```text\nUsage: robustiqa data info .*\n```\n\nafter$", page, flags=re.DOTALL)


def test_help_of_a_verb_that_is_none_is_refused(hooks: Any) -> None:
    with pytest.raises(Exception, match="robustiqa scores --help ends with exit code 2"):
        hooks.on_page_markdown("<!-- help: scores -->")
