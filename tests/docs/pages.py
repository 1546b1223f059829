"""Pages of the documentation: their fenced blocks, and how a reader who follows a page from top to bottom runs them.

A block with a `title="..."` is a file that the reader saves. `python` blocks of a page share one session, `bash` blocks
hold nothing but `robustiqa` command lines, and a `text` block shows some lines that the block before it prints: numbers
may differ from machine to machine, words may not.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robustiqa.cli.app import main

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FOLLOWED = [DOCS / "tutorial.md", *sorted((DOCS / "how-to").glob("*.md"))]
_FENCE = re.compile(r"^```(?P<language>\w+)(?P<options>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')
_NUMBER = re.compile(r"[-+−]?\d+(\.\d+)?(e[-+]?\d+)?")


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        page: Where it stands.
        line: Of its first line of text, from 1.
        language: The word after the fence.
        title: The file it is, or empty.
        body: Its text.
    """

    page: Path
    line: int
    language: str
    title: str
    body: str


def blocks(page: Path) -> Iterator[Block]:
    """Every fenced block of a page that names a language, in order."""
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        title = _TITLE.search(found["options"])
        line = text.count("\n", 0, found.start("body")) + 1
        yield Block(page, line, found["language"], title[1] if title else "", found["body"])


def command_lines(block: Block) -> Iterator[list[str]]:
    """The command lines of a `bash` block as words; lines that end in a backslash go on."""
    for line in block.body.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removesuffix(" &"), comments=True)  # beside the rest, a command like others
        if words:
            yield words


@dataclass
class Reader:
    """Someone who follows a page, in a folder of their own that is the current one."""

    session: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})
    seen: str = ""

    def follow(self, block: Block) -> None:
        """Saves a file, runs a block, or compares what was shown with what came."""
        where = f"{block.page.relative_to(ROOT)}, line {block.line}"
        if block.title:
            path = Path(block.title)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.body, encoding="utf-8")
            importlib.invalidate_caches()  # the folder may have been looked through a moment ago
        elif block.language == "text":
            missing = [line for line in block.body.splitlines() if _words(line) not in map(_words, self._lines())]
            assert not missing, f"{where}: {missing[0]!r} is not in what was printed:\n{self.seen}"
        elif block.language == "python":
            code = compile("\n" * (block.line - 1) + block.body, str(block.page), "exec")
            with self._watching():
                exec(code, self.session)
        elif block.language == "bash":
            with self._watching():
                for program, *arguments in command_lines(block):
                    assert program == "robustiqa", f"{where}: only robustiqa is run here, not {program!r}"
                    code_of = main(arguments)
                    assert code_of == 0, f"{where}: exit code {code_of} of robustiqa {shlex.join(arguments)}"
        else:
            raise AssertionError(f"{where}: a block of {block.language!r} needs a title, or one of python, bash, text")

    @contextlib.contextmanager
    def _watching(self) -> Iterator[None]:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            yield
        self.seen = out.getvalue()

    def _lines(self) -> list[str]:
        return [*self.seen.splitlines(), "..."]


def _words(line: str) -> list[str]:
    """A line without its numbers and its spacing."""
    return _NUMBER.sub("#", line).split()
