"""SPAQ: 11,125 photographs by 66 smartphones, mean opinion scores of more than 600 people in a laboratory.

Source: Y. Fang, H. Zhu, Y. Zeng, K. Ma and Z. Wang, Perceptual quality assessment of smartphone photography,
CVPR 2020.
Layout: `Annotations/MOS and Image attribute scores.xlsx` with the columns `Image name` and `MOS`, and `TestImage/`.
Reading the workbook needs openpyxl (the extra `xlsx`); its first sheet saved as a CSV file of the same name does not.
Scores: [0, 100], higher is better.
Split: there is no official one. Here it goes by a hash of the name. Scenes that were taken by several phones are not
marked in the release, so both sides may show one.
"""

from __future__ import annotations

from pathlib import Path

from robustiqa.core.dataset import Dataset
from robustiqa.core.model import ScoreScale
from robustiqa.datasets.layout import Layout, open_layout

TABLE = "Annotations/MOS and Image attribute scores"
LAYOUT = Layout(
    name="spaq",
    tables=(f"{TABLE}.csv", f"{TABLE}.xlsx"),
    folders=("TestImage",),
    scale=ScoreScale(0.0, 100.0),
    image_column="Image name",
    mos_column="MOS",
)


def load_spaq(root: str | Path) -> Dataset:
    """Opens the dataset.

    Args:
        root: The folder that holds `Annotations` and `TestImage`.

    Returns:
        Photographs by file name, split by a hash of it.

    Raises:
        DataError: if a file is missing or a line is wrong.
        MissingExtraError: if only the workbook is there and openpyxl is not installed.
    """
    return open_layout(LAYOUT, root)
