"""Workbooks, lists and MATLAB files as label files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from robustiqa.core.errors import DataError, MissingExtraError
from robustiqa.datasets.label_files import read_list, read_mat, read_workbook
from tests.datasets.public_imitations import write_lines


def save_workbook(path: Path, *lines: tuple[object, ...]) -> Path:
    """Writes a workbook; skips where openpyxl is not installed."""
    workbook = pytest.importorskip("openpyxl", reason="needs openpyxl, the extra xlsx").Workbook()
    for line in lines:
        workbook.active.append(line)
    workbook.create_sheet("another").append(("not", "read"))
    workbook.save(path)
    return path


def workbook_refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_workbook(path)
    return str(caught.value)


def test_the_first_sheet_of_a_workbook_is_read_below_its_header(tmp_path: Path) -> None:
    path = save_workbook(
        tmp_path / "a.xlsx", (None, None, None), ("name", "MOS ", None), ("a.jpg", 48.86, None), (), ("b.jpg", 3, None)
    )
    rows = read_workbook(path)
    assert [(row.text("name"), row.number("MOS"), row.line) for row in rows] == [("a.jpg", 48.86, 3), ("b.jpg", 3, 5)]


def test_a_wrong_workbook_is_refused_in_a_sentence(tmp_path: Path) -> None:
    missing = tmp_path / "a.xlsx"
    assert workbook_refusal(missing) == (
        f"expected a label file at {missing}, found nothing; check that the folder is the dataset's own."
    )
    empty = save_workbook(tmp_path / "b.xlsx", ("name", "MOS"))
    assert workbook_refusal(empty) == f"{empty} lists no photographs; it needs a header line and one line a photograph."
    nameless = save_workbook(tmp_path / "c.xlsx", ("name", None), ("a.jpg", 3))
    assert workbook_refusal(nameless) == (
        f"{nameless}, line 2: a cell stands in a column without a header; name the column."
    )
    broken = write_lines(tmp_path / "d.xlsx", ["not a workbook"])
    assert workbook_refusal(broken) == (
        f"{broken} is not a workbook that can be read (File is not a zip file); get an intact copy."
    )


def test_without_openpyxl_a_workbook_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    path = write_lines(tmp_path / "grades.xlsx", ["anything"])
    with pytest.raises(MissingExtraError) as caught:
        read_workbook(path)
    assert str(caught.value) == (
        f"{path} is a workbook and needs openpyxl; install it with `pip install 'robustiqa[xlsx]'`, "
        "or save its first sheet as grades.csv beside it."
    )


def test_a_list_keeps_line_numbers_and_takes_any_separator(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.txt", ["a.png, 4.57", "", " b.png\t1", "c.png  2 "])
    rows = read_list(path, ("image", "mos"))
    assert [(row.text("image"), row.number("mos"), row.line) for row in rows] == [
        ("a.png", 4.57, 1),
        ("b.png", 1, 3),
        ("c.png", 2, 4),
    ]


def test_a_list_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError) as caught:
        read_list(tmp_path / "a.txt", ("image", "mos"))
    assert str(caught.value) == f"{tmp_path / 'a.txt'} is not UTF-8 text; save it as TXT in UTF-8."


def test_a_variable_that_is_not_in_the_file_is_refused(tmp_path: Path) -> None:
    from scipy.io import savemat

    savemat(tmp_path / "a.mat", {"dmos": [1.0, 2.0]})
    assert read_mat(tmp_path / "a.mat", "dmos") == [1, 2]
    with pytest.raises(DataError) as caught:
        read_mat(tmp_path / "a.mat", "orgs")
    assert str(caught.value) == f"{tmp_path / 'a.mat'} lacks the variable 'orgs'; get the official release."
