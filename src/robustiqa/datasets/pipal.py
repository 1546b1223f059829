"""PIPAL: 250 patches, distorted or restored by 40 methods, up to 116 of each, Elo scores from comparisons by people.

Source: J. Gu, H. Cai, H. Chen, X. Ye, J. Ren and C. Dong, PIPAL: a large-scale image quality assessment dataset for
perceptual image restoration, ECCV 2020; the parts are those of the NTIRE 2021 challenge.
Layout: `Train_Label/*.txt` (name, then score), one file a reference, with the photographs in `Distortion_1/` to
`Distortion_4/`, `Train_Dist/` or `Dist_Imgs/`; and, where it is there, the validation part: `Val_Label/*.txt` or
`pipal21_val.txt`, with the photographs in `Val_Distort/` or `Val_Dist/`. How the validation part is laid out was taken
from public code, not from the release.
Scores: Elo, higher is better. Elo has no ends of its own, so those of the labeled parts serve: 916.7 to 1836.0 in the
200 references for training, 868.3 to 1857.0 in the 25 for validation. The test part's scores are not read: their
range could not be established.
Split: with the validation part, the official one: `train` and `validation`, no `test`. Without it, a hash of the
reference makes three parts, with about 70, 10 and 20 % of the references.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from robustiqa.core.dataset import Dataset
from robustiqa.core.errors import DataError
from robustiqa.core.model import ScoreScale
from robustiqa.datasets.labels import Row
from robustiqa.datasets.layout import Layout, Reference, assemble, read_rows

TRAIN_LABELS = ("Train_Label/*.txt",)
TRAIN_FOLDERS = ("Distortion_*", "Train_Dist", "Train_Dist/Distortion_*", "Dist_Imgs")
VALIDATION_LABELS = ("Val_Label/*.txt", "pipal21_val.txt")
VALIDATION_FOLDERS = ("Val_Distort", "Val_Dist")
LAYOUT = Layout(
    name="pipal",
    tables=(),
    folders=TRAIN_FOLDERS,
    scale=ScoreScale(868.3, 1857.0),
    list_columns=("image", "mos"),
    reference=Reference(re.compile(r"(A\d+)_\d+_\d+\.bmp", re.IGNORECASE), "{}.bmp", "A0001_00_00.bmp"),
)


def load_pipal(root: str | Path) -> Dataset:
    """Opens the training part, and the validation part where its labels are there.

    Args:
        root: The folder that holds `Train_Label` and the folders of distorted photographs.

    Returns:
        The distorted photographs by file name, split by reference.

    Raises:
        DataError: if a file is missing, a line is wrong, or a reference is in both parts.
    """
    root = Path(root)
    train, validation = _rows(root, TRAIN_LABELS), _rows(root, VALIDATION_LABELS)
    if not train:
        raise DataError(
            f"expected label files {TRAIN_LABELS[0]} in {root}, found none; check that the folder is the dataset's own."
        )
    if not validation:
        return assemble(LAYOUT, root, train)
    held_out = {row.path for row in validation}
    layout = replace(LAYOUT, folders=TRAIN_FOLDERS + VALIDATION_FOLDERS)
    return assemble(layout, root, train + validation, lambda _, row: "validation" if row.path in held_out else "train")


def _rows(root: Path, patterns: tuple[str, ...]) -> list[Row]:
    """The lines of the label files of the first pattern that there are any of."""
    for pattern in patterns:
        if tables := sorted(root.glob(pattern)):
            return [row for table in tables for row in read_rows(table, LAYOUT)]
    return []
