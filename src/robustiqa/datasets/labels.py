"""What the loaders share: reading label tables, finding the files they name, mapping scores to 0..100."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from robustiqa.core.dataset import TARGET_SCALE
from robustiqa.core.errors import DataError
from robustiqa.core.model import ScoreScale

ROUNDING = 1e-4  # published scales are printed with few digits: this share of the span may be overshot
_PART_OF_WORD = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Row:
    """One line of a label table.

    Attributes:
        cells: Column name to text, both stripped; empty columns are left out.
        path: The table's file.
        line: Line number in it, from 1.
    """

    cells: dict[str, str]
    path: Path
    line: int

    def text(self, column: str) -> str:
        """The cell of a column.

        Raises:
            DataError: if it is empty.
        """
        value = self.cells.get(column, "")
        if not value:
            raise DataError(f"{self.path}, line {self.line}: column {column!r} is empty; fill it or drop the line.")
        return value

    def number(self, column: str) -> float:
        """The finite number in a column.

        Raises:
            DataError: if it holds anything else.
        """
        text = self.text(column)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise DataError(
                f"{self.path}, line {self.line}: expected a number in {column!r}, got {text!r}; correct it."
            )
        return value

    def part(self, column: str) -> str:
        """The part of the split that a column names: `train`, `validation` or `test`.

        Raises:
            DataError: if it names none of them.
        """
        word = self.text(column)
        if word.casefold() not in _PART_OF_WORD:
            raise DataError(f"{self.path}, line {self.line}: {column} must be train, validation or test, got {word!r}.")
        return _PART_OF_WORD[word.casefold()]


def read_text(path: Path) -> str:
    """The text of a label file, in UTF-8, with or without a byte-order mark.

    Raises:
        DataError: if the file is missing or not text.
    """
    if not path.is_file():
        raise DataError(f"expected a label file at {path}, found nothing; check that the folder is the dataset's own.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text; save it as {path.suffix[1:].upper()} in UTF-8.") from None


def read_table(path: Path, required: Iterable[str] = ()) -> list[Row]:
    """Reads a CSV file with a header line; comma, semicolon and tab separate.

    Args:
        path: The file; see `read_text`.
        required: Columns that must be there.

    Raises:
        DataError: if the file is missing, empty, not text, lacks a required column, or a line has more cells than
            the header.
    """
    text = read_text(path)
    header_line = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header_line.count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter)
    try:
        header = [name.strip() for name in next(reader, [])]
        rows = [
            _to_row(header, cells, path, reader.line_num) for cells in reader if any(cell.strip() for cell in cells)
        ]
    except csv.Error as error:
        raise DataError(f"{path} is not a CSV file ({error}); save it as one.") from None
    lacking = [column for column in required if column not in header]
    if lacking:
        raise DataError(f"{path} lacks the column {lacking[0]!r}; it has: {', '.join(filter(None, header)) or 'none'}.")
    if not rows:
        raise DataError(f"{path} lists no photographs; it needs a header line and one line a photograph.")
    return rows


def _to_row(header: list[str], cells: list[str], path: Path, line: int) -> Row:
    if any(cell.strip() for cell in cells[len(header) :]):  # a comma that is not in quotes moves what follows it
        raise DataError(
            f"{path}, line {line}: expected at most {len(header)} cells, got {len(cells)}; "
            "put texts that hold a comma into quotes."
        )
    return Row({name: cell.strip() for name, cell in zip(header, cells, strict=False) if name}, path, line)


class FileFinder:
    """Finds the photographs that a label table names; each folder is listed once.

    Letter case is set aside where nothing matches exactly: tables and disks disagree on `.jpg` and `.JPG`.

    Args:
        root: The folder that names are relative to.
        below: Folders in it to look into, in this order; an empty name is the folder itself.
    """

    def __init__(self, root: Path, below: Sequence[str] = ("",)) -> None:
        self._root = root
        self._below = below
        self._listings: dict[Path, dict[str, str]] = {}

    def find(self, name: str) -> Path:
        """The file called `name`, which may begin with folders.

        Raises:
            DataError: naming the path at which it was expected.
        """
        places = [self._root / below / name for below in self._below]
        for place in places:
            listing = self._listing(place.parent)
            stored = listing.get(place.name) or listing.get(place.name.casefold())
            if stored is not None:
                return place.parent / stored
        raise DataError(f"expected the photograph {places[0]}, found nothing; the dataset is not complete.")

    def _listing(self, folder: Path) -> dict[str, str]:
        """Stored names by themselves and by their folded form."""
        if folder not in self._listings:
            names = sorted(child.name for child in folder.iterdir()) if folder.is_dir() else []
            self._listings[folder] = {name.casefold(): name for name in reversed(names)} | {n: n for n in names}
        return self._listings[folder]


def to_mos(score: float, scale: ScoreScale, where: str) -> float:
    """Maps a published score to 0..100.

    Args:
        score: On the published scale.
        scale: The interval that becomes 0..100. Overshooting it by a rounding error (`ROUNDING`) is clipped.
        where: What the score belongs to, for the error.

    Raises:
        DataError: if the score lies outside the scale.
    """
    share = (score - scale.low) / scale.span
    if not -ROUNDING <= share <= 1 + ROUNDING:
        raise DataError(
            f"{where}: the score {score:g} lies outside the scale [{scale.low:g}, {scale.high:g}]; "
            "check the scale and the label."
        )
    return min(max(share, 0.0), 1.0) * TARGET_SCALE.high
