"""What all published datasets share: the table that is read, the map of scores, groups, parts and refusals."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from robustiqa.core.errors import DataError
from robustiqa.core.model import ScoreScale
from robustiqa.datasets.layout import Layout, Reference, open_layout
from tests.datasets.public_imitations import put_pictures, write_lines

RISING = Layout("toy", ("labels.csv", "labels.txt"), ("photos", "more/*"), ScoreScale(1.0, 5.0))
LISTED = Layout(
    "toy",
    ("labels.txt",),
    ("photos",),
    ScoreScale(0.0, 1.0),
    rising=False,
    list_columns=("image", "mos"),
    reference=Reference(re.compile(r"(r\d)_\d\.png", re.IGNORECASE), "{}.png", "r1_2.png"),
)
SPLIT = Layout("toy", ("labels.csv",), ("photos",), ScoreScale(1.0, 5.0), group_column="scene", split_column="set")


def toy(root: Path, *lines: str, table: str = "labels.csv") -> Path:
    """A table, and `a.png`, `b.png` and four pictures of two references."""
    put_pictures(root / "photos", ["a.png", "b.png", "r1_1.png", "R1_2.PNG", "r2_1.png", "r2_2.png"])
    return write_lines(root / table, lines)


def refusal(layout: Layout, root: Path) -> str:
    with pytest.raises(DataError) as caught:
        open_layout(layout, root)
    return str(caught.value)


def test_rising_scores_are_stretched_and_falling_ones_turned_round(tmp_path: Path) -> None:
    toy(tmp_path, "image,mos", "a.png,1", "b.png,4")
    assert {photo.key: photo.mos for photo in open_layout(RISING, tmp_path)} == {"a.png": 0, "b.png": 75}
    toy(tmp_path, "r1_1.png 0", "r2_1.png, 0.25", "r2_2.png\t1", table="labels.txt")
    falling = open_layout(LISTED, tmp_path)
    assert {photo.key: photo.mos for photo in falling} == {"r1_1.png": 100, "r2_1.png": 75, "r2_2.png": 0}
    assert falling.mos_scale == ScoreScale(0.0, 1.0)


def test_the_first_table_that_is_there_is_read_and_every_folder_is_looked_into(tmp_path: Path) -> None:
    toy(tmp_path, "image,mos", "a.png,1", "c.png,5")
    write_lines(tmp_path / "labels.txt", ["not read"])
    put_pictures(tmp_path / "more" / "deep", ["c.png"])
    assert [photo.key for photo in open_layout(RISING, tmp_path)] == ["a.png", "c.png"]


def test_letter_case_is_set_aside_in_names_and_references(tmp_path: Path) -> None:
    toy(tmp_path, "R1_1.png 0", "r1_2.png 0", "r2_1.png 0", table="labels.txt")
    dataset = open_layout(LISTED, tmp_path)
    assert {photo.key: photo.group for photo in dataset} == {
        "R1_1.png": "r1.png",
        "r1_2.png": "r1.png",
        "r2_1.png": "r2.png",
    }
    assert all(photo.read().shape == (3, 6, 8) for photo in dataset)


def test_the_official_split_is_kept(tmp_path: Path) -> None:
    toy(
        tmp_path,
        "image,mos,scene,set",
        "b.png,1,x,training",
        "a.png,1,x,Train",
        "r1_1.png,2,y,val",
        "r2_1.png,2,z,TEST",
    )
    assert open_layout(SPLIT, tmp_path).parts == {
        "train": ("a.png", "b.png"),
        "validation": ("r1_1.png",),
        "test": ("r2_1.png",),
    }


def test_an_official_split_that_cuts_a_group_is_refused(tmp_path: Path) -> None:
    toy(tmp_path, "image,mos,scene,set", "b.png,1,X,training", "a.png,1,x,test")
    assert refusal(SPLIT, tmp_path) == (
        "the official split puts a.png into test and b.png into train, though they share x; get intact label files."
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["image,score", "a.png,1"], "{table} lacks the column 'mos'; it has: image, score."),
        (["image,mos"], "{table} lists no photographs; it needs a header line and one line a photograph."),
        (["image,mos", "a.png,good"], "{table}, line 2: expected a number in 'mos', got 'good'; correct it."),
        (["image,mos", "a.png,nan"], "{table}, line 2: expected a number in 'mos', got 'nan'; correct it."),
        (["image,mos", "b.png,1", "a.png,"], "{table}, line 3: column 'mos' is empty; fill it or drop the line."),
        (
            ["image,mos", "b.png,1", "a.png,5.1"],
            "{table}, line 3: the score 5.1 lies outside the scale [1, 5]; check the scale and the label.",
        ),
        (
            ["image,mos", "a.png,1", "b.png,1", "A.PNG,2"],
            "{table}, line 4: 'A.PNG' is listed in labels.csv, line 2, too; drop one.",
        ),
        (
            ["image,mos", "a.png,1,1"],
            "{table}, line 2: expected at most 2 cells, got 3; put texts that hold a comma into quotes.",
        ),
        (
            ["image,mos", "none.png,1"],
            "expected the photograph {root}/photos/none.png, found nothing; the dataset is not complete.",
        ),
    ],
)
def test_a_wrong_table_is_refused_in_a_sentence(tmp_path: Path, lines: list[str], message: str) -> None:
    table = toy(tmp_path, *lines)
    assert refusal(RISING, tmp_path) == message.format(table=table, root=tmp_path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["r1_1.png 0", "r1_2.png"], "{table}, line 2: expected 2 entries (image, mos), got 1; correct the line."),
        (["r1_1.png 0 1"], "{table}, line 1: expected 2 entries (image, mos), got 3; correct the line."),
        ([""], "{table} lists no photographs; it needs one line a photograph: image, mos."),
        (
            ["r1_1.png 0", "a.png 0"],
            "{table}, line 2: expected a name such as r1_2.png, which tells the reference, got 'a.png'; "
            "check that the file is the dataset's own.",
        ),
        (
            ["xr1_1.png 0"],
            "{table}, line 1: expected a name such as r1_2.png, which tells the reference, got 'xr1_1.png'; "
            "check that the file is the dataset's own.",
        ),
        (["0 r1_1.png"], "{table}, line 1: expected a number in 'mos', got 'r1_1.png'; correct it."),
    ],
)
def test_a_wrong_list_is_refused_in_a_sentence(tmp_path: Path, lines: list[str], message: str) -> None:
    table = toy(tmp_path, *lines, table="labels.txt")
    assert refusal(LISTED, tmp_path) == message.format(table=table)


def test_a_word_for_no_part_and_an_absent_table_are_refused(tmp_path: Path) -> None:
    assert refusal(RISING, tmp_path) == (
        f"expected a label file labels.csv or labels.txt in {tmp_path}, found none; "
        "check that the folder is the dataset's own."
    )
    table = toy(tmp_path, "image,mos,scene,set", "a.png,1,x,later")
    assert refusal(SPLIT, tmp_path) == f"{table}, line 2: set must be train, validation or test, got 'later'."
    toy(tmp_path, "image,mos,scene", "a.png,1,x")
    assert refusal(SPLIT, tmp_path) == f"{table} lacks the column 'set'; it has: image, mos, scene."
    toy(tmp_path, "image,mos,scene,set", "a.png,1,,test")
    assert refusal(SPLIT, tmp_path) == f"{table}, line 2: column 'scene' is empty; fill it or drop the line."


def test_a_folder_of_photographs_that_is_not_there_is_named(tmp_path: Path) -> None:
    write_lines(tmp_path / "labels.csv", ["image,mos", "a.png,1"])
    missing = tmp_path / "photos" / "a.png"
    assert refusal(RISING, tmp_path) == (
        f"expected the photograph {missing}, found nothing; the dataset is not complete."
    )
