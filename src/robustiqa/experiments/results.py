"""Rebuilds `docs/results.md` and its figures from the records under `results/`, byte for byte (`make results`).

Each folder below `results/` holds what `comparison_evaluation.export` wrote, or a folder of that for each set of
photographs of a plan of attacks, or what benchmarks kept; and `notes.md`: what was run and how. That of `results/`
itself says what all of it is of. A table of all comparisons opens the page; where those of several of the paper's
models are there, its tables come next.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

from robustiqa.core.errors import DataError
from robustiqa.core.run_folder import write_atomically
from robustiqa.evaluation.exported import INFO_FILE, load_exported
from robustiqa.evaluation.study import Study, study
from robustiqa.experiments.benchmark_pages import holds_pages, load_pages
from robustiqa.experiments.side_by_side import side_by_side
from robustiqa.experiments.subjects_spec import DEFAULT, Subject, load_subjects
from robustiqa.report.attack_report import attack_report
from robustiqa.report.benchmark import benchmark_report
from robustiqa.report.checks import check_finite
from robustiqa.report.html import TITLE, Report, report_of
from robustiqa.report.overview import overview_table

HEADER = """# Results

Every number on this page is computed from the records in `results/`; `make results` rebuilds it byte for byte.
"""
IN_SHORT = "In short"
TOGETHER = "The paper's models side by side"
NOTES_FILE = "notes.md"
FIGURES_FOLDER = "images"  # beside the page


@dataclass(frozen=True)
class Results:
    """What `make results` writes.

    Attributes:
        page: Markdown.
        figures: Path beside the page to SVG: those that the page shows.
    """

    page: str
    figures: dict[str, str]


def build_results(folder: Path) -> Results:
    """The page and its figures.

    Raises:
        DataError: if the folder holds no exported evaluation.
    """
    comparisons = {path.parent for path in folder.glob(f"*/{INFO_FILE}")}
    plans = {path.parent.parent for path in folder.glob(f"*/*/{INFO_FILE}")}
    benchmarks = {path for path in folder.glob("*") if holds_pages(path)}
    if not comparisons | plans | benchmarks:
        raise DataError(f"{folder} holds no exported evaluation; expected folders with {INFO_FILE}.")
    read = {run: _read(run) for run in sorted(comparisons, key=_place)}
    sections = [HEADER.strip()]
    compared = {_title(run): study for run, study in read.items() if study.comparison and not study.notes.get("quick")}
    if compared:
        table = overview_table(compared)
        sections.append(f"## {IN_SHORT}\n\n{table.to_markdown().strip()}")
    sections += _notes(folder)
    figures: dict[str, str] = {}
    together = side_by_side(folder)
    if together:
        sections.append(_part(benchmark_report(together, TOGETHER).to_markdown()))
    for run in [*read, *sorted(plans | benchmarks)]:
        notes = _notes(run)
        sections += notes
        if run in read:
            sections.append(_part(report_of(read[run]).to_markdown(), titled=bool(notes)))
            continue
        made = benchmark_report(load_pages(run)) if run in benchmarks else plan_report(run)
        pictures = {figure.name: f"{FIGURES_FOLDER}/{run.name}-{figure.name}.svg" for figure in made.figures}
        figures |= {pictures[figure.name]: figure.svg for figure in made.figures}
        sections.append(_part(made.to_markdown(pictures), titled=bool(notes)))
    return Results("\n\n".join(sections) + "\n", figures)


def _read(run: Path) -> Study:
    evaluation = load_exported(run)
    check_finite(evaluation)
    return study(evaluation)


def _subjects() -> list[Subject]:
    """The paper's models, in its order."""
    return list(load_subjects(DEFAULT).models.values())


def _place(run: Path) -> tuple[int, str]:
    """The paper's models come first, in its order."""
    known = [subject.comparison for subject in _subjects()]
    return known.index(run.name) if run.name in known else len(known), run.name


def _title(run: Path) -> str:
    return {subject.comparison: subject.title for subject in _subjects()}.get(run.name, run.name)


def _part(report: str, *, titled: bool = False) -> str:
    """A report as a part of the page: its headings one level lower, no title of its own where notes give one."""
    lines = report.strip().splitlines()
    if titled and lines[0] == f"# {TITLE}":
        lines = lines[1:]
    return "\n".join(f"#{line}" if re.match("#+ ", line) else line for line in lines).strip()


def _notes(folder: Path) -> list[str]:
    path = folder / NOTES_FILE
    return [path.read_text(encoding="utf-8").strip()] if path.is_file() else []


def plan_report(folder: Path) -> Report:
    """The report of a plan of attacks from the kept records of its sets, in the order of the plan."""
    sets = [load_exported(path.parent) for path in sorted(folder.glob(f"*/{INFO_FILE}"))]
    return attack_report(sorted(sets, key=lambda one: int(one.info["info"]["place"])))


def results_page(folder: Path) -> str:
    """The page as Markdown.

    Raises:
        DataError: if the folder holds no exported evaluation.
    """
    return build_results(folder).page


def main(arguments: list[str] | None = None) -> None:
    """Writes the page and its figures."""
    parser = argparse.ArgumentParser(description="Rebuild docs/results.md from the records in results/.")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--page", type=Path, default=Path("docs/results.md"))
    options = parser.parse_args(arguments)
    results = build_results(options.results)
    for name, svg in results.figures.items():
        write_atomically(options.page.parent / name, svg)
    write_atomically(options.page, results.page)


if __name__ == "__main__":
    main()
