"""Label files that are no CSV: lists without a header line, workbooks, MATLAB files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from robustiqa.core.errors import DataError, MissingExtraError
from robustiqa.datasets.labels import Row, read_text

_BETWEEN = re.compile(r"\s*,\s*|\s+")


def read_list(path: Path, columns: tuple[str, ...]) -> list[Row]:
    """Reads a text file without a header line; a comma, spaces or a tab separate.

    Args:
        path: The file, in UTF-8.
        columns: What stands in a line, in this order.

    Raises:
        DataError: if the file is missing, empty or not text, or a line has more or fewer entries.
    """
    rows = []
    for line, text in enumerate(read_text(path).splitlines(), start=1):
        if not text.strip():
            continue
        entries = _BETWEEN.split(text.strip())
        if len(entries) != len(columns):
            raise DataError(
                f"{path}, line {line}: expected {len(columns)} entries ({', '.join(columns)}), got {len(entries)}; "
                "correct the line."
            )
        rows.append(Row(dict(zip(columns, entries, strict=True)), path, line))
    if not rows:
        raise DataError(f"{path} lists no photographs; it needs one line a photograph: {', '.join(columns)}.")
    return rows


def read_workbook(path: Path) -> list[Row]:
    """Reads the first sheet of an `.xlsx` workbook, its first line that is not empty being the header.

    Raises:
        MissingExtraError: if openpyxl, the extra `xlsx`, is not installed.
        DataError: if the file is missing or no workbook, lists nothing, or a line has more cells than the header.
    """
    if not path.is_file():
        raise DataError(f"expected a label file at {path}, found nothing; check that the folder is the dataset's own.")
    lines = [(line, cells) for line, cells in enumerate(_sheet(path), start=1) if any(cells)]
    if len(lines) < 2:
        raise DataError(f"{path} lists no photographs; it needs a header line and one line a photograph.")
    header = lines[0][1]
    rows = []
    for line, cells in lines[1:]:
        if any(cell and not name for name, cell in zip(header, cells, strict=True)):
            raise DataError(f"{path}, line {line}: a cell stands in a column without a header; name the column.")
        rows.append(Row({name: cell for name, cell in zip(header, cells, strict=True) if name}, path, line))
    return rows


def _sheet(path: Path) -> list[list[str]]:
    """The cells of the first sheet as text, all lines of one length."""
    try:
        from openpyxl import load_workbook
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError:
        raise MissingExtraError(
            f"{path} is a workbook and needs openpyxl; install it with `pip install 'robustiqa[xlsx]'`, "
            f"or save its first sheet as {path.with_suffix('.csv').name} beside it."
        ) from None
    try:
        sheet = load_workbook(path, data_only=True).worksheets[0]
    except (InvalidFileException, BadZipFile, KeyError, ValueError, OSError, IndexError) as error:
        raise DataError(f"{path} is not a workbook that can be read ({error}); get an intact copy.") from None
    return [
        ["" if cell is None else str(cell).strip() for cell in cells] for cells in sheet.iter_rows(values_only=True)
    ]


def read_mat(path: Path, variable: str) -> list[Any]:
    """A variable of a MATLAB file as a flat list; a cell array's entries are unwrapped.

    Raises:
        DataError: if the file is missing, no MATLAB file, or lacks the variable.
    """
    from scipy.io import loadmat  # heavy import
    from scipy.io.matlab import MatReadError

    if not path.is_file():
        raise DataError(
            f"expected a label file at {path}, found nothing; check that the folder is the official release."
        )
    try:
        table = loadmat(path, squeeze_me=True)
    except (MatReadError, ValueError, NotImplementedError, TypeError, OSError) as error:
        raise DataError(f"{path} is not a MATLAB file that can be read ({error}); get an intact copy.") from None
    if variable not in table:
        raise DataError(f"{path} lacks the variable {variable!r}; get the official release.")
    return list(table[variable].ravel())
