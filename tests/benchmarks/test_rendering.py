from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.rendering import PAGE, RESULTS, build, main, page
from benchmarks.store import Group, Measurements, load
from benchmarks.tables import bare_seconds, cell, number, section
from benchmarks.timing import Spread
from tests.benchmarks.made_up import document, nt_group

ROOT = Path(__file__).parents[2]
COMMITTED = sorted((ROOT / RESULTS).glob("*.json"))


def test_the_page_of_performance_is_what_its_measurements_say_byte_for_byte() -> None:
    assert (ROOT / PAGE).read_text(encoding="utf-8") == build(ROOT / RESULTS)


def test_committed_measurements_are_whole_runs_of_real_sizes() -> None:
    if not COMMITTED:
        pytest.skip("no measurements are kept in benchmarks/results yet; `make bench` makes them")
    for path in COMMITTED:
        run = load(path)
        assert not run.settings["quick"], path.name
        assert run.groups("nt-step"), path.name


def test_the_page_is_written_from_the_files_of_a_folder(tmp_path: Path) -> None:
    results, written = tmp_path / "results", tmp_path / "docs" / "performance.md"
    results.mkdir()
    (results / "two-cores.json").write_text(json.dumps(document()))
    (results / "notes.md").write_text("## Notes\n\nBy hand.\n")
    main(["--results", str(results), "--page", str(written)])
    text = written.read_text(encoding="utf-8")
    assert text == page({"two-cores": Measurements(document())}, "## Notes\n\nBy hand.\n")
    places = [text.index(part) for part in ("# Performance", "## two-cores", "### Promises", "### NT step", "## Notes")]
    assert places == sorted(places)
    assert text.endswith("By hand.\n")


def test_the_strength_of_attacks_is_shown_beside_peers_by_direction(tmp_path: Path) -> None:
    rows = {
        "APGD": [{"lower": 10.0, "raise": 4.0}, {"lower": 12.0, "raise": 4.0}],
        "peer PGD": [{"lower": 10.0, "raise": 5.0}, {"lower": 10.0, "raise": 5.0}],
    }
    (tmp_path / "attacks").mkdir()
    (tmp_path / "attacks" / "two.json").write_text(json.dumps({"changes": {"net, eps 4/255": rows}}))
    text = build(tmp_path)
    assert "### net, eps 4/255" in text
    assert "| APGD | 11.000 ± 1.414 | 1.000 | 4.000 ± 0.000 | 1.000 |" in text
    assert "| peer PGD | 10.000 ± 0.000 | 1.100 | 5.000 ± 0.000 | 0.800 |" in text


def test_without_measurements_the_page_is_the_notes() -> None:
    assert page({}, "By hand.\n") == "# Performance\n\nBy hand.\n"


def test_the_page_says_what_was_promised_measured_and_missed() -> None:
    text = page({"run": Measurements(document())}, "")
    assert "| NT step over baseline, channels_last | 2.00 [2.00, 2.00] x | at most 2.05 x | held |" in text
    assert "rate over that of foolbox LinfPGD | 0.800 [0.800, 0.800] x | at least 1 x | missed |" in text
    assert "| robustiqa --help | 0.100 [0.095, 0.110] s | at most 0.3 s | held |" in text


def test_a_quick_run_says_that_it_measures_nothing_and_judges_no_promise() -> None:
    quick = {**document(), "settings": {"quick": True, "device": "cpu", "threads": 2}}
    text = page({"run": Measurements(quick)}, "")
    assert "measures nothing" in text
    assert "### Promises" not in text


def test_a_section_that_was_skipped_says_why_and_one_that_was_not_run_is_left_out() -> None:
    run = Measurements(document())
    assert section(run, "scoring") == "### Scoring\n\n**a network**\n\nNot measured: it rains."
    assert section(run, "report") == ""


def test_the_roofline_adds_up_bare_passes() -> None:
    group = Group("a", **nt_group())
    # forward 1 s, input gradient 2 - 1 s, full backward 3 - 1 s
    assert bare_seconds(group, "finite difference", "float32", "channels_last") == 2 * 1 + 1 + 2 * 2
    assert bare_seconds(group, "baseline", "float32", "channels_last") == 3
    assert bare_seconds(group, "light recipe", "bf16", "channels_last") == pytest.approx((2 + 0.5 + 4) / 2)
    shown = section(Measurements(document()), "nt-step")
    assert "| finite difference, float32, channels_last | 7.00 | 1.17 | 117% |" in shown
    assert "| published schedule, float32, contiguous | 10.0 | 0.500 | 50% |" in shown


def test_every_section_of_the_made_up_measurements_has_its_rows() -> None:
    run = Measurements(document())
    for name, row in {
        "nt-step": "| finite difference, bf16, channels_last | 3.00 [2.85, 3.30] | 2.00 [2.00, 2.00] | 0.150 ",
        "penalty-share": "| penalty on 0.5 of the batch | 1.50 [1.50, 1.50] | 1.25 [1.25, 1.25] | 1.12 [1.12, 1.12] |",
        "attack-rate": "| I-FGSM-10, with its result scored | 8.00 [7.33, 8.44] | 0.800 [0.800, 0.800] |",
        "peers": "With foolbox 3, torchattacks 3.5.",
        "loader": "| loader, 2 workers | 10.0 [9.17, 10.6] | 2.00 [2.00, 2.00] |",
        "compiled": "| bare forward | 10.0 [9.17, 10.6] | 5.00 [4.58, 5.28] | 0.500 [0.500, 0.500] |",
        "memory": "| finite difference, float32, channels_last | 2500 | 2.50 |",
        "two-processes": "| two processes | 20.0 [19.0, 22.0] | 2.00 [2.00, 2.00] |",
    }.items():
        assert row in section(run, name), name


@pytest.mark.parametrize(
    ("value", "text"), [(0.0123, "0.012"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (4321.0, "4321")]
)
def test_numbers_have_about_three_digits(value: float, text: str) -> None:
    assert number(value) == text
    assert cell(Spread(value, value, value)) == f"{text} [{text}, {text}]"
