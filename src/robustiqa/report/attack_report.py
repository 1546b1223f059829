"""The report of a plan of attacks: a table of every attack for each set of photographs, and the query curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from robustiqa.core.errors import InputError
from robustiqa.evaluation.study import Study, study
from robustiqa.evaluation.summary import SAMPLES
from robustiqa.evaluation.views import Evaluation
from robustiqa.report.attack_findings import attack_sentences
from robustiqa.report.attacks import attack_table, objectives_table
from robustiqa.report.captions import method, photographs, quick_note
from robustiqa.report.checks import check_finite, check_same_photos
from robustiqa.report.diagnostics import checks
from robustiqa.report.explorer import explorer
from robustiqa.report.figures import Figure
from robustiqa.report.findings import flag_sentences
from robustiqa.report.html import Report, facts
from robustiqa.report.layouts import clean_table
from robustiqa.report.query_curve import curve_figures, curve_sentences, curve_table, query_curve
from robustiqa.report.tables import Table

NO_LIMIT = "These attacks were tried; they prove no limit. A stronger one may move scores further."


def attack_report(sets: Sequence[Evaluation], *, samples: int = SAMPLES, seed: int = 0) -> Report:
    """Makes tables, figures and sentences of the sets of one plan.

    Args:
        sets: Each with the notes of `robustiqa.experiments.attack_plan.AttackPlan.notes`.
        samples: Bootstrap resamples.
        seed: Of the resamples.

    Raises:
        InputError: if there is no set, it holds no records, or they are unfinished or not finite.
    """
    if not sets:
        raise InputError("a report of attacks needs at least one set of photographs.")
    parts = [_part(evaluation, samples, seed) for evaluation in sets]
    read = [part.study for part in parts]
    notes = read[0].notes
    names = [part.name if len(parts) > 1 else "" for part in parts]
    said = [sentence for part in parts for sentence in part.sentences]
    return Report(
        title=str(notes["title"]) + quick_note(read[0]),
        subtitle="; ".join(f"{part.name}: {photographs(part.study)}" for part in parts) + ".",
        findings=(*said, NO_LIMIT),
        keys=(),
        tables=tuple(table for part in parts for table in part.tables),
        figures=tuple(figure for part in parts for figure in part.figures),
        gallery=(),
        commands=(),
        method=_methods(parts),
        facts=tuple((f"{title} ({part.name})", told) for part in parts for title, told in facts(part.study)),
        flags=tuple(flag for one in read for flag in one.diagnosis.flags),
        explorer=explorer(read, names),
        checks=checks(read, names),
    )


@dataclass(frozen=True)
class _Part:
    """What one set of photographs gives to the page, under its name."""

    study: Study
    name: str
    sentences: tuple[str, ...]
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]


def _part(evaluation: Evaluation, samples: int, seed: int) -> _Part:
    check_finite(evaluation)
    read = study(evaluation, samples=samples, seed=seed)
    check_same_photos(read)
    name, place, shown = str(read.notes["set"]), int(read.notes["place"]) + 1, read.notes["shown"]
    curve = query_curve(read)
    tables = [attack_table(read, shown), objectives_table(read, shown), clean_table(read)]
    sentences = [*attack_sentences(read)]
    if curve is not None:
        tables.insert(1, curve_table(curve))
        sentences += curve_sentences(curve)
    sentences += flag_sentences(read)
    return _Part(
        read,
        name,
        tuple(f"{name}: {sentence}" for sentence in sentences),
        tuple(
            replace(table, name=f"{table.name}-{place}", title=f"{name}: {table.title}")
            for table in tables
            if table is not None
        ),
        () if curve is None else curve_figures(curve),
    )


def _methods(parts: Sequence[_Part]) -> tuple[str, ...]:
    """How the numbers were made: what holds for all sets once, the rest under a set's name."""
    told = {part.name: method(part.study) for part in parts}
    common = [sentence for sentence in told[parts[0].name] if all(sentence in said for said in told.values())]
    own = [f"{name}: {sentence}" for name, said in told.items() for sentence in said if sentence not in common]
    return (*common, *own)
