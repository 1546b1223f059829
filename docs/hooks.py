"""What building the documentation adds to MkDocs: the help of each verb, cards in lines, a look at what a page fetches.

A line `<!-- help: data check -->` of a page becomes what `robustiqa data check --help` prints. In the reference, the
entries of a card ("Cost: ...") begin a line each, as in the source.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from typing import Any

from mkdocs.exceptions import PluginError

WIDTH = "100"  # of the help, in characters
_HELP = re.compile(r"^<!-- help: ?(.*?) -->$", re.MULTILINE)
_CARD = re.compile(r"(<p>|\n)(Threat model|Defends against|Its use|Cost|Input|Source|Deviations): ")
_FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio)\b[^>]*?\ssrc=["']?(?:https?:)?//[^"'\s>]+"""
    r"""|<link\b(?=[^>]*\brel=["']?(?:stylesheet|preconnect|preload|icon))[^>]*?\shref=["']?(?:https?:)?//[^"'\s>]+""",
    re.IGNORECASE,
)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Puts in the help of verbs."""
    return _HELP.sub(lambda found: f"```text\n{help_of(found[1])}```", markdown)


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Sets the entries of cards apart."""
    if not page.file.src_uri.startswith("reference/"):
        return html
    return _CARD.sub(lambda found: f"{found[1] if found[1] == '<p>' else '<br>'}<strong>{found[2]}:</strong> ", html)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Refuses a page that a reader without a network would see parts of missing."""
    fetched = _FETCHED.search(output)
    if fetched:
        raise PluginError(f"{page.file.src_uri} would fetch from the network: {fetched[0]}")
    return output


def help_of(verb: str) -> str:
    """What `robustiqa VERB --help` prints; nothing heavy is imported for it."""
    from robustiqa.cli.app import main

    width = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = WIDTH
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            code = main([*verb.split(), "--help"])
    finally:
        os.environ.pop("COLUMNS") if width is None else os.environ.update(COLUMNS=width)
    if code != 0:
        raise PluginError(f"robustiqa {verb} --help ends with exit code {code}; is that still a verb?")
    return out.getvalue()
