"""AGIQA-3K: 2,982 pictures that six generators made of 300 texts, mean opinion scores on 0..5 of 21 people.

Source: C. Li, Z. Zhang, H. Wu and others, AGIQA-3K: an open database for AI-generated image quality assessment,
IEEE Transactions on Circuits and Systems for Video Technology 34(8), 2024.
Layout: `data.csv` with the columns `name`, `prompt` and `mos_quality`, beside `images/`; pictures beside the table do,
too. How well a picture fits its text (`mos_align`) is not read.
Scores: [0, 5], higher is better; the interval is the rating scale of the paper, and only a part of the table could be
compared with it.
Split: there is no official one. Here it goes by a hash of the text, so that no text is on two sides.
"""

from __future__ import annotations

from pathlib import Path

from robustiqa.core.dataset import Dataset
from robustiqa.core.model import ScoreScale
from robustiqa.datasets.layout import Layout, open_layout

LAYOUT = Layout(
    name="agiqa3k",
    tables=("data.csv",),
    folders=("images", "."),
    scale=ScoreScale(0.0, 5.0),
    image_column="name",
    mos_column="mos_quality",
    group_column="prompt",
)


def load_agiqa3k(root: str | Path) -> Dataset:
    """Opens the dataset.

    Args:
        root: The folder that holds `data.csv` and `images`.

    Returns:
        Pictures by file name, split by the text they were made of.

    Raises:
        DataError: if a file is missing or a line is wrong.
    """
    return open_layout(LAYOUT, root)
