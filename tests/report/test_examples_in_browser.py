"""Examples in a real browser: the details of a photograph show the pictures that were found on the row's own model."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from PIL import Image

from robustiqa.report.benchmark import benchmark_report
from tests.browser import Browser
from tests.report.benchmarks import evaluation
from tests.report.test_html import ITEM
from tests.report.test_page_in_browser import browser as browser
from tests.report.test_page_in_browser import choose, rows

KEY = "photo-0003.jpg"


def png(level: int) -> bytes:
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), (level, 120, 90)).save(picture, format="PNG")
    return picture.getvalue()


def test_details_show_the_example_of_the_rows_own_model(browser: Browser, tmp_path: Path) -> None:
    items = [
        replace(ITEM, key=KEY, why=f"an example on {label}", attacked_on=label, adversarial=png(level))
        for label, level in (("base-1", 40), ("nt-1", 80))
    ]
    made = benchmark_report([evaluation(12, show=["examples"])], pictures=items, samples=20)
    browser.show(made.to_html(tmp_path / "report.html"))
    choose(browser, "name", KEY)
    found = {}
    for place, row in enumerate(rows(browser)):
        browser.ask(f"document.querySelectorAll('#explorer-table tbody button')[{place}].click()")
        found[row[1]] = browser.ask("[...document.querySelectorAll('dialog img')].map(one => one.src)")
        browser.ask("document.getElementById('explorer-close').click()")
    pictured = "[...document.querySelectorAll('#gallery article:nth-of-type({}) img')].map(one => one.src)"
    assert found["base-1"] == browser.ask(pictured.format(1))
    assert found["nt-1"] == browser.ask(pictured.format(2)) != found["base-1"]
    assert found["base-2"] == found["nt-2"] == []
    assert browser.complaints == []
