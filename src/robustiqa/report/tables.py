"""Tables as data, and how they read as Markdown, LaTeX and CSV; `robustiqa.report.layouts` says which there are."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from robustiqa.evaluation.measures import Estimate

MISSING = "—"
_MARKDOWN = re.compile(r"[\\`*|<\[\]~]|(?<![^\W_])_|_(?![^\W_])")  # a single underscore within a word is plain
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": "$|$",
    "<": "$<$",
    ">": "$>$",
    "−": "$-$",
    "—": "---",
    "–": "--",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\to$",
    "×": r"$\times$",
    "\u00a0": "~",
}


def number(value: float, digits: int, *, percent: bool = False, signed: bool = False) -> str:
    """A number as people read it, with a real minus sign; a dash where there is none.

    Args:
        value: NaN where undefined.
        digits: After the point.
        percent: Whether to show a share as percent.
        signed: Whether to write a plus sign.
    """
    if math.isnan(value):
        return MISSING
    shown = f"{100 * value if percent else value:.{digits}f}"
    if float(shown) == 0:
        shown = shown.lstrip("-")
    elif signed and value > 0:
        shown = f"+{shown}"
    return shown.replace("-", "−")


@dataclass(frozen=True)
class Cell:
    """A number with its interval, or words.

    Attributes:
        estimate: None for words or for nothing.
        digits: After the point.
        percent: Whether the number is a share, shown as percent.
        signed: Whether a plus sign is written.
        best: Whether it is the better one of those it stands beside.
        text: Words instead of a number.
    """

    estimate: Estimate | None = None
    digits: int = 3
    percent: bool = False
    signed: bool = False
    best: bool = False
    text: str = ""

    @property
    def value(self) -> str:
        """The number, or the words; a dash where there is nothing."""
        if self.estimate is None:
            return self.text or MISSING
        shown = self._shown(self.estimate.value)
        return f"{shown}\u00a0%" if self.percent and shown != MISSING else shown

    @property
    def interval(self) -> str:
        """The interval in brackets, or nothing."""
        if self.estimate is None or math.isnan(self.estimate.interval.low):
            return ""
        ends = (self._shown(end) for end in (self.estimate.interval.low, self.estimate.interval.high))
        return f"[{', '.join(ends)}]"

    def _shown(self, value: float) -> str:
        return number(value, self.digits, percent=self.percent, signed=self.signed)


@dataclass(frozen=True)
class Column:
    """A column's heading, and the heading it shares with its neighbors."""

    title: str
    over: str = ""

    @property
    def full(self) -> str:
        """Both in one line."""
        return f"{self.over}: {self.title}" if self.over else self.title


@dataclass(frozen=True)
class Row:
    """A row's heading and its cells."""

    title: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Block:
    """Rows under a common heading; without one if there is only one block."""

    rows: tuple[Row, ...]
    title: str = ""


@dataclass(frozen=True)
class Table:
    """A table and everything its reader must know.

    Attributes:
        name: Short, for file names and anchors.
        title: What it shows.
        stub: Heading of the row headings.
        columns: Headings.
        blocks: Rows.
        notes: What the numbers are of and how they were made, in sentences.
        main: Whether it belongs to the story; else it is for those who ask further.
    """

    name: str
    title: str
    stub: str
    columns: tuple[Column, ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...]
    main: bool = True

    @property
    def spans(self) -> list[tuple[str, int]]:
        """Headings that neighboring columns share, and over how many; empty ones where there is none."""
        found: list[tuple[str, int]] = []
        for column in self.columns:
            if found and column.over and found[-1][0] == column.over:
                found[-1] = (column.over, found[-1][1] + 1)
            else:
                found.append((column.over, 1))
        return found

    def to_markdown(self) -> str:
        """The table in Markdown, its title before and its notes after it."""
        headings = [self.stub, *(column.full for column in self.columns)]
        lines = [_markdown_row(headings), _markdown_row([":---", *("---:" for _ in self.columns)])]
        for block in self.blocks:
            if block.title:
                lines.append(_markdown_row([f"**{markdown(block.title)}**", *("" for _ in self.columns)], escaped=True))
            lines += [
                _markdown_row([markdown(row.title), *map(_markdown_cell, row.cells)], escaped=True)
                for row in block.rows
            ]
        return f"**{self.title}**\n\n" + "\n".join(lines) + "\n\n" + " ".join(self.notes) + "\n"

    def to_latex(self) -> str:
        """The table in LaTeX; needs the package `booktabs`."""
        lines = [
            r"\begin{table}",
            rf"\caption{{{latex(self.title)}}}\label{{tab:{self.name}}}",
            r"\centering\small",
            rf"\begin{{tabular}}{{l{'r' * len(self.columns)}}}",
            r"\toprule",
            *_latex_spans(self.spans),
            _latex_row([latex(self.stub), *(latex(column.title) for column in self.columns)]),
        ]
        for block in self.blocks:
            lines.append(r"\midrule")
            if block.title:
                lines.append(rf"\multicolumn{{{1 + len(self.columns)}}}{{l}}{{\emph{{{latex(block.title)}}}}} \\")
            lines += [_latex_row([latex(row.title), *map(_latex_cell, row.cells)]) for row in block.rows]
        notes = rf"\par\smallskip\footnotesize {latex(' '.join(self.notes))}"
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", notes, r"\end{table}"]) + "\n"

    def to_csv(self) -> str:
        """Every digit of the numbers, the ends of their intervals and each seed's value; notes in lines with `#`."""
        text = io.StringIO()
        for note in (self.title, *self.notes):
            text.write(f"# {note}\n")
        writer = csv.writer(text, lineterminator="\n")
        parts = [name for column in self.columns for name in _csv_names(column)]
        writer.writerow(["block", self.stub, *parts])
        for block in self.blocks:
            for row in block.rows:
                writer.writerow([block.title, row.title, *(part for cell in row.cells for part in _csv_parts(cell))])
        return text.getvalue()


def latex(text: str) -> str:
    """Text with every character that LaTeX would take for a command written out."""
    return "".join(_LATEX.get(character, character) for character in text)


def markdown(text: str) -> str:
    """Text with every character that Markdown would take for a command escaped."""
    return _MARKDOWN.sub(r"\\\g<0>", text)


def _markdown_row(cells: list[str], *, escaped: bool = False) -> str:
    return "| " + " | ".join(cells if escaped else map(markdown, cells)) + " |"


def _markdown_cell(cell: Cell) -> str:
    value = markdown(cell.value)
    return " ".join(part for part in (f"**{value}**" if cell.best else value, cell.interval) if part)


def _latex_cell(cell: Cell) -> str:
    value = latex(cell.value)
    shown = rf"\textbf{{{value}}}" if cell.best else value
    return rf"{shown} {{\scriptsize {latex(cell.interval)}}}" if cell.interval else shown


def _latex_row(cells: list[str]) -> str:
    guard = "{}" if cells[0].startswith(("[", "*")) else ""  # else an argument of the line break before
    return guard + " & ".join(cells) + r" \\"


def _latex_spans(spans: list[tuple[str, int]]) -> Iterator[str]:
    if not any(over for over, _ in spans):
        return
    yield _latex_row(["", *(rf"\multicolumn{{{width}}}{{c}}{{{latex(over)}}}" for over, width in spans)])
    start = 2
    for over, width in spans:
        if over:
            yield rf"\cmidrule(lr){{{start}-{start + width - 1}}}"
        start += width


def _csv_names(column: Column) -> tuple[str, ...]:
    return column.full, f"{column.full} low", f"{column.full} high", f"{column.full} seeds"


def _csv_parts(cell: Cell) -> tuple[str, ...]:
    if cell.estimate is None:
        return cell.text, "", "", ""
    interval = cell.estimate.interval
    numbers = ("" if math.isnan(x) else repr(x) for x in (interval.value, interval.low, interval.high))
    return (*numbers, ";".join(map(repr, cell.estimate.seeds)))
