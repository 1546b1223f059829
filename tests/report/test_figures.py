"""What figures draw and say, recomputed from the records; the drawing itself is kept back and looked at."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import StepPatch

from robustiqa.evaluation.measures import Condition
from robustiqa.evaluation.study import Study, study
from robustiqa.evaluation.views import Evaluation
from robustiqa.report import figures
from tests.evaluation.synthetic import FGSM_LABEL, IFGSM_LABEL, compared, synthetic
from tests.report.oracle import Array, attacked, records_of
from tests.report.reading import changed, kept, shown

BASE, NT = ("base-1", "base-2"), ("nt-1", "nt-2")
GROUPS = {"base": BASE, "+NT": NT, "matched accuracy": ("early-1",), "noise": ("noise-1",)}
WORST = Condition(FGSM_LABEL, "worst_of_both")
WHAT = (
    f"{FGSM_LABEL}, 2 whole 8-bit levels; worst of both directions, 8-bit, end to end, each model attacked on itself."
)


@pytest.fixture
def axes(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Axes]]:
    """Plots by name, as they would have been drawn."""
    drawn: dict[str, Axes] = {}

    def keep(name: str, draw: Callable[[Axes], None]) -> str:
        drawn[name] = Canvas().add_subplot()
        draw(drawn[name])
        return "<svg/>"

    monkeypatch.setattr(figures, "to_svg", keep)
    yield drawn


def changes(evaluation: Evaluation, labels: tuple[str, ...], attack: str = FGSM_LABEL) -> Array:
    seen = [attacked(evaluation, label, attack, "worst_of_both") for label in labels]
    return np.concatenate([one.after - one.before for one in seen])


def norms(evaluation: Evaluation, labels: tuple[str, ...]) -> Array:
    found = []
    for label in labels:
        records = records_of(evaluation, label, label, "none", "none", "end_to_end")
        found += [records[key].gradient_l1 or 0.0 for key in sorted(records)]
    return np.array(found)


def median(values: Array, digits: int) -> str:
    return shown(float(np.median(values)), digits)


def outlines(plot: Axes) -> list[StepPatch]:
    """Histograms, their fillings left out."""
    return [patch for patch in plot.patches if isinstance(patch, StepPatch) and not patch.get_fill()]


def legend(plot: Axes) -> list[str]:
    found = plot.get_legend()
    assert found is not None
    return [text.get_text() for text in found.get_texts()]


def test_score_changes_are_drawn_as_shares_of_photographs(
    read: Study, made_up: Evaluation, axes: dict[str, Axes]
) -> None:
    figure = figures.score_changes(read, WORST)
    moved = {name: np.abs(changes(made_up, GROUPS[name])) for name in ("base", "+NT")}
    highest = max(values.max() for values in moved.values())
    plot = axes["score-changes"]
    assert len(outlines(plot)) == 2 and legend(plot) == ["base", "+NT"]
    for patch, values in zip(outlines(plot), moved.values(), strict=True):
        heights, edges, _ = patch.get_data()
        assert edges == pytest.approx(np.linspace(0, highest, 31))
        counts, _ = np.histogram(values, np.linspace(0, highest, 31))
        assert heights == pytest.approx(100 * counts / len(values)) and sum(heights) == pytest.approx(100)
    medians = f"Median: base {median(moved['base'], 1)}, +NT {median(moved['+NT'], 1)} points."
    assert figure.alt == f"Histogram of absolute score changes. {medians}"
    assert figure.caption == f"{WHAT} n = 24 photographs of made-up. {medians} Seeds are pooled."


def test_every_photographs_change_is_drawn_in_order(read: Study, made_up: Evaluation, axes: dict[str, Axes]) -> None:
    figure = figures.sorted_changes(read, WORST)
    ends = []
    lines = axes["sorted-changes"].get_lines()[1:]  # after the line at 0
    assert len(lines) == 2
    for line, name in zip(lines, ("base", "+NT"), strict=True):
        values = sorted(changes(made_up, GROUPS[name]))
        share, drawn = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
        assert drawn == pytest.approx(values)
        assert share == pytest.approx([100 * (place + 0.5) / 48 for place in range(48)])
        first, last = (f"{value:+.1f}".replace("-", "−") for value in (values[0], values[-1]))
        ends.append(f"{name} from {first} to {last}")
    said = "; ".join(ends)
    assert figure.alt == f"Curves of score changes sorted from most lowered to most raised. In points: {said}."
    assert (
        figure.caption == f"{WHAT} n = 24 photographs of made-up. Changes reach, in points: {said}. Seeds are pooled."
    )


def test_gradient_norms_are_drawn_on_a_logarithmic_axis(
    read: Study, made_up: Evaluation, axes: dict[str, Axes]
) -> None:
    figure = figures.gradient_norms(read)
    assert figure is not None
    plot, found = axes["gradient-norms"], {name: norms(made_up, labels) for name, labels in GROUPS.items()}
    assert plot.get_xscale() == "log" and legend(plot) == list(GROUPS)
    low, high = (pick(pick(values) for values in found.values()) for pick in (min, max))
    for patch, values in zip(outlines(plot), found.values(), strict=True):
        heights, edges, _ = patch.get_data()
        assert np.log(edges) == pytest.approx(np.linspace(math.log(low), math.log(high), 31))
        places = np.clip(np.floor(30 * np.log(values / low) / math.log(high / low)), 0, 29)
        assert heights == pytest.approx([100 * float((places == bin).mean()) for bin in range(30)])
    medians = ", ".join(f"{name} {median(values, 0)}" for name, values in found.items())
    assert figure.alt == f"Histogram of gradient L1 norms on a logarithmic axis. Median: {medians} points per unit."
    assert figure.caption == (
        "L1 norm of the score's gradient in the clean photograph's pixels, end to end: the number that eps multiplies "
        f"in the first-order estimate. n = 24 photographs of made-up. Median: {medians} points per unit. Seeds are "
        "pooled."
    )


def masked(count: int, first: int) -> Evaluation:
    """The defended models have no gradient on the photographs from the first on."""
    return changed(
        compared(count),
        lambda record: (
            replace(record, gradient_l1=0.0)
            if record.scored_by in NT and record.attack == "none" and int(record.key[6:10]) >= first
            else record
        ),
    )


def test_photographs_without_a_gradient_are_counted_and_not_left_out_of_the_median(axes: dict[str, Axes]) -> None:
    """A model that hides its gradient must not look like one that has some."""
    evaluation = masked(10, 4)
    figure = figures.gradient_norms(study(evaluation, samples=2))
    assert figure is not None
    said = ", ".join(f"{name} {median(norms(evaluation, labels), 0)}" for name, labels in GROUPS.items())
    assert "+NT 0," in said
    assert f"Median: {said} points per unit. Without a gradient, and not drawn: 12 of +NT. Seeds" in figure.caption
    heights, _, _ = outlines(axes["gradient-norms"])[1].get_data()
    assert sum(heights) == pytest.approx(100 * 8 / 20)


def test_a_model_without_any_gradient_is_named_and_not_drawn(axes: dict[str, Axes]) -> None:
    figure = figures.gradient_norms(study(masked(6, 0), samples=2))
    assert figure is not None and "+NT 0," in figure.caption
    assert "Without a gradient, and not drawn: 12 of +NT." in figure.caption
    plot = axes["gradient-norms"]
    assert legend(plot) == ["base", "matched accuracy", "noise"]
    assert [to_hex(patch.get_edgecolor()) for patch in outlines(plot)] == ["#858d96", "#d55e00", "#009e73"]
    none = changed(compared(4), lambda record: replace(record, gradient_l1=0.0))
    assert figures.gradient_norms(study(none, samples=2)) is None
    unknown = changed(compared(4), lambda record: replace(record, gradient_l1=None))
    assert figures.gradient_norms(study(unknown, samples=2)) is None


def test_the_estimate_is_drawn_against_the_change_photograph_by_photograph(
    read: Study, made_up: Evaluation, axes: dict[str, Axes]
) -> None:
    figure = figures.first_order(read, WORST)
    assert figure is not None
    plot, said = axes["first-order"], []
    clouds = [cloud for cloud in plot.collections if isinstance(cloud, PathCollection)]
    assert len(clouds) == 2 and (plot.get_xscale(), plot.get_yscale()) == ("log", "log")
    for cloud, (name, label) in zip(clouds, {"base": "base-1", "+NT": "nt-1"}.items(), strict=True):
        estimate, achieved = 0.01 * norms(made_up, (label,)), np.abs(changes(made_up, (label,)))
        assert np.asarray(cloud.get_offsets()) == pytest.approx(np.stack([estimate, achieved], 1))
        said.append(f"{name} {median(achieved / estimate, 2)}")
    assert legend(plot) == ["achieved = estimate", "base", "+NT"]
    assert figure.alt == (
        "Scatter plot on logarithmic axes with the line of equality. Achieved change: median: "
        f"{', '.join(said)} times the estimate."
    )
    assert figure.caption == (
        f"{WHAT} n = 24 photographs of made-up. Below the line an attack reached less than a straight line drawn on "
        "from the clean photograph predicts; the estimate is no bound. It takes all of eps, of which the 8-bit image "
        "holds 2 whole levels. The first seed of each."
    )


def test_points_below_the_floor_are_drawn_there_and_do_not_touch_the_median(axes: dict[str, Axes]) -> None:
    """A constant model: no gradient, no change, and no ratio of 1 made of two floors."""
    constant = changed(
        masked(6, 0), lambda record: replace(record, score=record.clean_score) if record.scored_by in NT else record
    )
    figure = figures.first_order(study(constant, samples=2), WORST)
    assert figure is not None
    assert "6 points below 0.10 are drawn there." in figure.caption
    assert "+NT — times the estimate." in figure.alt
    (_, cloud) = [one for one in axes["first-order"].collections if isinstance(one, PathCollection)]
    assert np.asarray(cloud.get_offsets()) == pytest.approx(np.full((6, 2), 0.1))


def test_a_model_that_hides_half_its_gradients_has_the_ratio_of_the_other_half(axes: dict[str, Axes]) -> None:
    evaluation = masked(9, 4)
    figure = figures.first_order(study(evaluation, samples=2), WORST)
    assert figure is not None
    ratio = np.abs(changes(evaluation, ("nt-1",)))[:4] / (0.01 * norms(evaluation, ("nt-1",))[:4])
    assert f"+NT {median(ratio, 2)} times the estimate." in figure.alt


def test_only_photographs_that_met_an_attack_are_drawn_with_their_own_norms(axes: dict[str, Axes]) -> None:
    cut = kept(compared(12), lambda record: record.attack != FGSM_LABEL or record.key >= "photo-0007")
    read = study(cut, samples=2)
    figure = figures.first_order(read, WORST)
    clouds = [one for one in axes["first-order"].collections if isinstance(one, PathCollection)]
    assert np.asarray(clouds[1].get_offsets())[:, 0] == pytest.approx(0.01 * norms(cut, ("nt-1",))[7:])
    captions = [figures.score_changes(read, WORST).caption, figures.sorted_changes(read, WORST).caption]
    assert figure is not None
    for caption in (*captions, figure.caption):
        assert f"n = 12 photographs of made-up (5 of them under {FGSM_LABEL})." in caption


def test_scores_that_do_not_move_at_all_are_drawn(axes: dict[str, Axes]) -> None:
    still = changed(compared(4), lambda record: replace(record, score=record.clean_score))
    figure = figures.score_changes(study(still, samples=2), WORST)
    assert "Median: base 0.0, +NT 0.0 points." in figure.alt
    heights, edges, _ = outlines(axes["score-changes"])[0].get_data()
    assert (heights[0], edges[-1]) == (100, 1)


def test_patchwise_and_float_figures_say_so(read: Study, axes: dict[str, Axes]) -> None:
    crops = replace(WORST, variant="patchwise", precision="float")
    assert "worst of both directions, float, patchwise, each model" in figures.score_changes(read, crops).caption
    assert axes


def test_every_figure_that_records_can_fill_is_made(read: Study, axes: dict[str, Axes]) -> None:
    made = ["score-changes", "sorted-changes", "first-order", "gradient-norms"]
    assert [figure.name for figure in figures.all_figures(read)] == made and set(made) == set(axes)
    unattacked = study(synthetic(4, attacks=()), samples=2)
    assert [figure.name for figure in figures.all_figures(unattacked)] == ["gradient-norms"]
    no_norms = study(changed(compared(4), lambda record: replace(record, gradient_l1=None)), samples=2)
    assert [figure.name for figure in figures.all_figures(no_norms)] == ["score-changes", "sorted-changes"]


def test_a_model_whose_name_begins_with_an_underscore_is_in_the_legend(axes: dict[str, Axes]) -> None:
    hidden = changed(
        synthetic(4, models={"_a": (10.0, 0.8, 5.0)}, attacks=(IFGSM_LABEL,)),
        lambda record: record,
    )
    figures.sorted_changes(study(hidden, samples=2), Condition(IFGSM_LABEL, "worst_of_both"))
    assert [text.strip("\u200b") for text in legend(axes["sorted-changes"])] == ["_a"]
