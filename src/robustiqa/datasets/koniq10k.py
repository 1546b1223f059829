"""KonIQ-10k: 10,073 photographs with authentic distortions, mean opinion scores of 1,459 people online.

Source: V. Hosu, H. Lin, T. Sziranyi and D. Saupe, KonIQ-10k: an ecologically valid database for deep learning of
blind image quality assessment, IEEE Transactions on Image Processing 29, 2020.
Layout: `koniq10k_distributions_sets.csv` with the columns `image_name`, `MOS` and `set`, beside `1024x768/` or
`512x384/`, the same photographs at half the size.
Scores: `MOS` of this file, from 3.912 to 88.389 in the release, rises with quality; it was computed from z-scores and
is used as it stands, as published training code does. Whether its authors put it on [0, 100] or on [1, 100] could not
be established; the two differ by one point at most. The release's other file,
`koniq10k_scores_and_distributions.csv`, has another `MOS` (on 1..5) and no split, and is not read.
Split: the official one, 7,058 training, 1,000 validation and 2,015 test photographs. There are no scene groups.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from robustiqa.core.dataset import Dataset
from robustiqa.core.errors import DataError
from robustiqa.core.model import ScoreScale
from robustiqa.datasets.layout import Layout, open_layout

SIZES = ("1024x768", "512x384")
LAYOUT = Layout(
    name="koniq10k",
    tables=("koniq10k_distributions_sets.csv",),
    folders=SIZES[:1],
    scale=ScoreScale(0.0, 100.0),
    image_column="image_name",
    mos_column="MOS",
    split_column="set",
)


def load_koniq10k(root: str | Path, size: str = SIZES[0]) -> Dataset:
    """Opens the dataset.

    Args:
        root: The folder that holds the CSV file and the folder of photographs.
        size: `1024x768`, the size that was rated, or `512x384`.

    Returns:
        Photographs by file name, with the official parts.

    Raises:
        DataError: if the size is another, a file is missing or a line is wrong.
    """
    if size not in SIZES:
        raise DataError(f"size must be {' or '.join(SIZES)}, got {size!r}.")
    return open_layout(replace(LAYOUT, folders=(size,)), root)
