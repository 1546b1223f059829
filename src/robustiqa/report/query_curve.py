"""The query curve: what an attack reaches with more and more queries, beside rivals at equal SSIM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from robustiqa.evaluation.matching import at_equal_ssim, with_matched
from robustiqa.evaluation.measures import MEASURES, UNTOUCHED, Condition, Estimate, Group
from robustiqa.evaluation.study import Study
from robustiqa.evaluation.summary import Summary
from robustiqa.report.attack_findings import ends
from robustiqa.report.captions import notes, objective_name, photographs
from robustiqa.report.drawing import INK, color_of, draw_legend, label_of, line_of, marker_of, to_svg
from robustiqa.report.figures import Figure
from robustiqa.report.tables import Block, Cell, Column, Row, Table, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ALIKE = 0.005  # of SSIM: means farther apart are not called equal


@dataclass(frozen=True)
class Standing:
    """The attack, or a rival at equal SSIM, at one budget of queries.

    Attributes:
        name: The attack's or the rival's.
        queries: The budget.
        condition: Under which `Curve.summary` holds it.
        ssim: Mean of the images that count.
        spent: Mean of the queries that they took.
    """

    name: str
    queries: int
    condition: Condition
    ssim: float
    spent: float


@dataclass(frozen=True)
class Line:
    """One model under one objective.

    Attributes:
        group: The model.
        objective: What was done to the scores.
        points: The attack at each budget, with its rivals.
    """

    group: Group
    objective: str
    points: tuple[tuple[Standing, tuple[Standing, ...]], ...]


@dataclass(frozen=True)
class Curve:
    """Everything that table, figures and sentences show.

    Attributes:
        study: What was attacked.
        summary: Of its evaluation and of the rivals at equal SSIM.
        lines: Of every model under every objective.
        name: Of the attack.
    """

    study: Study
    summary: Summary
    lines: tuple[Line, ...]
    name: str

    @property
    def measure(self) -> str:
        """What the attack is after: the order against opinions, or against the clean order where there are none."""
        return "srocc_mos" if self.study.has_mos else "srocc_change"

    @property
    def said(self) -> str:
        """The same in words."""
        return "SROCC with opinions" if self.study.has_mos else "SROCC before and after"


def query_curve(study: Study) -> Curve | None:
    """The curve that the notes of an evaluation describe; None without one, or while records are missing."""
    noted: Mapping[str, Any] | None = study.notes.get("curve")
    if noted is None:
        return None
    evaluation, lines = study.evaluation, []
    for group in study.columns:
        (label,) = group.labels
        runs = {run for point in noted["points"] for run in _runs(point)}
        for objective in noted["objectives"]:
            goals = [study.evaluation.goals(label, run) for run in runs]
            if not all(objective in found or {"lower", "raise"} <= {*found} for found in goals):
                continue
            points = []
            for point in noted["points"]:
                stands, queries = point["attack"], point["queries"]
                records = study.evaluation.attacked(label, stands, objective).records
                own = Condition(stands, objective)
                rivals = []
                for name, offered in point["rivals"].items():
                    matched = at_equal_ssim(study.evaluation, label, stands, offered, objective)
                    condition = Condition(f"{name} at the SSIM of {stands}", objective)
                    evaluation = with_matched(evaluation, matched, condition.attack, objective)
                    spent = float(np.mean([record.queries for record in matched.records]))
                    rivals.append(Standing(name, queries, condition, matched.reached, spent))
                ssim, spent = (float(np.mean([getattr(r, of) for r in records])) for of in ("ssim", "queries"))
                points.append((Standing(noted["name"], queries, own, ssim, spent), tuple(rivals)))
            lines.append(Line(group, objective, tuple(points)))
    if not lines:
        return None
    summary = Summary(evaluation, study.summary.samples, study.summary.seed)
    return Curve(study, summary, tuple(lines), noted["name"])


def _runs(point: Mapping[str, Any]) -> Iterator[str]:
    """Labels of all attacks that a point of the notes is made of."""
    yield point["attack"]
    for offered in point["rivals"].values():
        yield from offered


def fall(curve: Curve, group: Group, condition: Condition) -> Estimate:
    """How far an attack lowers what it is after: the clean value less the attacked one, paired."""
    return curve.summary.contrast(group, curve.measure, condition, UNTOUCHED)


def curve_table(curve: Curve) -> Table:
    """Every budget, with the rivals at equal SSIM under it and the paired difference.

    Args:
        curve: What to show.
    """
    measures = ["mean_absolute_change", "srocc_change", *(["srocc_mos"] if curve.study.has_mos else [])]
    titles = {"srocc_change": "SROCC before and after ↑", "srocc_mos": "SROCC with opinions ↑"}
    blocks = []
    for line in curve.lines:
        name = line.group.name
        rows = []
        for own, rivals in line.points:
            rows.append(_row(curve, line.group, own, own, measures))
            rows += [_row(curve, line.group, rival, own, measures) for rival in rivals]
        blocks.append(Block(tuple(rows), f"attacked on {name} → scored by {name}, {objective_name(line.objective)}"))
    apart = [abs(rival.ssim - own.ssim) for line in curve.lines for own, rivals in line.points for rival in rivals]
    worst = max(apart, default=0.0)
    matched = (
        f"Mean SSIM of rivals is within {number(worst, 4)} of the attack's."
        if worst <= ALIKE
        else f"Some rivals could not be matched: mean SSIM is up to {number(worst, 3)} apart."
    )
    own_conditions = [own.condition for line in curve.lines for own, _ in line.points]
    return Table(
        "query-curve",
        f"{curve.name} by queries, and rivals at equal SSIM",
        "Queries and attack",
        (
            Column("SSIM"),
            Column("Queries spent"),
            *(Column(titles.get(measure, MEASURES[measure].title)) for measure in measures),
            Column(f"{curve.name} lower by, in {curve.said}"),
        ),
        tuple(blocks),
        notes(
            curve.study,
            curve.study.columns,
            own_conditions,
            "At equal SSIM: of each rival's images, run at several sizes, each photograph takes the one that keeps the "
            "mean SSIM with the attack's; scores have no say in it.",
            matched,
            by_row=True,
        ),
    )


def _row(curve: Curve, group: Group, standing: Standing, own: Standing, measures: Sequence[str]) -> Row:
    title = f"{standing.queries:,} queries: {standing.name}" if standing is own else f"{standing.name} at equal SSIM"
    ahead = Cell()
    if standing is not own:
        lead = curve.summary.contrast(group, curve.measure, own.condition, standing.condition)
        ahead = Cell(lead, 3, signed=True)
    return Row(
        title,
        (
            Cell(text=number(standing.ssim, 4)),
            Cell(text=number(standing.spent, 0)),
            *(
                Cell(curve.summary.estimate(group, measure, standing.condition), MEASURES[measure].digits)
                for measure in measures
            ),
            ahead,
        ),
    )


def curve_sentences(curve: Curve) -> Iterator[str]:
    """By how much the attack lowers the rank correlation at each budget, and which rivals it beats at equal SSIM."""
    for line in curve.lines:
        falls = [(own, fall(curve, line.group, own.condition)) for own, _ in line.points]
        steps = [f"{number(found.value, 3)} {ends(found, 3)}".strip() + f" at {own.queries:,}" for own, found in falls]
        yield (
            f"On {line.group.name} {curve.name} lowers the {curve.said} by {', '.join(steps)} queries "
            f"({objective_name(line.objective)})."
        )
        for place, rival in enumerate(line.points[0][1]):
            yield _against(curve, line, place, rival.name)


def _against(curve: Curve, line: Line, place: int, rival: str) -> str:
    """At which budgets the attack does more than a rival, and at which it does not."""
    found: dict[str, list[str]] = {"better": [], "no better, as far as can be told,": [], "worse": []}
    better, even, worse = found
    for own, rivals in line.points:
        lead = curve.summary.contrast(line.group, curve.measure, own.condition, rivals[place].condition).interval
        found[better if lead.low > 0 else worse if lead.high < 0 else even].append(f"{own.queries:,}")
    parts = [f"{kind} at {', '.join(budgets)} queries" for kind, budgets in found.items() if budgets]
    return (
        f"Against {rival} at equal SSIM on {line.group.name} ({objective_name(line.objective)}) it does "
        f"{'; '.join(parts)}."
    )


def curve_figures(curve: Curve) -> tuple[Figure, ...]:
    """One for each model, under the first objective."""
    first = curve.lines[0].objective
    lines = [line for line in curve.lines if line.objective == first]
    return tuple(_figure(curve, line, place) for place, line in enumerate(lines, start=1))


def _figure(curve: Curve, line: Line, place: int) -> Figure:
    budgets = [own.queries for own, _ in line.points]
    series = {curve.name: [own for own, _ in line.points]}
    for number_of, rival in enumerate(line.points[0][1]):
        series[f"{rival.name}, equal SSIM"] = [rivals[number_of] for _, rivals in line.points]
    values = {
        name: [curve.summary.estimate(line.group, curve.measure, standing.condition) for standing in standings]
        for name, standings in series.items()
    }
    clean = curve.summary.estimate(line.group, "srocc_mos").value if curve.study.has_mos else 1.0

    def draw(axes: Axes) -> None:
        axes.axhline(clean, color=INK, linewidth=0.8, label="not attacked")
        for at, (name, estimates) in enumerate(values.items(), start=1):
            middle = np.array([estimate.value for estimate in estimates])
            low = np.array([estimate.interval.low for estimate in estimates])
            high = np.array([estimate.interval.high for estimate in estimates])
            shift = np.array(budgets) * 1.03 ** (at - 2)  # so that brackets stand beside each other
            axes.errorbar(
                shift,
                middle,
                yerr=np.maximum([middle - low, high - middle], 0),
                color=color_of(at),
                linestyle=line_of(at),
                marker=marker_of(at),
                capsize=3,
                label=label_of(name),
            )
        axes.set_xscale("log")
        axes.set_xticks(budgets, [f"{budget:,}" for budget in budgets])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("queries for a photograph and direction")
        axes.set_ylabel(curve.said)
        draw_legend(axes)

    told = "; ".join(
        f"{name} {', '.join(number(estimate.value, 2) for estimate in estimates)}" for name, estimates in values.items()
    )
    shown = ", ".join(f"{budget:,}" for budget in budgets)
    return Figure(
        f"query-curve-{place}",
        f"{curve.name} by queries on {line.group.name}",
        to_svg(f"query-curve-{place}", draw),
        f"{curve.said} at {shown} queries on {line.group.name}: {told}; {number(clean, 2)} before any attack.",
        f"{objective_name(line.objective)}; brackets are intervals over photographs. n = {photographs(curve.study)}.",
    )
