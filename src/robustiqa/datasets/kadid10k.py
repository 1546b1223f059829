"""KADID-10k: 81 photographs spoiled in 25 ways at 5 levels, 10,125 in all, scores of 2,209 people online.

Source: H. Lin, V. Hosu and D. Saupe, KADID-10k: a large-scale artificially distorted IQA database, QoMEX 2019.
Layout: `dmos.csv` with the columns `dist_img`, `ref_img`, `dmos` and `var`, beside `images/`, which holds the 81
references, too; they are not listed and not scored.
Scores: the column is called dmos and yet rises with quality: ratings of the degradation on a scale from 1 (very
annoying) to 5 (imperceptible).
Split: there is no official one. Here it goes by a hash of the reference: 55 references for training, 10 for
validation, 16 for test.
"""

from __future__ import annotations

from pathlib import Path

from robustiqa.core.dataset import Dataset
from robustiqa.core.model import ScoreScale
from robustiqa.datasets.layout import Layout, open_layout

LAYOUT = Layout(
    name="kadid10k",
    tables=("dmos.csv",),
    folders=("images",),
    scale=ScoreScale(1.0, 5.0),  # the rating scale; the mean scores run from 1 to 4.93
    image_column="dist_img",
    mos_column="dmos",
    group_column="ref_img",
)


def load_kadid10k(root: str | Path) -> Dataset:
    """Opens the dataset.

    Args:
        root: The folder that holds `dmos.csv` and `images`.

    Returns:
        The distorted photographs by file name, split by reference.

    Raises:
        DataError: if a file is missing or a line is wrong.
    """
    return open_layout(LAYOUT, root)
