"""LIVE (Release 2): 29 photographs spoiled in 5 ways, 779 in all, difference scores of 20 to 29 people each.

Source: H. Sheikh, M. Sabir and A. Bovik, A statistical evaluation of recent full reference image quality assessment
algorithms, IEEE Transactions on Image Processing 15(11), 2006.
Layout: `jp2k/`, `jpeg/`, `wn/`, `gblur/` and `fastfading/` with `img1.bmp`, `img2.bmp`, ..., 982 in all, beside
`dmos.mat` (`dmos` and `orgs`) and `refnames_all.mat`, which list them in that order. Where `orgs` is 1 the file is a
copy of a reference: 203 of them, with the score 0, are left out. The folders' `info.txt` (source, name,
strength) is not read.
Scores: DMOS, which fall with quality and are turned round. Those of `dmos.mat` are on [1, 100] (the release's readme),
each kind of distortion rated in a session of its own. `dmos_realigned.mat` (`dmos_new`) brings the sessions to one
scale; no interval is published for it, so the ends of the release serve, as they do in the literature.
Split: there is no official one. Here it goes by a hash of the reference: 17 references for training, 4 for
validation, 8 for test.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from robustiqa.core.dataset import Dataset
from robustiqa.core.errors import DataError
from robustiqa.core.model import ScoreScale
from robustiqa.datasets.label_files import read_mat
from robustiqa.datasets.labels import Row
from robustiqa.datasets.layout import Layout, assemble

COUNTS = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}
REALIGNED_SCALE = ScoreScale(-2.640015, 111.774694)  # dmos_new of jpeg/img57.bmp and of wn/img20.bmp
LAYOUT = Layout(
    name="live",
    tables=("dmos.mat",),
    folders=(".",),
    scale=ScoreScale(1.0, 100.0),
    rising=False,
    mos_column="dmos",
    group_column="reference",
)


def load_live(root: str | Path, realigned: bool = False) -> Dataset:
    """Opens the dataset.

    Args:
        root: The folder that holds the MATLAB files and the five folders of photographs.
        realigned: Whether to take the scores of `dmos_realigned.mat`.

    Returns:
        The distorted photographs by folder and file name, split by reference.

    Raises:
        DataError: if a file is missing or the label files are not those of the release.
    """
    root = Path(root)
    table, variable = ("dmos_realigned.mat", "dmos_new") if realigned else ("dmos.mat", "dmos")
    names = [f"{folder}/img{number}.bmp" for folder, count in COUNTS.items() for number in range(1, count + 1)]
    columns = {
        variable: read_mat(root / table, variable),
        "orgs": read_mat(root / table, "orgs"),
        "refnames_all": read_mat(root / "refnames_all.mat", "refnames_all"),
    }
    for column, entries in columns.items():
        if len(entries) != len(names):
            raise DataError(
                f"expected {len(names)} entries in {column} of {root}, found {len(entries)}; get the official release."
            )
    rows = [
        Row({"image": name, "dmos": str(score), "reference": str(reference)}, root / table, entry)
        for entry, (name, score, copied, reference) in enumerate(zip(names, *columns.values(), strict=True), start=1)
        if not copied
    ]
    return assemble(replace(LAYOUT, scale=REALIGNED_SCALE) if realigned else LAYOUT, root, rows)
