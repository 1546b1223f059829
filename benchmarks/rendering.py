"""`docs/performance.md` from the measurements under benchmarks/results/ and the notes beside them, byte for byte.

    python -m benchmarks.rendering      (`make performance`)

Each file there, `NAME.json`, becomes a part of the page, and each in its folder `attacks` a part of what says how
strong attacks are beside those of other libraries. `notes.md` is written by hand and comes last.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.attacks import tables
from benchmarks.guards import GUARDS
from benchmarks.store import Measurements, load
from benchmarks.tables import TABLES, cell, section, table
from robustiqa.core.run_folder import write_atomically

HEADER = """# Performance
"""
MEASURED = """Every number down to the notes is computed from the files in `benchmarks/results/`; `make bench` measures,
`make performance` rebuilds the page byte for byte. Cells hold the median over interleaved rounds and, in brackets, the
middle half; a ratio is that of two medians of the same run, its brackets those of the ratios round by round.
"""
STRENGTH = """## Strength of attacks beside other libraries

Mean change of 8-bit scores in the direction they are pushed, at equal numbers of gradients, over the seeds of random
starts, on made-up scenes (`python -m benchmarks.attacks`; `benchmarks/results/attacks`). A ratio above 1: APGD moves
scores farther.
"""
ATTACKS_FOLDER = "attacks"
NOTES_FILE = "notes.md"
RESULTS, PAGE = Path("benchmarks/results"), Path("docs/performance.md")
SIGNS = {True: "at most", False: "at least"}


def guards_table(run: Measurements) -> str:
    """What is promised, and whether it holds."""
    rows = []
    for guard in GUARDS:
        value = guard.reads(run)
        measured = "–" if value is None else f"{cell(value)} {guard.unit}"
        wanted = f"{SIGNS[guard.at_most]} {guard.wanted:g} {guard.unit}"
        rows.append([guard.says, measured, wanted, guard.verdict(run)])
    return table(["promise", "measured", "wanted", "verdict"], rows)


def part(name: str, run: Measurements) -> str:
    """The measurements of one machine."""
    versions = ", ".join(f"{package} {run.machine[package]}" for package in ("torch", "timm") if package in run.machine)
    said = (
        f"{run.machine['processor']}, {run.settings['threads']} threads of {run.machine['cores']} cores, "
        f"{run.settings['device']}; {versions}; memory allocator: {run.machine['allocator']}."
    )
    quick = "Small sizes: this shows that everything runs and measures nothing." if run.settings["quick"] else ""
    guards = "" if quick else f"### Promises\n\n{guards_table(run)}"
    sections = [section(run, one) for one in TABLES]
    return "\n\n".join(filter(None, [f"## {name}", said, quick, guards, *sections]))


def page(runs: dict[str, Measurements], notes: str, attacks: Sequence[Mapping[str, Any]] = ()) -> str:
    """The whole page.

    Args:
        runs: By the name of their file.
        notes: Markdown, written by hand.
        attacks: What `benchmarks.attacks` wrote.
    """
    parts = [HEADER.strip(), *([MEASURED.strip()] if runs else []), *(part(name, run) for name, run in runs.items())]
    parts += [STRENGTH.strip(), *map(tables, attacks)] if attacks else []
    return "\n\n".join([*parts, notes.strip()]) + "\n"


def build(folder: Path) -> str:
    """The page from a folder of measurements."""
    runs = {path.stem: load(path) for path in sorted(folder.glob("*.json"))}
    notes = folder / NOTES_FILE
    attacks = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(f"{ATTACKS_FOLDER}/*.json"))]
    return page(runs, notes.read_text(encoding="utf-8") if notes.is_file() else "", attacks)


def main(arguments: list[str] | None = None) -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(description="Rebuild docs/performance.md from benchmarks/results/.")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args(arguments)
    write_atomically(options.page, build(options.results))


if __name__ == "__main__":
    main()
