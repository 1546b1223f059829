"""FLIVE (LIVE-FB, the set of PaQ-2-PiQ): 39,810 photographs from the web, mean opinion scores of 7,865 people online.

Source: Z. Ying, H. Niu, P. Gupta, D. Mahajan, D. Ghadiyaram and A. Bovik, From patches to pictures (PaQ-2-PiQ):
mapping the perceptual space of picture quality, CVPR 2020.
Layout: `database/labels_image.csv` with the columns `name` and `mos`, names relative to `database/`; the patches
(`labels_patch.csv`) are not read.
Scores: [0, 100], higher is better; the mean scores run from 0 to 94.33.
Split: the official one. Test is `database/labels640.csv` (`name_image`), the photographs with a side above 640 pixels;
validation is where `is_valid` is true in `database/labels=640_padded.csv` (also spelled `labels<=640_padded.csv`),
everything else is for training. Names there that `labels_image.csv` does not list are passed over. The release marks
no scenes.
"""

from __future__ import annotations

from pathlib import Path

from robustiqa.core.dataset import Dataset
from robustiqa.core.errors import DataError
from robustiqa.core.model import ScoreScale
from robustiqa.datasets.labels import Row, read_table
from robustiqa.datasets.layout import Layout, assemble, find_table, read_rows

TEST_TABLES = ("database/labels640.csv", "database/labels>640.csv")
PADDED_TABLES = ("database/labels=640_padded.csv", "database/labels<=640_padded.csv")
LAYOUT = Layout(
    name="flive",
    tables=("database/labels_image.csv",),
    folders=("database",),
    scale=ScoreScale(0.0, 100.0),
    image_column="name",
)


def load_flive(root: str | Path) -> Dataset:
    """Opens the dataset.

    Args:
        root: The folder that holds `database`.

    Returns:
        Photographs by path below `database`, with the official parts.

    Raises:
        DataError: if a file is missing, a line is wrong, or the files of the split fit neither each other nor the
            labels.
    """
    root = Path(root)
    rows = read_rows(find_table(LAYOUT, root), LAYOUT)
    names = {row.text("name") for row in rows}
    test_table, padded_table = _split_table(root, TEST_TABLES), _split_table(root, PADDED_TABLES)
    test = _listed(read_table(test_table, ("name_image",)), names, test_table)
    padded = read_table(padded_table, ("name_image", "is_valid"))
    validation = _listed([row for row in padded if _is_valid(row)], names, padded_table)
    if test & validation:
        raise DataError(f"{padded_table} puts {min(test & validation)!r} into validation, but it is in test; drop one.")
    part_of = dict.fromkeys(test, "test") | dict.fromkeys(validation, "validation")
    return assemble(LAYOUT, root, rows, lambda key, _: part_of.get(key, "train"))


def _split_table(root: Path, spellings: tuple[str, ...]) -> Path:
    for spelling in spellings:
        if (root / spelling).is_file():
            return root / spelling
    raise DataError(f"expected {' or '.join(spellings)} in {root}, found none; the official split needs it.")


def _listed(rows: list[Row], names: set[str], table: Path) -> set[str]:
    found = {row.text("name_image") for row in rows} & names
    if not found:
        raise DataError(f"{table} names no photograph of labels_image.csv for its part; get intact label files.")
    return found


def _is_valid(row: Row) -> bool:
    word = row.text("is_valid").casefold()
    if word not in ("true", "false"):
        raise DataError(f"{row.path}, line {row.line}: is_valid must be True or False, got {word!r}.")
    return word == "true"
