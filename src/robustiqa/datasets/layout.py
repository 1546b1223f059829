"""How a published dataset is laid out, as data: where its scores stand, what they mean, what a split keeps together.

A dataset's file states its `Layout`; looking for the label file, reading it, checking it and splitting are the same
for all and stand here. Where a release needs a step of its own (names to put together, an official split in other
files), its file takes it between `read_rows` and `assemble`.

A subset in the layout of the whole is welcome: what the label file lists must be there, and nothing else is asked.
Reference photographs are no photographs to score unless the label file lists them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from robustiqa.core.dataset import TARGET_SCALE, Dataset, Photo
from robustiqa.core.errors import DataError
from robustiqa.core.image_files import FileSource
from robustiqa.core.model import ScoreScale
from robustiqa.datasets.label_files import read_list, read_workbook
from robustiqa.datasets.labels import FileFinder, Row, read_table, to_mos
from robustiqa.datasets.splits import Parts, split_photos

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Reference:
    """What the name of a distorted photograph says of its reference.

    Attributes:
        form: Matches the whole name, in any letter case; its group 1 is the reference.
        file: Name of the reference's file, `{}` standing for group 1.
        example: A name of this form, for the error.
    """

    form: re.Pattern[str]
    file: str
    example: str


@dataclass(frozen=True)
class Layout:
    """Where a published dataset keeps what, and what its scores mean.

    Attributes:
        name: Registry name; also the salt of its split.
        tables: Label files below the root, any of which will do; the first that is there is read.
        folders: Where the photographs lie below the root, `.` being the root; `*` stands for any name.
        scale: The published interval of the scores, which becomes 0..100.
        rising: Whether a higher score is a better photograph; where not, the scores are turned round.
        image_column: Header of the column of file names.
        mos_column: Header of the column of scores.
        group_column: Header of the column of references or scenes; empty where there is none.
        reference: What the names say of the reference; None where they say nothing.
        split_column: Header of the column of the official split; empty where there is none.
        list_columns: What stands in a line of a label file that has no header.
        hint: What to do where no label file is there.
    """

    name: str
    tables: tuple[str, ...]
    folders: tuple[str, ...]
    scale: ScoreScale
    rising: bool = True
    image_column: str = "image"
    mos_column: str = "mos"
    group_column: str = ""
    reference: Reference | None = None
    split_column: str = ""
    list_columns: tuple[str, ...] = ()
    hint: str = "check that the folder is the dataset's own"


def open_layout(layout: Layout, root: str | Path) -> Dataset:
    """Opens a dataset that its layout says all about.

    Args:
        layout: The dataset's.
        root: Its folder.

    Returns:
        Photographs by the names of the label file, with the official split or one by a hash of the group.

    Raises:
        DataError: if the label file or a photograph is missing, or a line is wrong.
        MissingExtraError: if the label file is a workbook and openpyxl is not installed.
    """
    root = Path(root)
    rows = read_rows(find_table(layout, root), layout)
    if layout.split_column:
        return assemble(layout, root, rows, lambda _, row: row.part(layout.split_column))
    return assemble(layout, root, rows)


def find_table(layout: Layout, root: Path) -> Path:
    """The label file that is there.

    Raises:
        DataError: if there is none.
    """
    for table in layout.tables:
        if (root / table).is_file():
            return root / table
    raise DataError(f"expected a label file {' or '.join(layout.tables)} in {root}, found none; {layout.hint}.")


def read_rows(table: Path, layout: Layout) -> list[Row]:
    """The lines of a label file of any form; the suffix tells which.

    Raises:
        DataError: if it can't be read or lacks a column of the layout.
        MissingExtraError: if it is a workbook and openpyxl is not installed.
    """
    if table.suffix == ".txt":
        return read_list(table, layout.list_columns)
    rows = read_workbook(table) if table.suffix == ".xlsx" else read_table(table)
    header = list(dict.fromkeys(name for row in rows for name in row.cells))
    for column in (layout.image_column, layout.mos_column, layout.group_column, layout.split_column):
        if column and column not in header:
            raise DataError(f"{table} lacks the column {column!r}; it has: {', '.join(header)}.")
    return rows


def assemble(
    layout: Layout, root: Path, rows: Sequence[Row], part_of: Callable[[str, Row], str] | None = None
) -> Dataset:
    """Finds the photographs, maps the scores, and splits.

    Args:
        layout: The dataset's.
        root: Its folder.
        rows: One a photograph, in any order.
        part_of: From a photograph's name and line to its part of the official split; None splits by a hash of
            the group, or of the name where there is no group.

    Returns:
        Photographs sorted by name.

    Raises:
        DataError: if a photograph is missing or listed twice, a score lies outside the published interval, a name
            does not tell its reference, or the official split cuts a group.
    """
    finder = FileFinder(root, _folders(root, layout.folders))
    photos: dict[str, Photo] = {}
    listed: dict[Path, Row] = {}
    official: dict[str, str] = {}
    for row in rows:
        where = f"{row.path}, line {row.line}"
        key = row.text(layout.image_column).replace("\\", "/")
        mos = to_mos(row.number(layout.mos_column), layout.scale, where)
        group = _group(layout, key, row)
        path = finder.find(key)
        if path in listed:
            other = listed[path]
            raise DataError(f"{where}: {key!r} is listed in {other.path.name}, line {other.line}, too; drop one.")
        listed[path] = row
        photos[key] = Photo(key, FileSource(path), mos if layout.rising else TARGET_SCALE.high - mos, group)
        if part_of is not None:
            official[key] = part_of(key, row)
    ordered = tuple(photos[key] for key in sorted(photos))
    parts = split_photos(ordered, salt=layout.name) if part_of is None else _official_parts(ordered, official)
    return Dataset(layout.name, ordered, layout.scale, parts, root)


def _folders(root: Path, patterns: tuple[str, ...]) -> list[str]:
    """The folders that are there, or the first that is not."""
    found = [
        folder.relative_to(root).as_posix()
        for pattern in patterns
        for folder in (sorted(root.glob(pattern)) if "*" in pattern else [root / pattern])
        if folder.is_dir()
    ]
    return found or [patterns[0]]


def _group(layout: Layout, key: str, row: Row) -> str:
    if layout.reference is None:
        return row.text(layout.group_column).casefold() if layout.group_column else ""
    found = layout.reference.form.fullmatch(key)
    if found is None:
        raise DataError(
            f"{row.path}, line {row.line}: expected a name such as {layout.reference.example}, which tells the "
            f"reference, got {key!r}; check that the file is the dataset's own."
        )
    return layout.reference.file.format(found[1]).casefold()


def _official_parts(photos: tuple[Photo, ...], part_of: dict[str, str]) -> Parts:
    home: dict[str, Photo] = {}
    for photo in photos:
        other = home.setdefault(photo.group, photo) if photo.group else photo
        if part_of[other.key] != part_of[photo.key]:
            raise DataError(
                f"the official split puts {other.key} into {part_of[other.key]} and {photo.key} into "
                f"{part_of[photo.key]}, though they share {photo.group}; get intact label files."
            )
    parts = {part: tuple(photo.key for photo in photos if part_of[photo.key] == part) for part in PARTS}
    return {part: keys for part, keys in parts.items() if keys}
