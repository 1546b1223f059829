"""Numbers, cells and the three forms of a table, on tables made by hand."""

from __future__ import annotations

import csv
import io
import math
import re
import string

import pytest

from robustiqa.evaluation.measures import Estimate
from robustiqa.metrics.bootstrap import Interval
from robustiqa.report.tables import Block, Cell, Column, Row, Table, latex, markdown, number

NAN = math.nan


def estimate(value: float, low: float = NAN, high: float = NAN, seeds: tuple[float, ...] = ()) -> Estimate:
    return Estimate(Interval(value, low, high, 10), seeds, 5)


def by_hand(*rows: Row, notes: tuple[str, ...] = ("Said.",), block: str = "") -> Table:
    columns = (Column("base", "SROCC ↑"), Column("+NT", "SROCC ↑"), Column("words"))
    return Table("by-hand", "By hand", "Model", columns, (Block(rows, block),), notes)


FILLED = by_hand(
    Row("a", (Cell(estimate(0.5, 0.25, 0.75)), Cell(estimate(-0.25, -0.5, 0.125), best=True), Cell(text="yes"))),
    Row("b", (Cell(estimate(0.5)), Cell(estimate(NAN)), Cell())),
    notes=("First.", "Second."),
)


@pytest.mark.parametrize(
    ("value", "digits", "options", "shown"),
    [
        (12.345678, 2, {}, "12.35"),
        (-1.5, 1, {}, "\u22121.5"),
        (0.0, 3, {}, "0.000"),
        (-0.0004, 3, {}, "0.000"),
        (-0.0004, 3, {"signed": True}, "0.000"),
        (0.0004, 3, {"signed": True}, "0.000"),
        (0.25, 2, {"signed": True}, "+0.25"),
        (-0.25, 2, {"signed": True}, "\u22120.25"),
        (0.723, 0, {"percent": True}, "72"),
        (-0.001, 0, {"percent": True}, "0"),
        (-0.06, 0, {"percent": True, "signed": True}, "\u22126"),
        (NAN, 3, {"signed": True, "percent": True}, "\u2014"),
    ],
)
def test_numbers_carry_a_real_minus_sign_and_no_negative_zero(
    value: float, digits: int, options: dict[str, bool], shown: str
) -> None:
    assert number(value, digits, **options) == shown


def test_a_cell_shows_its_number_and_the_ends_of_its_interval() -> None:
    found = Cell(estimate(0.1234, -0.5678, 0.9), 2)
    assert (found.value, found.interval) == ("0.12", "[\u22120.57, 0.90]")
    share = Cell(estimate(0.714, 0.65, 0.77), 0, percent=True)
    assert (share.value, share.interval) == ("71\u00a0%", "[65, 77]")
    difference = Cell(estimate(0.02, -0.01, 0.05), 2, signed=True)
    assert (difference.value, difference.interval) == ("+0.02", "[\u22120.01, +0.05]")


def test_a_cell_without_a_number_is_a_dash_and_claims_no_interval_and_no_percent() -> None:
    for found in (Cell(), Cell(estimate(NAN)), Cell(estimate(NAN), 0, percent=True, signed=True)):
        assert (found.value, found.interval) == ("\u2014", "")
    assert (Cell(estimate(0.5)).value, Cell(estimate(0.5)).interval) == ("0.500", "")
    assert (Cell(text="3 of 4").value, Cell(text="3 of 4").interval) == ("3 of 4", "")


def test_neighbors_share_a_heading_and_columns_without_one_stand_alone() -> None:
    table = Table(
        "n", "t", "s", (Column("a"), Column("b"), Column("c", "x"), Column("d", "x"), Column("e", "y")), (), ()
    )
    assert table.spans == [("", 1), ("", 1), ("x", 2), ("y", 1)]
    assert [column.full for column in table.columns] == ["a", "b", "x: c", "x: d", "y: e"]


def test_markdown_in_full() -> None:
    assert FILLED.to_markdown() == (
        "**By hand**\n\n"
        "| Model | SROCC ↑: base | SROCC ↑: +NT | words |\n"
        "| :--- | ---: | ---: | ---: |\n"
        "| a | 0.500 [0.250, 0.750] | **−0.250** [−0.500, 0.125] | yes |\n"
        "| b | 0.500 | — | — |\n\n"
        "First. Second.\n"
    )


def test_a_pipe_in_a_label_opens_no_column_in_markdown() -> None:
    row = Row("a|b", (Cell(text="|c|"), Cell(), Cell()))
    lines = by_hand(row, block="fgsm|x").to_markdown().splitlines()[2:-2]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {5}
    assert r"| a\|b | \|c\| | — | — |" in lines and r"| **fgsm\|x** |  |  |  |" in lines


def test_markdown_escapes_every_character_that_it_would_obey() -> None:
    assert markdown(r"\`*|<[]~") == r"\\\`\*\|\<\[\]\~"
    assert markdown("_a_ __b__ c__d") == r"\_a\_ \_\_b\_\_ c\_\_d"
    for plain in ("random_sign(eps=4/255, steps=10)", "nt-1e-05 > base, 59 %", "farther end (the paper's) ↑ — +NT"):
        assert markdown(plain) == plain


def test_a_label_in_markdown_sets_nothing_in_bold_and_links_nowhere() -> None:
    row = Row("**best** [a](b)", (Cell(text="`x`"), Cell(estimate(0.5, 0.25, 0.75), 3, best=True), Cell()))
    lines = by_hand(row, block="<b>").to_markdown().splitlines()
    assert r"| \*\*best\*\* \[a\](b) | \`x\` | **0.500** [0.250, 0.750] | — |" in lines
    assert r"| **\<b>** |  |  |  |" in lines


def test_latex_in_full() -> None:
    table = by_hand(*FILLED.blocks[0].rows, notes=("n = 5, 95\u00a0%.",), block="fgsm(eps=4/255), step_size")
    assert table.to_latex() == (
        "\\begin{table}\n"
        "\\caption{By hand}\\label{tab:by-hand}\n"
        "\\centering\\small\n"
        "\\begin{tabular}{lrrr}\n"
        "\\toprule\n"
        " & \\multicolumn{2}{c}{SROCC $\\uparrow$} & \\multicolumn{1}{c}{} \\\\\n"
        "\\cmidrule(lr){2-3}\n"
        "Model & base & +NT & words \\\\\n"
        "\\midrule\n"
        "\\multicolumn{4}{l}{\\emph{fgsm(eps=4/255), step\\_size}} \\\\\n"
        "a & 0.500 {\\scriptsize [0.250, 0.750]} & \\textbf{$-$0.250} {\\scriptsize [$-$0.500, 0.125]} & yes \\\\\n"
        "b & 0.500 & --- & --- \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}\n"
        "\\par\\smallskip\\footnotesize n = 5, 95~\\%.\n"
        "\\end{table}\n"
    )


def test_latex_writes_out_every_character_that_it_would_obey() -> None:
    assert latex(r"\&%$#_{}~^") == r"\textbackslash{}\&\%\$\#\_\{\}\textasciitilde{}\textasciicircum{}"
    assert latex("a<b>c|d") == "a$<$b$>$c$|$d"
    assert latex("−—–↑↓→×\u00a0") == r"$-$-----$\uparrow$$\downarrow$$\to$$\times$~"
    plain = string.ascii_letters + string.digits + " .,;:()[]=+-*/'!?@\"`"
    assert latex(plain) == plain


@pytest.mark.parametrize("label", ["[b]", "*b*"])
def test_latex_takes_no_label_for_an_argument_of_the_line_before_it(label: str) -> None:
    lines = by_hand(Row("a", (Cell(),) * 3), Row(label, (Cell(),) * 3)).to_latex().splitlines()
    (line,) = [line for line in lines if label in line]
    assert line == f"{{}}{label} & --- & --- & --- \\\\"


def test_a_table_without_shared_headings_has_no_rule_for_them_in_latex() -> None:
    table = Table("n", "t", "s", (Column("a"), Column("b")), (), ())
    assert "multicolumn" not in table.to_latex() and "cmidrule" not in table.to_latex()


def test_csv_gives_every_digit_back_with_intervals_seeds_and_notes() -> None:
    third = 1 / 3
    rows = (Row('x, "y"', (Cell(estimate(third, -0.1, 2 / 3, (0.1, NAN)), 0), Cell(estimate(NAN)), Cell(text="3, 4"))),)
    lines = by_hand(*rows, notes=("One.", "Two, three."), block="fgsm").to_csv().splitlines()
    assert lines[:3] == ["# By hand", "# One.", "# Two, three."]
    heading, line = csv.reader(io.StringIO("\n".join(lines[3:])))
    assert heading[:6] == [
        "block",
        "Model",
        "SROCC ↑: base",
        "SROCC ↑: base low",
        "SROCC ↑: base high",
        "SROCC ↑: base seeds",
    ]
    assert heading[6:] == [
        f"{name}{part}" for name in ("SROCC ↑: +NT", "words") for part in ("", " low", " high", " seeds")
    ]
    assert line[:2] == ["fgsm", 'x, "y"']
    assert [float(text) for text in line[2:5]] == [third, -0.1, 2 / 3]
    assert line[5:] == ["0.1;nan", "", "", "", "", "3, 4", "", "", ""]
