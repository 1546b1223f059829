"""The page in a real browser: no complaint, sorting, filters and details by keyboard, at any width and in the dark."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from robustiqa.evaluation.views import Evaluation
from robustiqa.report import GalleryItem, Report
from robustiqa.report.gallery import GalleryScore
from tests.browser import Browser, find_browser, open_browser
from tests.evaluation.synthetic import FGSM_LABEL, IFGSM_LABEL, MODELS, RANDOM_LABEL
from tests.report.oracle import attacked
from tests.report.reading import Page

SHOWN = 25
MINUS = "\u2212"
Row = tuple[str, ...]


def png(level: int) -> bytes:
    picture = io.BytesIO()
    Image.new("RGB", (48, 32), (level, 120, 90)).save(picture, format="PNG")
    return picture.getvalue()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        pytest.skip("no Chromium on the path: install one, or name it in ROBUSTIQA_TEST_BROWSER")
    with open_browser(program, tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def file(made: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made-up report, with pictures of its fourth photograph."""
    item = GalleryItem(
        key="photo-0003.jpg",
        mos=61.24,
        attack=FGSM_LABEL,
        levels=2,
        attacked_on="base-1",
        ssim=0.98765,
        scores=(GalleryScore("base-1", 50.04, 80.06),),
        clean=png(80),
        adversarial=png(82),
        difference=png(127),
        width=48,
        height=32,
        scale=1.0,
        amplification=32,
    )
    return replace(made, gallery=(item,)).to_html(tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture
def page(browser: Browser, file: Path) -> Browser:
    browser.show(file)
    return browser


def rows(page: Browser) -> list[Row]:
    """Cells of the table as it stands; of the first, the button alone."""
    found: list[list[str]] = page.ask(
        "[...document.querySelectorAll('#explorer-table tbody tr')].map(row => [...row.cells].map("
        "cell => (cell.querySelector('button') ?? cell).textContent))"
    )
    return [tuple(row) for row in found]


def status(page: Browser) -> str:
    return str(page.ask("document.getElementById('explorer-status').textContent"))


def choose(page: Browser, name: str, text: str) -> None:
    """Picks an option by its text, or types into a field, as a person's browser would tell the page."""
    page.ask(
        f"(() => {{ const field = document.getElementById('explorer-{name}'); const text = {text!r};"
        "field.value = field.options ? [...field.options].find(one => one.textContent === text).value : text;"
        "field.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


def press_head(page: Browser, title: str) -> str:
    """Presses a column's heading by keyboard; says how it is sorted then."""
    head = f"[...document.querySelectorAll('#explorer-table thead th')].find(head => head.textContent === '{title}')"
    page.ask(f"{head}.querySelector('button').focus()")
    page.press("Enter")
    assert page.ask("document.querySelectorAll('#explorer-table [aria-sort]').length") == 1
    return str(page.ask(f"{head}.ariaSort"))


def expected(made_up: Evaluation, label: str, attack: str, objective: str, variant: str = "end_to_end") -> list[Row]:
    """A model's rows, from the records by another road, in the order of photographs."""
    seen = attacked(made_up, label, attack, objective, variant=variant)
    found = []
    for key, mos, before, after in zip(seen.keys, seen.mos, seen.before, seen.after, strict=True):
        change = f"{abs(after - before):.1f}"
        sign = "" if change == "0.0" else "+" if after > before else MINUS
        cells = (sign + change, f"{before:.1f}", f"{after:.1f}", "0.970", f"{mos:.1f}")
        found.append((key, label, *(cell.replace("-", MINUS) for cell in cells)))
    return found


def value(cell: str) -> float:
    return float(cell.replace(MINUS, "-"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_the_page_opens_without_a_complaint_and_fits(browser: Browser, file: Path, width: int, scheme: str) -> None:
    browser.show(file, width=width, scheme=scheme)
    assert status(browser).startswith(f"Showing {SHOWN} of ")
    assert browser.ask("document.documentElement.scrollWidth") == width
    assert (
        browser.ask("performance.getEntriesByType('resource').filter(one => !one.name.startsWith('data:')).length") == 0
    )
    background = browser.ask("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 26)"}[scheme]
    browser.ask("document.querySelector('#explorer-table tbody button').click()")
    assert browser.ask("document.querySelector('dialog').getBoundingClientRect().right") <= width
    assert browser.complaints == []


def test_a_page_that_fails_is_heard(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text(
        "<!doctype html><script>console.error('a'); missing()</script>", encoding="utf-8"
    )
    browser.show(tmp_path / "bad.html")
    assert len(browser.complaints) == 2 and "missing is not defined" in browser.complaints[1]


def test_the_page_runs_no_script_but_its_own(page: Browser) -> None:
    page.ask("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))")
    page.ask("document.body.append(Object.assign(document.createElement('img'), {src: 'https://example.org/a.png'}))")
    assert page.ask("window.ran === undefined")
    assert len([one for one in page.complaints if "Content Security Policy" in one]) == 2, page.complaints


def test_the_first_rows_are_those_that_the_page_has_without_its_script(page: Browser, file: Path) -> None:
    parsed = Page(file.read_text(encoding="utf-8"))
    start = next(place for place, one in enumerate(parsed.elements) if one.attributes.get("id") == "explorer-table")
    cells = [one.text for one in parsed.elements[start:] if one.tag == "td" or one.attributes.get("scope") == "row"]
    width = len(rows(page)[0])
    static = [tuple(cells[place * width : (place + 1) * width]) for place in range(SHOWN)]
    assert rows(page) == static
    plain = next(one.text for one in parsed.elements if one.attributes.get("id") == "explorer-status")
    assert plain == (
        f"The 25 largest of 144 changes under {FGSM_LABEL}, worst of both directions. The rest needs JavaScript."
    )
    assert status(page) == "Showing 25 of 144 rows: 24 photographs, 6 models. By change, largest first."


@pytest.mark.parametrize(
    ("title", "place", "first"), [("Change", 2, ""), ("Before", 3, "descending"), ("Photograph", 0, "ascending")]
)
def test_headings_sort_and_turn_the_order_by_keyboard(
    page: Browser, made_up: Evaluation, title: str, place: int, first: str
) -> None:
    choose(page, "model", "nt-1")
    known = expected(made_up, "nt-1", FGSM_LABEL, "worst_of_both")

    def key(row: Row) -> Any:
        return row[0] if place == 0 else abs(value(row[place])) if place == 2 else value(row[place])

    orders = [first, "descending" if first == "ascending" else "ascending"] if first else ["ascending", "descending"]
    for order in orders:
        assert press_head(page, title) == order
        shown = rows(page)
        assert sorted(shown) == sorted(known)
        assert [key(row) for row in shown] == sorted(map(key, known), reverse=order == "descending")
        assert f"By {title.lower()}, " in status(page)
        assert page.ask("document.activeElement.textContent") == title  # one may go on from there


@pytest.mark.parametrize(
    ("attack", "variant", "objective", "name"),
    [
        (FGSM_LABEL, "end_to_end", "rank_split", "rank split"),
        (IFGSM_LABEL, "end_to_end", "farther_end", "farther end (the paper's)"),
        (RANDOM_LABEL, "end_to_end", "raise", "raise every score"),
        (IFGSM_LABEL, "patchwise", "lower", "lower every score"),
    ],
)
def test_filters_show_the_records_of_attack_model_and_objective(
    page: Browser, made_up: Evaluation, attack: str, variant: str, objective: str, name: str
) -> None:
    choose(page, "attack", attack + (", patchwise" if variant == "patchwise" else ""))
    choose(page, "objective", name)
    choose(page, "model", "base-2")
    assert sorted(rows(page)) == expected(made_up, "base-2", attack, objective, variant)
    assert status(page) == "Showing 24 of 24 rows: 24 photographs, 1 model. By change, largest first."
    assert page.complaints == []


def test_names_are_searched_and_nothing_found_is_said(page: Browser) -> None:
    choose(page, "name", " Photo-001")
    assert status(page) == "Showing 25 of 60 rows: 10 photographs, 6 models. By change, largest first."
    choose(page, "name", "photo-0017")
    assert {row[:2] for row in rows(page)} == {("photo-0017.jpg", label) for label in MODELS}
    choose(page, "name", "nowhere")
    assert (rows(page), status(page)) == ([], "No photograph has such a name.")


def test_an_objective_that_an_attack_was_not_run_with_is_not_offered(page: Browser) -> None:
    offered = "[...document.getElementById('explorer-objective').options].map(one => one.textContent)"
    names = ["worst of both directions", "rank split", "farther end (the paper's)", "lower every score"]
    assert page.ask(offered) == [*names, "raise every score"]
    choose(page, "objective", "farther end (the paper's)")
    choose(page, "attack", f"{IFGSM_LABEL}, patchwise")  # crops decide each for themselves
    assert page.ask(offered) == ["worst of both directions", "rank split", "lower every score", "raise every score"]
    assert page.ask("document.getElementById('explorer-objective').selectedOptions[0].textContent") == names[0]
    assert len(rows(page)) == SHOWN


def test_more_rows_come_when_asked_for_and_the_keyboard_goes_on_at_the_first(page: Browser) -> None:
    page.ask("document.getElementById('explorer-more').focus()")
    page.press("Enter")
    assert len(rows(page)) == 125
    assert page.ask("document.activeElement.closest('tr').rowIndex") == SHOWN + 1
    page.ask("document.getElementById('explorer-more').click()")
    assert len(rows(page)) == 144 and page.ask("document.getElementById('explorer-more').hidden")


def test_enter_opens_a_photograph_and_escape_goes_back_to_it(page: Browser, made_up: Evaluation) -> None:
    choose(page, "name", "photo-0003")
    page.ask("document.querySelector('#explorer-table tbody button').focus()")
    page.press("Enter")
    assert page.ask("document.querySelector('dialog').matches(':modal')")
    assert page.ask("document.activeElement.textContent") == "Close"
    sources = "[...document.querySelectorAll('{} img')].map(one => [one.src, one.naturalWidth])"
    assert page.ask(sources.format("dialog")) == page.ask(sources.format("#gallery article"))
    assert page.ask("[...document.querySelectorAll('dialog img')].every(one => one.naturalWidth === 48)")
    assert f"{FGSM_LABEL}, worst of both directions" in page.ask("document.querySelector('dialog .notes').textContent")
    told = page.ask(
        "[...document.querySelectorAll('dialog tbody tr')].map(row => [...row.cells].map(cell => cell.textContent))"
    )
    known = []
    for attack in (FGSM_LABEL, IFGSM_LABEL, RANDOM_LABEL):
        levels = "4" if attack == IFGSM_LABEL else "2"
        for variant in ("end_to_end", "patchwise"):
            known.append([attack + (", patchwise" if variant == "patchwise" else "")])
            for label in MODELS:
                change, before, after = expected(made_up, label, attack, "worst_of_both", variant)[3][2:5]
                known.append([label, before, after, change, "0.970", levels, "0.00"])
    assert told == known
    opened = page.ask("[...document.querySelectorAll('dialog [aria-current] > *')].map(one => one.textContent)")
    assert opened[0] == rows(page)[0][1] and opened[3] == rows(page)[0][2]
    page.press("Escape")
    assert not page.ask("document.querySelector('dialog').open")
    assert page.ask("document.activeElement.textContent") == "photo-0003.jpg"
    assert page.complaints == []


def test_a_photograph_without_pictures_says_so(page: Browser) -> None:
    assert page.ask("document.querySelectorAll('#explorer-table .kept').length") == len(
        [row for row in rows(page) if row[0] == "photo-0003.jpg"]
    )
    choose(page, "name", "photo-0004")
    page.ask("document.querySelector('#explorer-table tbody button').click()")
    assert page.ask("document.querySelectorAll('dialog img').length") == 0
    assert "No pictures of this photograph were kept" in page.ask("document.querySelector('dialog').textContent")
    page.ask("document.getElementById('explorer-close').click()")
    assert not page.ask("document.querySelector('dialog').open")


def test_a_screen_reader_meets_names_and_roles(page: Browser) -> None:
    met = page.accessible()
    assert [name for role, name in met if role == "combobox"] == ["Attack", "Objective", "Model"]
    assert ("searchbox", "Name contains") in met and ("group", "Which photographs to show") in met
    assert "status" in {role for role, _ in met}
    heads = [name for role, name in met if role == "columnheader"]
    start = heads.index("Photograph")
    assert heads[start : start + 7] == ["Photograph", "Model", "Change", "Before", "After", "SSIM", "Opinion"]
    assert not [role for role, name in met if role in ("button", "link", "dialog", "image", "region") and not name]
    page.ask("document.querySelector('#explorer-table tbody button').click()")
    assert ("dialog", rows(page)[0][0]) in page.accessible()


def test_names_that_look_like_markup_are_shown_and_not_obeyed(browser: Browser, made: Report, tmp_path: Path) -> None:
    bad = '<img src=x onerror="window.ran = 1"></script><script>window.ran = 1</script>\'&'
    assert made.explorer is not None
    trials = tuple(replace(one, model=bad, attack=bad) for one in made.explorer.trials[:1])
    explorer = replace(made.explorer, photos=(bad,) * 24, digits={bad: 1}, trials=trials)
    browser.show(replace(made, explorer=explorer).to_html(tmp_path / "bad.html"))
    browser.ask("document.querySelector('#explorer-table tbody button').click()")
    assert {row[:2] for row in rows(browser)} == {(bad, bad)}
    assert browser.ask("document.querySelector('dialog h3').textContent") == bad
    assert browser.ask("window.ran === undefined") and browser.complaints == []
