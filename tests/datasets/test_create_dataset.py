from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from robustiqa.core.errors import DataError, ImageFileError, InputError, UnknownNameError
from robustiqa.datasets import create_dataset, datasets
from tests.datasets.imitations import livec_names, make_biq2021, make_csv_folder, make_livec, put_photos
from tests.datasets.public_imitations import PUBLIC


def test_a_bare_path_is_opened_by_what_it_holds(tmp_path: Path) -> None:
    make_biq2021(tmp_path / "one", {"a (1).jpg": 0.5}, {"b (1).jpg": 0.5})
    make_livec(tmp_path / "two", livec_names(), [50.0] * 1162)
    make_csv_folder(tmp_path / "three", "image,mos\na.png,1\n", ["a.png"])
    put_photos(tmp_path / "four", ["a.png"])
    assert create_dataset(str(tmp_path / "one")) == create_dataset(f"biq2021:{tmp_path / 'one'}")
    assert create_dataset(str(tmp_path / "two")).name == "livec"
    by_name = create_dataset(f"csv:{tmp_path / 'three'}", scale=(0, 10))
    assert create_dataset(str(tmp_path / "three"), scale=(0, 10)) == by_name
    assert create_dataset(str(tmp_path / "three" / "labels.csv"), scale=(0, 10)) == by_name
    assert create_dataset(f"csv_folder:{tmp_path / 'three'}", scale=(0, 10)) == by_name
    assert not create_dataset(str(tmp_path / "four")).has_mos
    assert [photo.key for photo in create_dataset(str(tmp_path / "four" / "a.png"))] == ["a.png"]


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_bare_path_of_a_public_dataset_is_recognized_but_for_tid2013(name: str, tmp_path: Path) -> None:
    root = PUBLIC[name](tmp_path / "set")
    if name == "tid2013":  # TID2008's files are named alike: the name must be given
        with pytest.raises(ImageFileError, match="there are some below it"):
            create_dataset(str(root))
    else:
        assert create_dataset(str(root)) == create_dataset(f"{name}:{root}")


def test_a_path_may_hold_a_colon(tmp_path: Path) -> None:
    put_photos(tmp_path / "csv:odd", ["a.png"])
    put_photos(tmp_path / "odd:name", ["a.png"])
    assert len(create_dataset(f"folder:{tmp_path / 'csv:odd'}")) == 1
    assert len(create_dataset(str(tmp_path / "odd:name"))) == 1


def test_a_folder_of_photographs_has_neither_scores_nor_parts(tmp_path: Path) -> None:
    put_photos(tmp_path, ["b.png", "a.jpg", "below/c.png", "notes.txt"])
    dataset = create_dataset(f"folder:{tmp_path}")
    assert [photo.key for photo in dataset] == ["a.jpg", "b.png"]
    assert (dataset.mos_scale, dataset.parts, dataset.has_mos) == (None, {}, False)
    deeper = create_dataset(f"folder:{tmp_path}", recursive=True)
    assert [photo.key for photo in deeper] == ["a.jpg", "b.png", "below/c.png"]


def test_wrong_specs_are_refused_in_a_sentence(tmp_path: Path) -> None:
    known = ", ".join(datasets.names())
    with pytest.raises(UnknownNameError) as unknown:
        create_dataset("liev:x")
    assert str(unknown.value) == f"unknown dataset 'liev'; did you mean 'live'? Known: {known}."
    with pytest.raises(DataError) as nothing:
        create_dataset(str(tmp_path / "missing"))
    assert str(nothing.value) == (
        f"expected 'builtin', a spec such as 'csv:PATH' or an existing folder, got {str(tmp_path / 'missing')!r}; "
        "check the path."
    )
    with pytest.raises(DataError, match="got 'C:/photos'; check the path"):  # a Windows drive, not a dataset
        create_dataset("C:/photos")
    with pytest.raises(DataError, match="got 'D:'; check the path"):
        create_dataset("D:")
    with pytest.raises(DataError) as without_path:
        create_dataset("livec")
    assert str(without_path.value) == "dataset 'livec' needs its folder; write livec:PATH."
    with pytest.raises(DataError) as with_path:
        create_dataset("builtin:x")
    assert str(with_path.value) == "dataset 'builtin' is made from a seed and takes no path, got 'x'; leave it out."
    with pytest.raises(InputError) as option:
        create_dataset("builtin", scene=3)
    assert str(option.value) == (
        "dataset 'builtin' has no option 'scene'; did you mean 'scenes'? Options: scenes, size, seed."
    )
    with pytest.raises(ImageFileError, match="found none; looked for"):
        create_dataset(f"folder:{tmp_path}")


def test_the_room_is_imported_without_torch() -> None:
    code = "import sys, robustiqa.datasets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
