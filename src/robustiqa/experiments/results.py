"""Rebuilds `docs/results.md` from the records under `results/`, byte for byte (`make results`).

Each folder below `results/` holds what `comparison_evaluation.export` wrote, and `notes.md`: what was run and how.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from robustiqa.core.errors import DataError
from robustiqa.core.run_folder import write_atomically
from robustiqa.experiments.comparison_evaluation import INFO_FILE, load_exported
from robustiqa.report import report

HEADER = """# Results

Every number on this page is computed from the records in `results/`; `make results` rebuilds it byte for byte.
"""
NOTES_FILE = "notes.md"


def results_page(folder: Path) -> str:
    """The page as Markdown.

    Raises:
        DataError: if the folder holds no exported evaluation.
    """
    runs = sorted(path.parent for path in folder.glob(f"*/{INFO_FILE}"))
    if not runs:
        raise DataError(f"{folder} holds no exported evaluation; expected folders with {INFO_FILE}.")
    sections = [HEADER.strip()]
    for run in runs:
        notes = run / NOTES_FILE
        if notes.is_file():
            sections.append(notes.read_text(encoding="utf-8").strip())
        sections.append(report(load_exported(run)).to_markdown().strip())
    return "\n\n".join(sections) + "\n"


def main(arguments: list[str] | None = None) -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(description="Rebuild docs/results.md from the records in results/.")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--page", type=Path, default=Path("docs/results.md"))
    options = parser.parse_args(arguments)
    write_atomically(options.page, results_page(options.results))


if __name__ == "__main__":
    main()
