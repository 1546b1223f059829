"""LIVE in the Wild Image Quality Challenge (LIVEC, CLIVE): 1,162 photographs with authentic distortions.

Source: D. Ghadiyaram and A. Bovik, Massive online crowdsourced study of subjective and objective picture
quality, IEEE Transactions on Image Processing 25(1), 2016.
Layout: `Images/*.{bmp,JPG}`, `Data/AllImages_release.mat` and `Data/AllMOS_release.mat`, 1,169 entries each; the
first seven trained the raters (`Images/trainingImages`) and are dropped, as everyone does.
The split is that of norm-regularization training (NT): 930 photographs and 232 test photographs, 123.bmp and
447.bmp of its demonstrations among the latter. It ships with the package as a hashed list of names.
Deviations: NT selects on its test part. Here a tenth of the 930, chosen by a hash of the name, is for validation;
`train` and `validation` together are NT's train part.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from importlib import resources
from pathlib import Path

from robustiqa.core.dataset import Dataset, Photo
from robustiqa.core.errors import DataError
from robustiqa.core.image_files import FileSource
from robustiqa.core.model import ScoreScale
from robustiqa.datasets.label_files import read_mat
from robustiqa.datasets.labels import FileFinder, to_mos
from robustiqa.datasets.splits import Parts, split_names

NAME = "livec"
SCALE = ScoreScale(3.42, 92.43195)  # least and greatest MOS of the 1,162, which NT's code maps to 0..100
COUNT, TRAINING_COUNT = 1162, 7
VALIDATION_SHARE = 0.1  # of NT's train part
SPLIT_FILE = "livec_nt_split.json"
SPLIT_SHA256 = "c53bd1896d4a93ad5ebfe3c64980492d68815aa0dc16ee42f9d9a7252b2f15a9"


def load_livec(root: str | Path) -> Dataset:
    """Opens the dataset in its official layout.

    Args:
        root: The folder that holds `Images` and `Data`.

    Returns:
        Photographs by file name, with the parts `train`, `validation` and `test`.

    Raises:
        DataError: if a file is missing or the tables are not those of the release.
    """
    root = Path(root)
    names = [str(name) for name in read_mat(root / "Data" / "AllImages_release.mat", "AllImages_release")]
    scores = [float(score) for score in read_mat(root / "Data" / "AllMOS_release.mat", "AllMOS_release")]
    if len(names) != COUNT + TRAINING_COUNT or len(scores) != len(names):
        raise DataError(
            f"expected {COUNT + TRAINING_COUNT} names and scores in {root / 'Data'}, found {len(names)} and "
            f"{len(scores)}; get the official release."
        )
    mos = dict(zip(names[TRAINING_COUNT:], scores[TRAINING_COUNT:], strict=True))
    images = FileFinder(root / "Images")
    photos = tuple(
        Photo(name, FileSource(images.find(name)), to_mos(mos[name], SCALE, f"{root}, {name}")) for name in sorted(mos)
    )
    return Dataset(NAME, photos, SCALE, nt_split(mos), root)


def nt_split(names: Collection[str]) -> Parts:
    """NT's split of the 1,162 names, a tenth of its train part set aside for validation.

    Raises:
        DataError: if the names are not those of the release, or the shipped list was changed.
    """
    content = resources.files("robustiqa.datasets").joinpath(SPLIT_FILE).read_bytes()
    if hashlib.sha256(content).hexdigest() != SPLIT_SHA256:
        raise DataError(f"the shipped file {SPLIT_FILE} was changed, its hash is another; reinstall robustiqa.")
    test = set(json.loads(content)["test"])
    unknown = sorted(test - set(names))
    if unknown:
        raise DataError(f"the test photograph {unknown[0]!r} is not in the label file; get the official release.")
    shares = {"train": 1 - VALIDATION_SHARE, "validation": VALIDATION_SHARE}
    rest = split_names({name: "" for name in names if name not in test}, shares, salt=NAME)
    return rest | {"test": tuple(sorted(test))}
