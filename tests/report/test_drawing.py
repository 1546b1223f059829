"""SVG whose bytes depend on what is drawn alone, whatever a reader's settings and a model's name are."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from robustiqa.core.errors import InputError
from robustiqa.evaluation.measures import Condition
from robustiqa.evaluation.study import study
from robustiqa.report import Report
from robustiqa.report.drawing import (
    COLORS,
    FAINT,
    INK,
    color_of,
    draw_legend,
    draw_steps,
    label_of,
    line_of,
    make_logarithmic,
    to_svg,
)
from robustiqa.report.figures import sorted_changes
from tests.evaluation.synthetic import FGSM_LABEL, synthetic

SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"


def line(axes: Axes) -> None:
    axes.plot([0, 1], [0.123456789, 1], color=color_of(1), label="a line")
    axes.legend()


def test_every_figure_is_an_svg_document_with_words_beside_it(made: Report) -> None:
    assert [figure.name for figure in made.figures] == [
        "score-changes",
        "sorted-changes",
        "first-order",
        "gradient-norms",
    ]
    for figure in made.figures:
        root = ET.fromstring(figure.svg)
        assert root.tag == f"{SVG}svg" and re.fullmatch(r"0 0 [\d.]+ [\d.]+", root.attrib["viewBox"])
        assert len(figure.alt) > 40 and figure.alt.endswith(".") and figure.title and figure.caption.endswith(".")
        said = [text.text for text in root.iter(f"{SVG}text")]
        assert "base" in said and "+NT" in said and len(said) > 8  # text stays text


def test_figures_hold_no_date_no_maker_and_nothing_from_elsewhere(made: Report) -> None:
    for figure in made.figures:
        assert not re.search(r"<metadata|<!--|dc:|\b(19|20)\d\d-\d\d|\d:\d\d:\d\d", figure.svg)
        links = [
            value for one in ET.fromstring(figure.svg).iter() for name, value in one.attrib.items() if "href" in name
        ]
        assert links and all(link.startswith("#") for link in links)
        assert not re.findall(r"url\((?!#)|@import|<image|<script", figure.svg)


def test_names_inside_figures_are_their_own_and_every_reference_is_kept(made: Report) -> None:
    seen: set[str] = set()
    for figure in made.figures:
        root = ET.fromstring(figure.svg)
        names = [one.attrib["id"] for one in root.iter() if "id" in one.attrib]
        assert len(names) == len(set(names)) and all(name.startswith(f"{figure.name}-") for name in names)
        assert not seen & set(names)
        seen |= set(names)
        wanted = [one.attrib[HREF][1:] for one in root.iter() if HREF in one.attrib]
        wanted += re.findall(r"url\(#([^)]*)\)", figure.svg)
        assert wanted and set(wanted) <= set(names)


def test_the_same_figure_has_the_same_bytes_under_any_settings_and_leaves_them_alone() -> None:
    first = to_svg("line", line)
    with matplotlib.rc_context():
        matplotlib.rcParams.update({"font.size": 30, "axes.grid": False, "svg.fonttype": "path", "lines.linewidth": 9})
        before = dict(matplotlib.rcParams)
        assert to_svg("line", line) == first
        assert dict(matplotlib.rcParams) == before


def test_coordinates_are_kept_to_a_hundredth_of_a_point_and_words_whole() -> None:
    def draw(axes: Axes) -> None:
        axes.set_xlabel("0.123456")
        line(axes)

    svg = to_svg("line", draw)
    assert "0.123456" in svg
    assert not any(re.search(r"\.\d{3}", tag) for tag in re.findall(r"<[^>]*>", svg))


@pytest.mark.parametrize("name", ["Line", "a b", "", 'x"'])
def test_a_figure_has_a_name_that_can_stand_in_an_address(name: str) -> None:
    with pytest.raises(InputError) as caught:
        to_svg(name, line)
    assert str(caught.value) == f"a figure's name must be of lowercase letters, digits and hyphens, got {name!r}."


HOSTILE = ['<script>alert("1")</script>', "a & b", "$x_1$", '" onload="x', 'id="x" href="#x" url(#x)', "_seen"]


def test_names_of_models_are_drawn_as_they_are() -> None:
    evaluation = synthetic(5, models=dict.fromkeys(HOSTILE, (10.0, 0.8, 5.0)), attacks=(FGSM_LABEL,))
    figure = sorted_changes(study(evaluation, samples=2), Condition(FGSM_LABEL, "worst_of_both"))
    root = ET.fromstring(figure.svg)
    said = [(text.text or "").strip("\u200b") for text in root.iter(f"{SVG}text")]
    assert [name for name in HOSTILE if name not in said] == []
    assert not list(root.iter(f"{SVG}script")) and not any("onload" in one.attrib for one in root.iter())


@pytest.mark.parametrize(
    "names",
    [
        [f"hyperiqa-resnet50-nt-1e-3-{seed}" for seed in range(6)],
        ["W" * 200, "M" * 60],
        [f"m{place}" for place in range(30)],
    ],
    ids=["long", "longest", "many"],
)
def test_long_names_and_many_models_leave_room_for_the_plot(names: list[str]) -> None:
    """Else matplotlib gives the layout up with a warning, and the plot is a line."""

    def draw(axes: Axes) -> None:
        for name in names:
            axes.plot([0, 1], label=label_of(name))
        draw_legend(axes)

    root = ET.fromstring(to_svg("names", draw))
    (plot,) = [one for one in root.iter(f"{SVG}rect") if float(one.attrib["height"]) > 100]
    width, height = (float(part) for part in root.attrib["viewBox"].split()[2:])
    assert float(plot.attrib["width"]) > 0.8 * width and float(plot.attrib["height"]) > 160
    assert height < 400


def test_a_name_too_long_for_a_line_keeps_its_ends() -> None:
    shown = label_of("begin" + "x" * 200 + "end-1")
    assert shown.startswith("beginx") and shown.endswith("xend-1") and shown.count("…") == 1 and len(shown) > 30
    assert label_of("hyperiqa-resnet50-nt-1e-3-1") == "hyperiqa-resnet50-nt-1e-3-1"


def test_a_histogram_is_of_all_values_also_those_outside_its_edges() -> None:
    axes = Canvas().add_subplot()
    draw_steps(axes, np.array([0.0, 1.0, 1.5, 9.0]), np.array([0.5, 1.2, 2.0]), 0, "a")
    draw_steps(axes, np.array([1.0]), np.array([0.5, 1.2, 2.0]), 2, "b")
    filled = [patch.get_fill() for patch in axes.patches]
    assert filled == [True, False, False]  # the first two models are filled, others are lines
    heights, _, _ = axes.patches[1].get_data()  # type: ignore[attr-defined]
    assert list(heights) == [25, 25]


def test_models_differ_in_color_and_line_and_page_colors_are_in_use() -> None:
    assert len({color_of(place) for place in range(6)}) == len({str(line_of(place)) for place in range(6)}) == 6
    assert color_of(7) == color_of(1) and line_of(6) == line_of(0)
    svg = to_svg("line", line)
    assert INK in svg and FAINT in svg and COLORS[1] in svg  # what a page swaps for its own
    assert (label_of("_a"), label_of("a_")) == ("\u200b_a", "a_")


def test_a_logarithmic_axis_has_plain_numbers_from_end_to_end() -> None:
    for ends, some in (
        ((2.0, 30.0), {"2", "5", "10", "20"}),
        ((1.0, 500.0), {"1", "3", "10"}),
        ((0.1, 1e4), {"0.1", "10"}),
    ):
        canvas = Canvas()
        axes = canvas.add_subplot()
        make_logarithmic(axes, "x", ends)
        assert axes.get_xlim() == ends and axes.get_xscale() == "log"
        ticks = zip(
            axes.get_xticks(), axes.xaxis.get_major_formatter().format_ticks(list(axes.get_xticks())), strict=True
        )
        assert some <= {text for value, text in ticks if ends[0] <= value <= ends[1]}
