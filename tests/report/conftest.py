"""One made-up comparison, read and reported once for all tests of the room."""

from __future__ import annotations

import pytest

from robustiqa.evaluation.study import Study, study
from robustiqa.evaluation.views import Evaluation
from robustiqa.report import Report, report
from robustiqa.report.layouts import all_tables
from robustiqa.report.tables import Table
from tests.evaluation.synthetic import compared

SAMPLES = 40


@pytest.fixture(scope="session")
def made_up() -> Evaluation:
    """Two baselines, two defended models and two controls, under two attacks and random signs, with transfer."""
    return compared(24, transfer=True, variants=("end_to_end", "patchwise"))


@pytest.fixture(scope="session")
def read(made_up: Evaluation) -> Study:
    """It, ready for tables."""
    return study(made_up, samples=SAMPLES)


@pytest.fixture(scope="session")
def tables(read: Study) -> tuple[Table, ...]:
    """Its tables."""
    return all_tables(read)


@pytest.fixture(scope="session")
def made(made_up: Evaluation) -> Report:
    """Its report."""
    return report(made_up, samples=SAMPLES)
