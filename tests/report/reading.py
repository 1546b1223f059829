"""How tests read what a report says: cells by their headings, records changed or left out, pages taken apart."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from robustiqa.evaluation.measures import Estimate
from robustiqa.evaluation.records import Record
from robustiqa.evaluation.views import Evaluation
from robustiqa.report.tables import Cell, Row, Table

VOID = {"meta", "link", "img", "br", "hr", "input"}


def row_of(table: Table, title: str, block: str | None = None) -> Row:
    """The one row of a table with a heading, within one block if it is named."""
    (found,) = [row for part in table.blocks for row in part.rows if row.title == title and block in (None, part.title)]
    return found


def cell_of(table: Table, row: str, column: str, block: str | None = None) -> Cell:
    """The one cell of a table under two headings."""
    (place,) = [place for place, heading in enumerate(table.columns) if heading.full == column]
    return row_of(table, row, block).cells[place]


def estimate_of(table: Table, row: str, column: str, block: str | None = None) -> Estimate:
    """The number of a cell that must hold one."""
    found = cell_of(table, row, column, block).estimate
    assert found is not None
    return found


def titles(table: Table) -> list[str]:
    """Row headings."""
    return [row.title for block in table.blocks for row in block.rows]


def named(tables: Sequence[Table | None], name: str) -> Table:
    """The table of that name."""
    (found,) = [table for table in tables if table is not None and table.name == name]
    return found


def bold(table: Table, row: str) -> list[str]:
    """Headings of the marked cells of a row."""
    return [column.full for column, cell in zip(table.columns, row_of(table, row).cells, strict=True) if cell.best]


def kept(evaluation: Evaluation, keep: Callable[[Record], bool]) -> Evaluation:
    """The evaluation with some of its records."""
    return Evaluation(tuple(filter(keep, evaluation.records)), evaluation.info)


def changed(evaluation: Evaluation, change: Callable[[Record], Record]) -> Evaluation:
    """The evaluation with its records changed one by one."""
    return Evaluation(tuple(map(change, evaluation.records)), evaluation.info)


def told(evaluation: Evaluation, **info: Any) -> Evaluation:
    """The evaluation with more said about it."""
    return Evaluation(evaluation.records, {**evaluation.info, "info": {**evaluation.info["info"], **info}})


def shown(value: float, digits: int) -> str:
    """A number as tables print it, by another road than theirs."""
    if math.isnan(value):
        return "\u2014"
    whole = f"{abs(value):.{digits}f}"
    return "\u2212" + whole if value < 0 and re.search("[1-9]", whole) else whole


@dataclass
class Element:
    """A tag with its attributes and the text inside it, its children's included."""

    tag: str
    attributes: Mapping[str, str]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """An HTML page, parsed: every element in order; tags that do not close as they should are an error."""

    source: str
    elements: list[Element] = field(default_factory=list)
    open: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.source)
        self.close()
        assert not self.open, f"never closed: {self.open[-1]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in {tag}"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1].tag == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data

    def all(self, tag: str) -> list[Element]:
        """Elements of one tag."""
        return [element for element in self.elements if element.tag == tag]
