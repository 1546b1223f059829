"""Any folder of photographs plus a CSV file: the way people bring their own scores.

The CSV file has a header line and one line a photograph. Its columns are found by name (letter case, spaces,
hyphens and underscores set aside), or named by an option:

    photograph   image, image name, img, file, file name, name, path, dist img
    score        mos, dmos, score, quality, mean opinion score
    part         split, set, part         (train, validation or test; optional)
    scene        group, scene, reference, ref, ref img         (never cut by a split; optional)

The scale of the scores is never guessed from the sample: it is an option, or `mos_scale = [LOW, HIGH]` in a file
`dataset.toml` beside the CSV file, which may also hold `higher_is_better`, `image_column` and `mos_column`.
A column called dmos is taken to fall with quality, every other to rise; `higher_is_better` overrules that
(KADID-10k's rises in spite of its name).
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robustiqa.core.dataset import TARGET_SCALE, Dataset, Photo
from robustiqa.core.errors import DataError
from robustiqa.core.image_files import FileSource
from robustiqa.core.model import ScoreScale
from robustiqa.datasets.labels import FileFinder, Row, read_table, to_mos
from robustiqa.datasets.splits import Parts, split_photos

IMAGE_COLUMNS = ("image", "imagename", "img", "imgname", "file", "filename", "name", "path", "imagepath", "distimg")
MOS_COLUMNS = ("mos", "dmos", "score", "quality", "meanopinionscore")
SPLIT_COLUMNS = ("split", "set", "part")
GROUP_COLUMNS = ("group", "scene", "reference", "ref", "refimg")
SIDE_FILE = "dataset.toml"


@dataclass(frozen=True)
class Layout:
    """What the options and `dataset.toml` say of the table; None where they say nothing."""

    image_column: str | None = None
    mos_column: str | None = None
    mos_scale: ScoreScale | None = None
    higher_is_better: bool | None = None


def load_csv_folder(
    root: str | Path,
    *,
    scale: Sequence[float] | None = None,
    image_column: str | None = None,
    mos_column: str | None = None,
    higher_is_better: bool | None = None,
) -> Dataset:
    """Opens a folder with one CSV file, or a CSV file beside its photographs.

    Args:
        root: The folder, or the CSV file. Names in it are relative to its folder, or to `images` in there.
        scale: The interval (low, high) of the published scores.
        image_column: Header of the column with file names.
        mos_column: Header of the column with scores.
        higher_is_better: False turns the scores round.

    Returns:
        Photographs by the names of the CSV file, with the parts it gives them; without a split column, parts by
        a hash of the scene or the name: 70 % train, 10 % validation, 20 % test.

    Raises:
        DataError: if a column or the scale is missing, a line is wrong, or a photograph is not there.
    """
    table = _table_in(Path(root))
    layout = _side_file(table.parent / SIDE_FILE)
    given = Layout(image_column, mos_column, _to_scale(scale, "the option scale"), higher_is_better)
    layout = replace(layout, **{name: value for name, value in vars(given).items() if value is not None})
    rows = read_table(table)
    header = list(dict.fromkeys(name for row in rows for name in row.cells))
    images = _column(header, IMAGE_COLUMNS, layout.image_column, table, "image")
    scores = _column(header, MOS_COLUMNS, layout.mos_column, table, "mos")
    groups = _optional_column(header, GROUP_COLUMNS)
    mos_scale = layout.mos_scale or _refuse_to_guess(rows, scores, table)
    rising = layout.higher_is_better
    if rising is None:
        rising = _plain(scores) != "dmos"
    finder = FileFinder(table.parent, ("", "images"))
    photos: dict[str, Photo] = {}
    for row in rows:
        key = row.text(images).replace("\\", "/")
        if key in photos:
            raise DataError(f"{table}, line {row.line}: {key!r} is listed twice; drop one of the lines.")
        mos = to_mos(row.number(scores), mos_scale, f"{table}, line {row.line}")
        group = row.cells.get(groups, "") if groups else ""
        photos[key] = Photo(key, FileSource(finder.find(key)), mos if rising else TARGET_SCALE.high - mos, group)
    ordered = tuple(photos[key] for key in sorted(photos))
    split = _optional_column(header, SPLIT_COLUMNS)
    parts = _given_parts(rows, images, split) if split else split_photos(ordered)
    return Dataset(table.parent.resolve().name, ordered, mos_scale, parts, table.parent)


def _table_in(root: Path) -> Path:
    if not root.is_dir():
        return root
    tables = sorted(path for path in root.iterdir() if path.suffix.lower() == ".csv" and path.name[0] != ".")
    if len(tables) != 1:
        came = "none" if not tables else f"{len(tables)} ({', '.join(path.name for path in tables[:3])}, ...)"
        raise DataError(f"expected one CSV file in {root}, found {came}; name it: csv:{root / 'NAME.csv'}.")
    return tables[0]


def _side_file(path: Path) -> Layout:
    if not path.is_file():
        return Layout()
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not TOML ({error}); correct it.") from None
    expected = {"image_column": str, "mos_column": str, "mos_scale": list, "higher_is_better": bool}
    for name, value in content.items():
        if name not in expected:
            raise DataError(f"{path} has the unknown entry {name!r}; known are: {', '.join(expected)}.")
        if not isinstance(value, expected[name]):
            raise DataError(f"{path}: {name} must be a {expected[name].__name__}, got {value!r}.")
    return Layout(**(content | {"mos_scale": _to_scale(content.get("mos_scale"), f"mos_scale in {path}")}))


def _to_scale(pair: Sequence[float] | None, where: str) -> ScoreScale | None:
    if pair is None:
        return None
    try:
        low, high = (float(end) for end in pair)
    except (TypeError, ValueError):
        raise DataError(f"{where} must be two numbers, low and high, got {pair!r}.") from None
    if not low < high:
        raise DataError(f"{where} must have low < high, got [{low:g}, {high:g}].")
    return ScoreScale(low, high)


def _plain(header: str) -> str:
    return "".join(letter for letter in header.casefold() if letter.isalnum())


def _column(header: list[str], known: tuple[str, ...], named: str | None, table: Path, kind: str) -> str:
    has = ", ".join(header)
    if named is not None:
        if named not in header:
            raise DataError(f"{table} has no column {named!r}; it has: {has}.")
        return named
    found = [name for name in header if _plain(name) in known]
    if len(found) == 1:
        return found[0]
    came = f"several that could be it ({', '.join(found)})" if found else f"none of {', '.join(known)}"
    raise DataError(f"expected one {kind} column in {table}, found {came}; give {kind}_column, one of: {has}.")


def _optional_column(header: list[str], known: tuple[str, ...]) -> str | None:
    return next((name for wish in known for name in header if _plain(name) == wish), None)


def _refuse_to_guess(rows: list[Row], column: str, table: Path) -> ScoreScale:
    scores = [row.number(column) for row in rows]
    raise DataError(
        f"the scores in {table} run from {min(scores):g} to {max(scores):g}, on a scale that it does not name; "
        f"give scale=LOW,HIGH (--data-option scale=1,5), or write mos_scale = [LOW, HIGH] into {SIDE_FILE} beside it."
    )


def _given_parts(rows: list[Row], images: str, split: str) -> Parts:
    parts: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for row in rows:
        parts[row.part(split)].append(row.text(images).replace("\\", "/"))
    return {part: tuple(sorted(keys)) for part, keys in parts.items() if keys}
