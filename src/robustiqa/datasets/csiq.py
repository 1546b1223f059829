"""CSIQ: 30 photographs spoiled in 6 ways at up to 5 levels, 866 in all, difference scores of 35 people in a laboratory.

Source: E. Larson and D. Chandler, Most apparent distortion: full-reference image quality assessment and the role of
strategy, Journal of Electronic Imaging 19(1), 2010.
Layout: the release keeps its scores in a workbook, `csiq.DMOS.xlsx`, which is not read. In its place: `csiq_label.txt`
(name, then score), as several public repositories ship it, or `csiq.DMOS.csv`, the workbook's sheet `all_by_image`
saved as CSV, the line with `image`, `dst_type`, `dst_lev` and `dmos` first. Photographs lie in `dst_imgs/*/`, as
released, or in `dst_imgs_all/`.
Scores: DMOS in [0, 1], which fall with quality and are turned round.
Split: there is no official one. Here it goes by a hash of the reference: 21 references for training, 4 for
validation, 5 for test.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from robustiqa.core.dataset import Dataset
from robustiqa.core.errors import DataError
from robustiqa.core.model import ScoreScale
from robustiqa.datasets.labels import Row
from robustiqa.datasets.layout import Layout, Reference, assemble, find_table, read_rows

LAYOUT = Layout(
    name="csiq",
    tables=("csiq_label.txt", "csiq.DMOS.csv"),
    folders=("dst_imgs_all", "dst_imgs/*"),
    scale=ScoreScale(0.0, 1.0),
    rising=False,
    mos_column="dmos",
    list_columns=("image", "dmos"),
    reference=Reference(re.compile(r"(\w+)\.\w+\.\d\.png", re.IGNORECASE), "{}.png", "1600.AWGN.1.png"),
    hint="save the sheet all_by_image of csiq.DMOS.xlsx as csiq.DMOS.csv, its header line first",
)
_WORD_IN_NAME = {  # dst_type of the workbook to what stands in file names
    "noise": "AWGN",
    "blur": "BLUR",
    "contrast": "contrast",
    "fnoise": "fnoise",
    "jpeg": "JPEG",
    "jpeg 2000": "jpeg2000",
}


def load_csiq(root: str | Path) -> Dataset:
    """Opens the dataset.

    Args:
        root: The folder that holds the list or table of scores and the folders of distorted photographs.

    Returns:
        The distorted photographs by file name, split by reference.

    Raises:
        DataError: if a file is missing or a line is wrong.
    """
    root = Path(root)
    table = find_table(LAYOUT, root)
    rows = read_rows(table, LAYOUT)
    return assemble(LAYOUT, root, [_named(row) for row in rows] if table.suffix == ".csv" else rows)


def _named(row: Row) -> Row:
    """A line of the workbook's sheet with the file name in place of the reference's name."""
    word = row.text("dst_type")
    if word not in _WORD_IN_NAME:
        raise DataError(
            f"{row.path}, line {row.line}: dst_type must be one of {', '.join(_WORD_IN_NAME)}, got {word!r}."
        )
    name = f"{row.text('image')}.{_WORD_IN_NAME[word]}.{row.number('dst_lev'):g}.png"
    return replace(row, cells=row.cells | {"image": name})
