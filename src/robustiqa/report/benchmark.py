"""The report of benchmarks: each shows what its file asks for, all of them on one page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from robustiqa.core.errors import InputError
from robustiqa.evaluation.study import Study
from robustiqa.evaluation.summary import SAMPLES
from robustiqa.evaluation.views import Evaluation
from robustiqa.report.attack_report import NO_LIMIT
from robustiqa.report.benchmark_explorer import benchmark_explorer
from robustiqa.report.benchmark_figures import renamed
from robustiqa.report.benchmark_study import BenchmarkStudy, benchmark_study
from robustiqa.report.benchmark_views import VIEWS, View
from robustiqa.report.captions import method, photographs, quick_note
from robustiqa.report.diagnostics import checks
from robustiqa.report.figures import Figure
from robustiqa.report.findings import flag_sentences
from robustiqa.report.html import Facts, Report, facts
from robustiqa.report.tables import Table

if TYPE_CHECKING:
    from robustiqa.report.gallery import GalleryItem


def benchmark_report(
    found: Sequence[Evaluation],
    title: str = "",
    pictures: Sequence[GalleryItem] = (),
    *,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Report:
    """Makes one page of everything that benchmarks show.

    Args:
        found: Evaluations with the notes of `robustiqa.experiments.benchmark_notes`, in the order of the page.
        title: Of the page; that of the benchmark where there is one.
        pictures: Of the photographs that are shown as examples, where they can be had.
        samples: Bootstrap resamples.
        seed: Of the resamples.

    Raises:
        InputError: if there is none, it holds no records, or they are unfinished or not finite.
    """
    if not found:
        raise InputError("a report of benchmarks needs at least one.")
    read = [benchmark_study(evaluation, samples=samples, seed=seed) for evaluation in found]
    parts = [_Part.of(one, name) for one, name in zip(read, _names(read), strict=True)]
    titles = list(dict.fromkeys(part.title for part in parts))
    studies = [part.read.study for part in parts]
    said = [sentence for part in parts for sentence in part.sentences]
    return Report(
        title=(title or "; ".join(titles)) + quick_note(studies[0]),
        subtitle="; ".join(dict.fromkeys(photographs(study) for study in studies)) + ".",
        findings=(*dict.fromkeys(said), NO_LIMIT),
        keys=(),
        tables=tuple(table for part in parts for table in part.tables),
        figures=tuple(figure for part in parts for figure in part.figures),
        gallery=tuple(pictures),
        commands=(),
        method=tuple(dict.fromkeys(sentence for study in studies for sentence in method(study))),
        facts=_facts(studies),
        flags=tuple(dict.fromkeys(flag for study in studies for flag in study.diagnosis.flags)),
        explorer=benchmark_explorer(studies),
        checks=checks(studies, [part.title for part in parts]),
    )


@dataclass(frozen=True)
class _Part:
    """What one evaluation gives to the page, names made its own."""

    read: BenchmarkStudy
    title: str
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]
    sentences: tuple[str, ...]

    @staticmethod
    def of(read: BenchmarkStudy, name: str) -> _Part:
        views = [VIEWS[view](read) for view in read.notes["show"]]
        title = str(read.notes["title"])
        return _Part(
            read,
            title,
            tuple(
                replace(table, name=f"{name}-{table.name}", title=f"{title}: {table.title}")
                for view in views
                for table in view.tables
            ),
            tuple(
                replace(renamed(figure, f"{name}-{figure.name}"), title=f"{title}: {figure.title}")
                for view in views
                for figure in view.figures
            ),
            tuple(_sentences(read, views)),
        )


def _names(read: Sequence[BenchmarkStudy]) -> Iterator[str]:
    """Of each part: its experiment's, with a number from the second part of one on."""
    seen: dict[str, int] = {}
    for one in read:
        name = str(one.notes["experiment"])
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name}-{seen[name]}"


def _facts(studies: Sequence[Study]) -> Facts:
    """Models, dataset and environment of all parts, each fact once."""
    found: dict[str, dict[tuple[str, str], None]] = {}
    for one in studies:
        for title, told in facts(one):
            found.setdefault(title, {}).update(dict.fromkeys(told))
    return tuple((title, tuple(told)) for title, told in found.items())


def _sentences(read: BenchmarkStudy, views: Sequence[View]) -> Iterator[str]:
    for view in views:
        yield from view.sentences
    yield from flag_sentences(read.study)
