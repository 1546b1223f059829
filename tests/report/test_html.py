"""The page: one file that loads nothing, parses, can be reached by keyboard and by ear, and obeys no name."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from robustiqa.evaluation.study import study
from robustiqa.report import GalleryItem, Report, report
from robustiqa.report.findings import findings
from robustiqa.report.gallery import GalleryScore
from robustiqa.report.layouts import all_tables
from tests.evaluation.synthetic import FGSM_LABEL, IFGSM_LABEL, RANDOM_LABEL, synthetic
from tests.report.reading import Element, Page, changed, told

ITEM = GalleryItem(
    key="photo-0001.jpg",
    mos=61.24,
    attack=FGSM_LABEL,
    levels=2,
    attacked_on="base-1",
    ssim=0.98765,
    scores=(GalleryScore("base-1", 50.04, 80.06), GalleryScore("nt-1", 55.0, 49.51)),
    clean=b"clean",
    adversarial=b"attacked",
    difference=b"changed",
    width=384,
    height=256,
    scale=0.5,
    amplification=32,
)
BAD = "<script>alert('1')</script>\"&|_%"


@pytest.fixture(scope="module")
def full(made: Report) -> Report:
    return replace(made, gallery=(ITEM,))


@pytest.fixture(scope="module")
def page(full: Report) -> Page:
    return Page(full.html())


def words(element: Element) -> str:
    return " ".join(element.text.split())


def test_the_page_loads_nothing_and_forbids_what_would(page: Page) -> None:
    assert page.source.startswith('<!doctype html>\n<html lang="en">')
    assert not {element.tag for element in page.elements} & {
        "link",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
    }
    for element in page.elements:
        for name, value in element.attributes.items():
            assert not name.startswith("on"), element
            if name in ("src", "href", "xlink:href", "srcset", "data", "action"):
                assert value.startswith(("#", "data:image/png;base64,")), (name, value)
    assert not re.findall(r"url\((?!#)|@import|https?:", page.source)
    data, script = page.all("script")
    assert (data.attributes, script.attributes) == ({"type": "application/json", "id": "explorer-data"}, {})
    (policy,) = [meta.attributes["content"] for meta in page.all("meta") if "http-equiv" in meta.attributes]
    digest = base64.b64encode(hashlib.sha256(script.text.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert "innerHTML" not in script.text and "eval" not in script.text


def test_the_page_swaps_the_figures_colors_for_its_own_and_keeps_their_styles_to_them(page: Page) -> None:
    pictures = [element for element in page.elements if element.tag == "svg"]
    assert len(pictures) == 4
    for picture in pictures:
        assert picture.attributes["aria-hidden"] == "true" and "viewbox" in picture.attributes
        assert "width" not in picture.attributes
    assert len(page.all("style")) == 1
    after = page.source[page.source.index("</style>") :]
    assert not re.search("#1b1f24|#d5d9de|#858d96|#0b5cad", after)
    assert "var(--accent)" in after and "var(--base)" in after


def test_every_picture_has_words_and_every_name_is_unique_and_found(page: Page) -> None:
    names = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
    assert len(names) == len(set(names))
    for element in page.elements:
        for name in ("aria-labelledby", "href", "xlink:href"):
            value = element.attributes.get(name, "").removeprefix("#")
            assert not value or value.startswith("data:") or value in names, element
    assert set(re.findall(r"url\(#([^)]*)\)", page.source)) <= set(names)
    assert all(len(image.attributes["alt"]) > 20 for image in page.all("img"))
    plots = [element for element in page.elements if element.attributes.get("role") == "img"]
    assert len(plots) == 4 and all(len(plot.attributes["aria-label"]) > 40 for plot in plots)
    assert [len(page.all(tag)) for tag in ("h1", "main", "title")] == [1, 1, 1]


def test_sections_of_the_navigation_are_those_of_the_page(page: Page) -> None:
    anchors = [link.attributes["href"] for link in page.all("a")]
    sections = [f"#{section.attributes['id']}" for section in page.all("section")]
    assert anchors == ["#main", *sections]
    assert sections == [
        "#summary",
        "#results",
        "#controls",
        "#figures",
        "#gallery",
        "#photos",
        "#more",
        "#checks",
        "#method",
        "#rebuild",
    ]


def test_every_table_is_in_the_page_cell_by_cell(full: Report) -> None:
    page = Page(replace(full, explorer=None).html())
    order = [table for table in full.tables if table.main and not table.name.startswith("controls")]
    order += [table for table in full.tables if table.name.startswith("controls")]
    order += [table for table in full.tables if not table.main]
    cells = [words(element) for element in page.all("td") if element.attributes.get("colspan") is None]
    gallery = [value for score in ("50.0 80.1 +30.0", "55.0 49.5 −5.5") for value in score.split()]
    expected: list[str] = []
    for table in order:
        spans = [""] + [over for over, _ in table.spans] if any(column.over for column in table.columns) else []
        expected += [over for over in spans if not over]
        expected += [f"{c.value}{c.interval}" for block in table.blocks for row in block.rows for c in row.cells]
        if table is order[-len([one for one in full.tables if not one.main]) - 1]:
            expected += gallery
    assert [cell.replace(" ", "") for cell in cells] == ["".join(text.split()) for text in expected]
    captions = [words(caption) for caption in page.all("caption")]
    assert captions == [table.title for table in order]
    said = words(page.all("body")[0])
    for table in order:
        assert " ".join(table.notes[-1].split()) in said, table.name


def test_the_better_value_is_bold(page: Page, full: Report) -> None:
    marked = [element.text for element in page.all("b") if element.attributes.get("class") == "value"]
    best = [
        cell.value
        for table in full.tables
        for block in table.blocks
        for row in block.rows
        for cell in row.cells
        if cell.best
    ]
    assert sorted(marked) == sorted(best) and best


def test_findings_key_figures_and_method_are_in_the_page(page: Page, full: Report) -> None:
    points = [words(item) for item in page.all("li")]
    for sentence in (*full.findings, *full.method):
        assert " ".join(sentence.split()) in points
    figures = [words(item) for item in page.all("dd") if item.attributes.get("class") == "figure"]
    assert figures == [" ".join(f"{f'{key.before} →' if key.before else ''} {key.value}".split()) for key in full.keys]
    assert [words(item) for item in page.all("dt")][:4] == [key.title for key in full.keys]
    assert words(page.all("pre")[0]) == "make demo"


def test_the_gallery_is_inline_and_says_what_each_picture_is(page: Page) -> None:
    images = page.all("img")
    assert [image.attributes["src"] for image in images] == [
        f"data:image/png;base64,{text}" for text in ("Y2xlYW4=", "YXR0YWNrZWQ=", "Y2hhbmdlZA==")
    ]
    assert [image.attributes["alt"] for image in images] == [
        "photo-0001.jpg, as it is",
        "photo-0001.jpg, after the attack on base-1",
        "What the attack changed, times 32",
    ]
    assert {(image.attributes["width"], image.attributes["height"]) for image in images} == {("384", "256")}
    assert [words(caption) for caption in page.all("figcaption")][-3:] == [
        "clean",
        "attacked, SSIM 0.988",
        "difference × 32, the middle at full size",
    ]
    said = words(page.all("main")[0])
    assert "photo-0001.jpg opinion 61.2, shown at 50 % of its size" in said
    assert (
        f"{FGSM_LABEL}, worst of both directions, at most 2 of 255 levels a pixel, as 8-bit images. The pictures are "
        "those found on base-1; each score is under the attack on the model itself. Differences are amplified about "
        "mid-gray. Small pictures hide some of the change."
    ) in said


def test_a_gallery_at_full_size_and_without_opinions_says_neither(made: Report) -> None:
    page = Page(replace(made, gallery=(replace(ITEM, scale=1.0, mos=None),), figures=(), tables=()).html())
    said = words(page.all("main")[0])
    assert "opinion" not in words(page.all("article")[0])
    assert not any(part in said for part in ("of its size", "Small pictures", "middle at full size"))


def test_a_page_without_gallery_figures_and_controls_has_no_empty_sections(made: Report) -> None:
    tables = tuple(table for table in made.tables if table.main and not table.name.startswith("controls"))
    page = Page(replace(made, figures=(), tables=tables, keys=(), commands=(), explorer=None, checks=()).html())
    assert [section.attributes["id"] for section in page.all("section")] == ["summary", "results", "method", "rebuild"]
    assert len(page.all("a")) == 5 and not page.all("script")
    assert "script-src" not in page.source  # then none may run
    assert "The records do not say which commands made them." in words(page.all("main")[0])


def test_names_that_look_like_markup_are_shown_and_not_obeyed(made: Report) -> None:
    evaluation = told(
        synthetic(6, models={f"a{BAD}": (10.0, 0.8, 9.0), f"b{BAD}": (10.0, 0.8, 3.0)}),
        title=BAD,
        dataset_note=BAD,
        commands=[BAD],
        environment={BAD: BAD},
        comparison={"base": [f"a{BAD}"], "defended": [f"b{BAD}"], "defense": BAD},
    )
    renames = {FGSM_LABEL: f"x{BAD}", IFGSM_LABEL: f"y{BAD}", RANDOM_LABEL: f"random_sign({BAD}"}
    renamed = changed(evaluation, lambda r: replace(r, key=f"{BAD}{r.key}", attack=renames.get(r.attack, r.attack)))
    info = {**renamed.info, "dataset": {"name": BAD, BAD: BAD}}
    read = study(type(renamed)(renamed.records, info), samples=2)
    assert made.explorer is not None
    explorer = replace(made.explorer, photos=(BAD, *made.explorer.photos[1:]), digits={BAD: 1})
    explorer = replace(explorer, trials=tuple(replace(one, model=BAD, attack=BAD) for one in made.explorer.trials))
    hostile = replace(
        made,
        explorer=explorer,
        checks=tuple(replace(one, sentences=(BAD,)) for one in made.checks),
        title=BAD,
        subtitle=BAD,
        findings=findings(read),
        tables=all_tables(read),
        figures=tuple(replace(figure, title=BAD, alt=BAD, caption=BAD) for figure in made.figures[:1]),
        keys=tuple(replace(key, title=BAD, note=BAD) for key in made.keys),
        commands=(BAD,),
        facts=((BAD, ((BAD, BAD),)),),
        gallery=(replace(ITEM, key=BAD, attack=BAD, attacked_on=BAD, scores=(GalleryScore(BAD, 1.0, 2.0),)),),
    )
    page = Page(hostile.html())
    assert len(page.all("script")) == 2 and page.source.count("<script") == 2
    data = json.loads(page.all("script")[0].text)
    assert (data["photos"][0], data["models"], data["attacks"]) == (BAD, [BAD], [BAD])
    assert not set("<>&'") & set(page.all("script")[0].text)
    assert page.all("h1")[0].text == page.all("title")[0].text == page.all("code")[0].text == BAD
    assert page.all("img")[0].attributes["alt"] == f"{BAD}, as it is"
    assert next(one for one in page.elements if one.attributes.get("role") == "img").attributes["aria-label"] == BAD
    assert f"+{BAD}" in [words(head) for head in page.all("th")]
    assert f"Controls under x{BAD}" in [words(caption) for caption in page.all("caption")]
    assert {name for one in page.elements for name in one.attributes} == {
        name for one in Page(replace(made, gallery=(ITEM,)).html()).elements for name in one.attributes
    }
    for table in hostile.tables:
        for line in table.to_latex().splitlines()[3:]:
            bare = re.sub(r"\\[&%$#_{}\\]|\\[a-zA-Z]+", "", line)
            assert not re.search(r"[%_#]", bare), line


def test_the_page_is_written_whole_to_a_new_folder(made: Report, tmp_path: Path) -> None:
    path = made.to_html(tmp_path / "new" / "report.html")
    assert path == tmp_path / "new" / "report.html"
    assert path.read_text(encoding="utf-8") == made.html()
    assert list(path.parent.iterdir()) == [path]


def test_every_check_is_on_the_page_with_its_question_its_advice_and_what_it_found(made: Report) -> None:
    assert {check.outcome for check in made.checks} == {"no flag", "not made"}
    seen = replace(made.checks[0], outcome="flag raised", sentences=("base-1 wavers.", "nt-1 wavers."))
    page = Page(replace(made, checks=(seen, *made.checks[1:])).html())
    said = words(page.all("main")[0])
    assert f"{seen.name} flag raised base-1 wavers. nt-1 wavers. What to do: {seen.advice}" in said
    for check in made.checks[1:]:
        assert f"{check.name} {check.outcome} A flag would say: {check.question}. Then: {check.advice}" in said
    assert said.count("These records give no occasion for it.") == sum(one.outcome == "not made" for one in made.checks)


def test_environments_of_models_that_were_evaluated_apart_are_told_where_they_differ() -> None:
    evaluation = synthetic(3, models={"a": (9.0, 0.8, 5.0), "b": (9.0, 0.8, 5.0), "c": (9.0, 0.8, 5.0)}, attacks=())
    for label, torch in (("a", "2.4"), ("b", "2.5"), ("c", "2.4")):
        evaluation.info["models"][label]["environment"] = {"torch": torch, "system": "Linux"}
    facts = dict(report(evaluation, samples=2).facts)
    assert facts["Environment"] == (("torch", "2.4 (a, c); 2.5 (b)"), ("system", "Linux"))


def test_what_is_said_about_a_run_is_in_the_report() -> None:
    facts = report(
        synthetic(3, models={"only": (9.0, 0.8, 5.0)}, attacks=(), info={"environment": {"torch": "2"}}), samples=2
    )
    assert facts.facts == (
        ("Models", (("only", "HyperIQA, weights 0000000000000000, scale 0 to 100"),)),
        ("Dataset", (("name", "made-up"), ("fingerprint", "0123456789abcdef"), ("n", "3"))),
        ("Environment", (("torch", "2"),)),
    )
    assert (facts.title, facts.commands) == ("Robustness of image quality models", ())
    assert facts.subtitle == "1 model on 3 photographs of made-up, not attacked."
