"""Where a verb's words go: its result to stdout as text or one JSON document, all else to stderr."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from robustiqa.cli.processes import this_process

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

SCHEMA_VERSION = 1  # of the JSON documents
BETWEEN_COLUMNS = 2
NARROWEST_WORDS = 20  # characters that a column of words keeps on a narrow terminal
SPEED_OVER = 3600.0  # seconds that the time left is judged by: reports may be minutes apart
OFF_TERMINAL_WIDTH = 10_000  # a file or a pipe has no width: nothing is wrapped or cut there


class Tell(Protocol):
    """Says how far a piece of work has come."""

    def __call__(self, done: int, total: int, detail: str = "") -> None:
        """`done` of `total`, and a few words on where that is."""
        ...


def plain(value: Any) -> Any:
    """A value as JSON holds it: numbers that are not finite become null, paths become text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value


def print_document(values: Mapping[str, Any]) -> None:
    """Writes one JSON document to stdout."""
    sys.stdout.write(json.dumps(plain(values), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def print_error(sentence: str) -> None:
    """Writes a sentence to stderr, as it is."""
    sys.stderr.write(f"{sentence}\n")


def number(value: float | None, digits: int = 2) -> str:
    """A number for a table; a dash where there is none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


@dataclass(frozen=True)
class Output:
    """Where one verb writes to. Of several processes of one run (torchrun), only the first one writes.

    Args:
        verb: Its name.
        json: Whether stdout gets a JSON document instead of text.
    """

    verb: str
    json: bool = False

    @property
    def silent(self) -> bool:
        """Whether this is not the first process of its run."""
        return not this_process().first

    def line(self, text: str = "") -> None:
        """A line of the result for people; not part of JSON."""
        if not self.json and not self.silent:
            sys.stdout.write(f"{text}\n")

    def note(self, text: str) -> None:
        """A line about the work, on stderr."""
        if not self.silent:
            print_error(text)

    def document(self, **values: Any) -> None:
        """The result for programs; only with `--json`."""
        if self.json and not self.silent:
            print_document({"schema_version": SCHEMA_VERSION, "verb": self.verb, **values})

    def table(
        self,
        header: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        title: str = "",
        words: int = 1,
    ) -> None:
        """A table for people, as wide as its numbers need even where the terminal is narrower.

        Args:
            header: Names of the columns.
            rows: Cells as text.
            title: Above the table.
            words: How many leading columns hold words: aligned left, folded where space is short.
        """
        if self.json or self.silent:
            return
        from rich.table import Table
        from rich.text import Text

        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        room = _console().width - sum(width + BETWEEN_COLUMNS for width in widths[words:])
        table = Table(box=None, pad_edge=False, title=title or None, title_justify="left", title_style="bold")
        for place, (name, width) in enumerate(zip(header, widths, strict=True)):
            if place < words:
                share = max(room // (words - place) - BETWEEN_COLUMNS, NARROWEST_WORDS)
                table.add_column(Text(name), overflow="fold", max_width=share)
                room -= min(width, share) + BETWEEN_COLUMNS
            else:
                table.add_column(Text(name), justify="right", no_wrap=True)
        for row in rows:
            table.add_row(*map(Text, row))
        whole = _console(width=OFF_TERMINAL_WIDTH)
        with whole.capture() as captured:
            whole.print(table)
        sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))

    @contextmanager
    def progress(self, what: str) -> Iterator[Tell]:
        """A progress bar with the time left, on stderr where that is a terminal."""
        with self.bars() as start:
            yield start(what)

    @contextmanager
    def bars(self) -> Iterator[Callable[[str], Tell]]:
        """Progress bars below each other; what comes out starts one."""
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        console = _console(stderr=True)
        bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}"),
            console=console,
            transient=True,
            speed_estimate_period=SPEED_OVER,
            disable=self.silent or not console.is_terminal,
        )
        with bars:
            yield lambda what: _teller(bars, what)


def _teller(bars: Progress, what: str) -> Tell:
    """Starts a bar at the first report, so that resumed work does not count as done in no time."""
    started: list[TaskID] = []

    def tell(done: int, total: int, detail: str = "") -> None:
        if not started:
            started.append(bars.add_task(what, total=total, completed=done, detail=detail))
        bars.update(started[0], completed=done, total=total, detail=detail)

    return tell


def _console(stderr: bool = False, width: int | None = None) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=width)
    if width is None and not console.is_terminal:
        return _console(stderr, OFF_TERMINAL_WIDTH)
    return console
