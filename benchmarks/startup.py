"""Seconds until a command line that computes nothing has ended."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial

from benchmarks.cases import Planned, Settings
from benchmarks.children import ROOT, environment_for
from benchmarks.store import Group
from benchmarks.timing import Work, interleaved

PYTHON, HELP = "python -c pass", "robustiqa --help"
COMMANDS = {
    PYTHON: ["-c", "pass"],
    HELP: ["-m", "robustiqa", "--help"],
    "robustiqa evaluate --help": ["-m", "robustiqa", "evaluate", "--help"],
    "robustiqa list attacks": ["-m", "robustiqa", "list", "attacks"],
}


def command(words: list[str]) -> Work:
    """Runs Python with these words."""

    def work() -> None:
        subprocess.run([sys.executable, *words], cwd=ROOT, env=environment_for(), check=True, capture_output=True)

    return work


def measure(settings: Settings) -> Group:
    """All commands."""
    return Group("commands", interleaved({name: command(words) for name, words in COMMANDS.items()}, settings.effort))


def plan(settings: Settings) -> Iterator[Planned]:
    """One group."""
    yield Planned("commands", partial(measure, settings))
