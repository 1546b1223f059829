"""Photographs with opinion scores: public datasets, people's own folders, and a set made offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustiqa.core.errors import DataError, UnknownNameError
from robustiqa.core.registry import Registry, did_you_mean

if TYPE_CHECKING:
    from robustiqa.core.dataset import Dataset

__all__ = ["create_dataset", "datasets"]

datasets: Registry[Dataset] = Registry(
    "dataset",
    {
        "agiqa3k": "robustiqa.datasets.agiqa3k:load_agiqa3k",
        "bid": "robustiqa.datasets.bid:load_bid",
        "biq2021": "robustiqa.datasets.biq2021:load_biq2021",
        "builtin": "robustiqa.datasets.builtin:load_builtin",
        "csiq": "robustiqa.datasets.csiq:load_csiq",
        "csv_folder": "robustiqa.datasets.csv_folder:load_csv_folder",
        "flive": "robustiqa.datasets.flive:load_flive",
        "folder": "robustiqa.datasets.folder:load_folder",
        "kadid10k": "robustiqa.datasets.kadid10k:load_kadid10k",
        "koniq10k": "robustiqa.datasets.koniq10k:load_koniq10k",
        "live": "robustiqa.datasets.live:load_live",
        "livec": "robustiqa.datasets.livec:load_livec",
        "pipal": "robustiqa.datasets.pipal:load_pipal",
        "spaq": "robustiqa.datasets.spaq:load_spaq",
        "tid2013": "robustiqa.datasets.tid2013:load_tid2013",
    },
)

_ALIASES = {"csv": "csv_folder"}
_WITHOUT_PATH = frozenset({"builtin"})
_TELLTALES = {  # a folder that holds all of these is taken for this dataset
    ("Test (Images and MOS).csv",): "biq2021",
    ("Data/AllMOS_release.mat",): "livec",
    ("koniq10k_distributions_sets.csv",): "koniq10k",
    ("dmos.csv", "images/I01.png"): "kadid10k",
    ("csiq_label.txt",): "csiq",
    ("csiq.DMOS.csv",): "csiq",
    ("refnames_all.mat",): "live",
    ("Annotations/MOS and Image attribute scores.xlsx",): "spaq",
    ("Annotations/MOS and Image attribute scores.csv",): "spaq",
    ("DatabaseGrades.xlsx",): "bid",
    ("DatabaseGrades.csv",): "bid",
    ("database/labels_image.csv",): "flive",
    ("Train_Label",): "pipal",
    ("data.csv", "images/AttnGAN_normal_000.jpg"): "agiqa3k",
}


def create_dataset(spec: str, **options: Any) -> Dataset:
    """Opens a dataset by name and path; images are decoded only when they are read.

    A bare path is opened by what it holds: the files of a public dataset (TID2013 apart, whose files are named like
    TID2008's), a CSV file (`csv_folder`), or else just photographs (`folder`).

    Args:
        spec: `NAME:PATH` (`livec:PATH`, `koniq10k:PATH`, ...), `csv:PATH`, `folder:PATH`, `builtin`, or a bare path.
        options: Keyword arguments of the loader, such as `scale=(1, 5)` for `csv`.

    Returns:
        The dataset: photographs sorted by key, MOS on 0..100, and the parts of its split.

    Raises:
        UnknownNameError: if the spec begins with a name that no dataset has.
        InputError: if the dataset takes no such option.
        DataError: if the folder or its label file does not have the documented layout.
        MissingExtraError: if a label file is a workbook and openpyxl is not installed.
    """
    name, path = _parse(spec)
    if name in _WITHOUT_PATH:
        if path is not None:
            raise DataError(f"dataset {name!r} is made from a seed and takes no path, got {str(path)!r}; leave it out.")
        return datasets.create(name, **options)
    if path is None:
        raise DataError(f"dataset {name!r} needs its folder; write {name}:PATH.")
    return datasets.create(name, root=path, **options)


def _parse(spec: str) -> tuple[str, Path | None]:
    """The registry name and the path of a spec."""
    first, colon, rest = spec.partition(":")
    name = _ALIASES.get(first, first)
    if name in datasets:
        return name, Path(rest) if rest else None
    path = Path(spec)
    if path.exists():
        return _recognize(path), path
    if colon and len(first) > 1 and not set(first) & {"/", "\\"}:  # one letter may be a Windows drive
        hint = did_you_mean(first, datasets.names())
        raise UnknownNameError(f"unknown dataset {first!r}{hint} Known: {', '.join(datasets.names())}.")
    raise DataError(
        f"expected 'builtin', a spec such as 'csv:PATH' or an existing folder, got {spec!r}; check the path."
    )


def _recognize(path: Path) -> str:
    """The dataset whose layout lies at an existing path."""
    if path.is_file():
        return "csv_folder" if path.suffix.lower() == ".csv" else "folder"
    for telltales, name in _TELLTALES.items():
        if all((path / telltale).exists() for telltale in telltales):
            return name
    return "csv_folder" if any(child.suffix.lower() == ".csv" for child in path.iterdir()) else "folder"
