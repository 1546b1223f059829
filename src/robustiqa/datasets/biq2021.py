"""BIQ2021: 12,000 photographs with authentic distortions, mean opinion scores of 30 raters in a laboratory.

Source: N. Ahmed and S. Asif, BIQ2021: a large-scale blind image quality assessment database,
Journal of Electronic Imaging 31(5), 2022.
Layout: `Images/`, `Train (Images and MOS).csv` (10,000 lines), `Test (Images and MOS).csv` (2,000 lines),
both with the columns `Image Name` and `MOS`; the first has two empty columns more. A subset keeps the layout
and may add `splits.json` (`train`, `validation`, `test` to names).
Deviations: the official split has no validation part and puts photographs of one scene on both sides. The
test part stays as published, so that results compare; validation is cut from the official train part by whole
runs of numbers, because the series of one scene are numbered in a row. Where there is a `splits.json`, it
decides.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from robustiqa.core.dataset import Dataset, Photo
from robustiqa.core.errors import DataError
from robustiqa.core.image_files import FileSource
from robustiqa.core.model import ScoreScale
from robustiqa.datasets.labels import FileFinder, Row, read_table, to_mos
from robustiqa.datasets.splits import Parts, split_names

NAME = "biq2021"
SCALE = ScoreScale(0.0, 1.0)  # Ahmed and Asif 2022: ratings are averaged and normalized to [0, 1]
TRAIN_TABLE = "Train (Images and MOS).csv"
TEST_TABLE = "Test (Images and MOS).csv"
VALIDATION_SHARE = 0.1  # of the official train part
RUN_LENGTH = 100  # numbers to a run: long against an exposure series, so that few series cross a border

_NUMBERED = re.compile(r"(?P<session>.*)\((?P<number>\d+)\)")


def load_biq2021(root: str | Path) -> Dataset:
    """Opens the dataset, whole or a subset in its layout.

    Args:
        root: The folder that holds `Images` and the two CSV files.

    Returns:
        Photographs by the names of the CSV files, with the parts `train`, `validation` and `test`.

    Raises:
        DataError: if a file is missing or a label is not a number in [0, 1].
    """
    root = Path(root)
    images = FileFinder(root / "Images")
    tables = {part: _read(root / table) for part, table in (("train", TRAIN_TABLE), ("test", TEST_TABLE))}
    rows: dict[str, Row] = {}
    for table in tables.values():
        for name, row in table.items():
            if name in rows:
                raise DataError(f"{row.path}, line {row.line}: {name!r} is in {rows[name].path.name}, too; drop one.")
            rows[name] = row
    photos = tuple(
        Photo(
            name,
            FileSource(images.find(name)),
            to_mos(row.number("MOS"), SCALE, f"{row.path}, line {row.line}"),
        )
        for name, row in sorted(rows.items())
    )
    split_file = root / "splits.json"
    parts = _given_parts(split_file, rows) if split_file.exists() else _own_parts(tables["train"], tables["test"])
    return Dataset(NAME, photos, SCALE, parts, root)


def _read(path: Path) -> dict[str, Row]:
    table: dict[str, Row] = {}
    for row in read_table(path, required=("Image Name", "MOS")):
        name = row.text("Image Name")
        if name in table:
            raise DataError(f"{path}, line {row.line}: {name!r} is listed twice; drop one.")
        table[name] = row
    return table


def _own_parts(train: dict[str, Row], test: dict[str, Row]) -> Parts:
    shares = {"train": 1 - VALIDATION_SHARE, "validation": VALIDATION_SHARE}
    return split_names({name: number_run(name) for name in train}, shares, salt=NAME) | {"test": tuple(sorted(test))}


def number_run(name: str) -> str:
    """The run of neighboring numbers that `ss03 (3753).jpg` is in; a name of another form stands alone."""
    found = _NUMBERED.match(name)
    return f"{found['session'].strip()} {int(found['number']) // RUN_LENGTH}" if found else name


def _given_parts(path: Path, rows: dict[str, Row]) -> Parts:
    """The parts of a `splits.json`: disjoint, and of listed photographs only."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); get an intact copy or remove it.") from None
    parts: Parts = {}
    seen: set[str] = set()
    for part in ("train", "validation", "test"):
        names = content.get(part) if isinstance(content, dict) else None
        if not isinstance(names, list):
            raise DataError(f"{path} must map train, validation and test to lists of names; {part!r} is missing.")
        unknown = [name for name in names if name not in rows]
        if unknown:
            raise DataError(f"{path} puts {unknown[0]!r} into {part}, but no CSV file lists it; correct the name.")
        if seen & set(names):
            raise DataError(f"{path} puts {min(seen & set(names))!r} into two parts; a split must be disjoint.")
        seen |= set(names)
        parts[part] = tuple(sorted(names))
    return parts
