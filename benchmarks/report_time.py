"""Seconds to make the report of an evaluation: tables, figures and the page, without models."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.cases import Planned, Settings, Works
from benchmarks.store import Group
from benchmarks.timing import interleaved

PHOTOS, QUICK_PHOTOS = 200, 4
SIZE = 224
TABLES, PAGE = "tables and figures", "tables, figures and page"


def measure(settings: Settings) -> Group:
    """The demonstration pair under two attacks."""
    from robustiqa.attacks import create_attack
    from robustiqa.datasets.builtin import load_builtin
    from robustiqa.evaluation.run import evaluate
    from robustiqa.models.loading import load_model
    from robustiqa.report import report

    listed = load_builtin(size=SIZE).part("test")
    photos = listed.select([photo.key for photo in listed][: QUICK_PHOTOS if settings.quick else PHOTOS])
    models = {name: load_model(name) for name in ("demo-baseline", "demo-nt")}
    attacks = [create_attack("fgsm", eps=0.01), create_attack("random_sign", eps=0.01)]
    found = evaluate(models, photos, attacks)
    with tempfile.TemporaryDirectory() as folder:
        works: Works = {
            TABLES: lambda: report(found),
            PAGE: lambda: report(found).to_html(Path(folder) / "report.html"),
        }
        seconds = interleaved(works, settings.effort)
    facts = {"photographs": len(photos), "records": len(found.records), "models": len(models)}
    return Group("demonstration pair", seconds, facts=facts)


def plan(settings: Settings) -> Iterator[Planned]:
    """One evaluation."""
    yield Planned("demonstration pair", partial(measure, settings))
