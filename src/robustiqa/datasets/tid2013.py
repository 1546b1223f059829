"""TID2013: 25 photographs spoiled in 24 ways at 5 levels, 3,000 in all, scores from comparisons by 971 people.

Source: N. Ponomarenko, L. Jin, O. Ieremeiev and others, Image database TID2013: peculiarities, results and
perspectives, Signal Processing: Image Communication 30, 2015.
Layout: `mos_with_names.txt` (score, then name) beside `distorted_images/`; letter case of names differs between list
and disk (`i25`, `I25`, `.bmp`, `.BMP`) and is set aside. TID2008 has the same layout with 17 ways and 4 levels, and
can't be told from a part of this one.
Scores: [0, 9], a point for each of nine comparisons won; higher is better.
Split: there is no official one. Here it goes by a hash of the reference: 18 references for training, 2 for
validation, 5 for test.
"""

from __future__ import annotations

import re
from pathlib import Path

from robustiqa.core.dataset import Dataset
from robustiqa.core.model import ScoreScale
from robustiqa.datasets.layout import Layout, Reference, open_layout

LAYOUT = Layout(
    name="tid2013",
    tables=("mos_with_names.txt",),
    folders=("distorted_images",),
    scale=ScoreScale(0.0, 9.0),
    list_columns=("mos", "image"),
    reference=Reference(re.compile(r"(i\d\d)_\d\d_\d\.bmp", re.IGNORECASE), "{}.bmp", "i01_01_1.bmp"),
)


def load_tid2013(root: str | Path) -> Dataset:
    """Opens the dataset.

    Args:
        root: The folder that holds `mos_with_names.txt` and `distorted_images`.

    Returns:
        The distorted photographs by the names of the list, split by reference.

    Raises:
        DataError: if a file is missing or a line is wrong.
    """
    return open_layout(LAYOUT, root)
