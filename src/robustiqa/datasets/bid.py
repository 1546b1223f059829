"""BID: 586 photographs with realistic blur, mean opinion scores on 0..5 of about 11 people each.

Source: A. Ciancio, A. da Costa, E. da Silva, A. Said, R. Samadani and P. Obrador, No-reference blur assessment of
digital pictures based on multifeature classifiers, IEEE Transactions on Image Processing 20(1), 2011.
Layout: `DatabaseGrades.xlsx` beside `DatabaseImage0001.JPG`, `DatabaseImage0002.JPG`, ... Reading the workbook needs
openpyxl (the extra `xlsx`); its first sheet saved as `DatabaseGrades.csv` does not. The first column is the number in
the photograph's name. Public code takes the score from column 2 or from column 22 of the workbook, and which headers
the release has could not be established: the score is taken from the only other column, or from the only one called
mos, average or mean; else `mos_column` has to name it.
Scores: [0, 5], higher is better.
Split: there is no official one. Here it goes by a hash of the name; the release marks no scenes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from robustiqa.core.dataset import Dataset
from robustiqa.core.errors import DataError
from robustiqa.core.model import ScoreScale
from robustiqa.datasets.labels import Row
from robustiqa.datasets.layout import Layout, assemble, find_table, read_rows

KNOWN_COLUMNS = ("mos", "average", "mean")
LAYOUT = Layout(
    name="bid",
    tables=("DatabaseGrades.csv", "DatabaseGrades.xlsx"),
    folders=(".",),
    scale=ScoreScale(0.0, 5.0),
    image_column="",
    mos_column="",
)


def load_bid(root: str | Path, mos_column: str | None = None) -> Dataset:
    """Opens the dataset.

    Args:
        root: The folder that holds the table and the photographs.
        mos_column: Header of the column of mean scores, where the table does not tell.

    Returns:
        Photographs by file name, split by a hash of it.

    Raises:
        DataError: if a file is missing, a line is wrong, or the column of scores is unknown.
        MissingExtraError: if only the workbook is there and openpyxl is not installed.
    """
    root = Path(root)
    table = find_table(LAYOUT, root)
    rows = read_rows(table, LAYOUT)
    number, *others = dict.fromkeys(name for row in rows for name in row.cells)
    mos = _score_column(others, mos_column, table)
    named = [replace(row, cells=row.cells | {number: _file_name(row, number)}) for row in rows]
    return assemble(replace(LAYOUT, image_column=number, mos_column=mos), root, named)


def _score_column(others: list[str], named: str | None, table: Path) -> str:
    known = others if len(others) == 1 else [name for name in others if name.casefold() in KNOWN_COLUMNS]
    found = [name for name in others if name == named] if named is not None else known
    if len(found) == 1:
        return found[0]
    raise DataError(
        f"{table} does not tell its column of mean scores; give mos_column, one of: {', '.join(others) or 'none'}."
    )


def _file_name(row: Row, column: str) -> str:
    number = row.number(column)
    if number != int(number) or number < 0:
        raise DataError(f"{row.path}, line {row.line}: expected a photograph's number, got {row.text(column)!r}.")
    return f"DatabaseImage{int(number):04d}.JPG"
