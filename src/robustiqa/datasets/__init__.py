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
        "biq2021": "robustiqa.datasets.biq2021:load_biq2021",
        "builtin": "robustiqa.datasets.builtin:load_builtin",
        "csv_folder": "robustiqa.datasets.csv_folder:load_csv_folder",
        "folder": "robustiqa.datasets.folder:load_folder",
        "livec": "robustiqa.datasets.livec:load_livec",
    },
)

_ALIASES = {"csv": "csv_folder"}
_WITHOUT_PATH = frozenset({"builtin"})
_TELLTALE_FILES = {  # a folder that holds this file is taken for this dataset
    "Test (Images and MOS).csv": "biq2021",
    "Data/AllMOS_release.mat": "livec",
}


def create_dataset(spec: str, **options: Any) -> Dataset:
    """Opens a dataset by name and path; images are decoded only when they are read.

    A bare path is opened by what it holds: the files of BIQ2021 or LIVE in the Wild, a CSV file
    (`csv_folder`), or else just photographs (`folder`).

    Args:
        spec: `biq2021:PATH`, `livec:PATH`, `csv:PATH`, `folder:PATH`, `builtin`, or a bare path.
        options: Keyword arguments of the loader, such as `scale=(1, 5)` for `csv`.

    Returns:
        The dataset: photographs sorted by key, MOS on 0..100, and the parts of its split.

    Raises:
        UnknownNameError: if the spec begins with a name that no dataset has.
        InputError: if the dataset takes no such option.
        DataError: if the folder or its label file does not have the documented layout.
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
    for telltale, name in _TELLTALE_FILES.items():
        if (path / telltale).is_file():
            return name
    return "csv_folder" if any(child.suffix.lower() == ".csv" for child in path.iterdir()) else "folder"
