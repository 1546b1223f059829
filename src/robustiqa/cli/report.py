"""`robustiqa report`: tables and a page from the records of evaluations that were run before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustiqa.cli import options, runs
from robustiqa.cli.output import Output


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER", help="Run folders of `robustiqa evaluate`.", show_default=False),
    ],
    base: runs.Base = None,
    defended: runs.Defended = None,
    control: runs.Control = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where files go.", show_default="the first folder")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the bootstrap.")] = 0,
    json: options.Json = False,
) -> int:
    """Rebuild tables and report.html from records.

    Several folders of the same photographs become one report. Without models there is no gallery:
    `robustiqa evaluate` writes one.

    Example: robustiqa report runs/evaluation --base baseline --defended nt
    """
    from robustiqa.cli.showing import print_report, report_document, write_report
    from robustiqa.report import report as make_report

    output = Output("report", json)
    found = runs.read_runs(folders, runs.comparison_notes(base, defended, control))
    made = make_report(found, seed=seed)
    page = write_report(made, folders[0] if out is None else out)
    print_report(output, made)
    output.line(f"\n{page}")
    output.document(report=page, **report_document(made))
    return 0
