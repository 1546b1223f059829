"""A report on the terminal, as JSON, and as files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustiqa.cli.output import Output

if TYPE_CHECKING:
    from robustiqa.report.html import Report
    from robustiqa.report.tables import Cell, Table

PAGE = "report.html"
# How tables are named that a terminal shows; the page has all.
PRINTED = ("honest", "clean", "controls", "members", "attacks", "query-curve")


def write_report(report: Report, folder: Path) -> Path:
    """Writes the page, the same as Markdown, and each table as LaTeX and CSV; returns the page."""
    from robustiqa.core.run_folder import write_atomically

    write_atomically(folder / "report.md", report.to_markdown())
    for table in report.tables:
        write_atomically(folder / "tables" / f"{table.name}.tex", table.to_latex())
        write_atomically(folder / "tables" / f"{table.name}.csv", table.to_csv())
    return report.to_html(folder / PAGE)


def print_report(output: Output, report: Report) -> None:
    """Prints what was found, and the tables that show it; the others, and all notes, stand in the page."""
    from robustiqa.report.captions import FLAGS_RAISED

    output.line(report.subtitle)
    for sentence in report.findings:
        output.line(f"- {sentence}")
    for table in report.tables:
        if table.name.startswith(PRINTED):
            output.line()
            print_table(output, table)
            for note in table.notes:
                if note.startswith(FLAGS_RAISED):
                    output.line(note)


def print_table(output: Output, table: Table) -> None:
    """Prints a table without its notes."""
    rows: list[list[str]] = []
    for block in table.blocks:
        if block.title:
            rows.append([block.title, *("" for _ in table.columns)])
        indent = "  " if block.title else ""
        rows += [[indent + row.title, *map(_cell, row.cells)] for row in block.rows]
    header = [table.stub, *(column.full for column in table.columns)]
    output.table(header, rows, title=table.title)


def _cell(cell: Cell) -> str:
    return f"{cell.value} {cell.interval}".strip().replace("\u00a0", " ")


def report_document(report: Report) -> dict[str, Any]:
    """Findings and tables as plain values."""
    return {
        "title": report.title,
        "subtitle": report.subtitle,
        "findings": report.findings,
        "flags": [asdict(flag) for flag in report.flags],
        "tables": [_table_document(table) for table in report.tables],
    }


def _table_document(table: Table) -> dict[str, Any]:
    return {
        "name": table.name,
        "title": table.title,
        "columns": [column.full for column in table.columns],
        "rows": [
            {"block": block.title, "row": row.title, "cells": [_cell_document(cell) for cell in row.cells]}
            for block in table.blocks
            for row in block.rows
        ],
        "notes": table.notes,
    }


def _cell_document(cell: Cell) -> dict[str, Any] | str:
    if cell.estimate is None:
        return cell.text
    interval = cell.estimate.interval
    return {"value": cell.estimate.value, "low": interval.low, "high": interval.high}
