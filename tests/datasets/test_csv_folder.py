from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from robustiqa.core.errors import DataError
from robustiqa.core.model import ScoreScale
from robustiqa.datasets.csv_folder import load_csv_folder
from tests.datasets.imitations import make_csv_folder

NAMES = ["b.png", "a.png", "c.png"]


def scores(root: Path, **options: Any) -> dict[str, float | None]:
    return {photo.key: photo.mos for photo in load_csv_folder(root, **options)}


def refusal(root: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        load_csv_folder(root, **options)
    return str(caught.value)


def test_scores_are_mapped_from_the_given_scale_and_photographs_sorted(tmp_path: Path) -> None:
    make_csv_folder(tmp_path, "image,mos\nb.png,1\na.png,3\nc.png,4.5\n", NAMES)
    dataset = load_csv_folder(tmp_path, scale=(1, 5))
    assert [(photo.key, photo.mos) for photo in dataset] == [("a.png", 50.0), ("b.png", 0.0), ("c.png", 87.5)]
    assert dataset.mos_scale == ScoreScale(1, 5)
    assert dataset.name == tmp_path.name
    assert dataset.photos[0].read().shape == (3, 6, 8)


@pytest.mark.parametrize("header", ["Image Name,MOS", "file_name,Score", "dist-img,quality", "path,Mean Opinion Score"])
def test_columns_are_found_by_their_usual_names(tmp_path: Path, header: str) -> None:
    make_csv_folder(tmp_path, f"{header}\na.png,25\n", NAMES)
    assert scores(tmp_path, scale=(0, 100)) == {"a.png": 25.0}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_comma_semicolon_and_tab_separate_and_a_byte_order_mark_is_skipped(tmp_path: Path, separator: str) -> None:
    table = f"\ufeffimage{separator}mos\r\na.png{separator}25\r\n\r\n{separator}\r\n"
    make_csv_folder(tmp_path, table, NAMES)
    assert scores(tmp_path, scale=(0, 100)) == {"a.png": 25.0}


def test_names_with_commas_stand_in_quotation_marks(tmp_path: Path) -> None:
    make_csv_folder(tmp_path, 'image,mos\n"a, b.png",25\n', ["a, b.png"])
    assert scores(tmp_path, scale=(0, 100)) == {"a, b.png": 25.0}


def test_a_dmos_column_is_turned_round_unless_told_otherwise(tmp_path: Path) -> None:
    make_csv_folder(tmp_path, "image,DMOS\na.png,1\nb.png,4\n", NAMES)
    assert scores(tmp_path, scale=(1, 5)) == {"a.png": 100.0, "b.png": 25.0}
    assert scores(tmp_path, scale=(1, 5), higher_is_better=True) == {"a.png": 0.0, "b.png": 75.0}


def test_a_score_column_can_be_turned_round(tmp_path: Path) -> None:
    make_csv_folder(tmp_path, "image,score\na.png,1\n", NAMES)
    assert scores(tmp_path, scale=(0, 10), higher_is_better=False) == {"a.png": 90.0}


def test_the_scale_is_never_taken_from_the_sample(tmp_path: Path) -> None:
    make_csv_folder(tmp_path, "image,mos\nb.png,1\na.png,4.5\n", NAMES)
    assert refusal(tmp_path) == (
        f"the scores in {tmp_path / 'labels.csv'} run from 1 to 4.5, on a scale that it does not name; give "
        "scale=LOW,HIGH (--data-option scale=1,5), or write mos_scale = [LOW, HIGH] into dataset.toml beside it."
    )


def test_a_side_file_names_scale_columns_and_direction_and_an_option_overrules_it(tmp_path: Path) -> None:
    make_csv_folder(tmp_path, "id,rating,name\na.png,1,x\nb.png,4,y\n", NAMES)
    (tmp_path / "dataset.toml").write_text(
        'mos_scale = [0, 10]\nimage_column = "id"\nmos_column = "rating"\nhigher_is_better = false\n'
    )
    assert scores(tmp_path) == {"a.png": 90.0, "b.png": 60.0}
    assert scores(tmp_path, higher_is_better=True, scale=(0, 5)) == {"a.png": 20.0, "b.png": 80.0}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("mos_scale = ", "is not TOML ("),
        ("scale = [0, 1]", "has the unknown entry 'scale'; known are: image_column, mos_column, mos_scale,"),
        ('mos_scale = "1-5"', ": mos_scale must be a list, got '1-5'."),
    ],
)
def test_a_wrong_side_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    make_csv_folder(tmp_path, "image,mos\na.png,1\n", NAMES)
    (tmp_path / "dataset.toml").write_text(content)
    assert message in refusal(tmp_path)
    assert str(tmp_path / "dataset.toml") in refusal(tmp_path)


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        ((5, 1), "the option scale must have low < high, got [5, 1]."),
        ((1, 2, 3), "the option scale must be two numbers, low and high, got (1, 2, 3)."),
        (5, "the option scale must be two numbers, low and high, got 5."),
        ("ab", "the option scale must be two numbers, low and high, got 'ab'."),
    ],
)
def test_a_wrong_scale_is_refused(tmp_path: Path, scale: Any, message: str) -> None:
    make_csv_folder(tmp_path, "image,mos\na.png,1\n", NAMES)
    assert refusal(tmp_path, scale=scale) == message


def test_a_rounding_error_beyond_the_scale_is_clipped_and_more_is_refused(tmp_path: Path) -> None:
    make_csv_folder(tmp_path, "image,mos\na.png,5.0003\nb.png,0.9997\n", NAMES)
    assert scores(tmp_path, scale=(1, 5)) == {"a.png": 100.0, "b.png": 0.0}
    make_csv_folder(tmp_path, "image,mos\na.png,5.001\n", NAMES)
    assert "the score 5.001 lies outside the scale [1, 5]" in refusal(tmp_path, scale=(1, 5))


def test_a_split_column_decides_in_any_of_the_usual_words(tmp_path: Path) -> None:
    table = "image,mos,set\na.png,1,training\nb.png,2,Val\nc.png,3,test\n"
    dataset = load_csv_folder(make_csv_folder(tmp_path, table, NAMES), scale=(0, 10))
    assert dataset.parts == {"train": ("a.png",), "validation": ("b.png",), "test": ("c.png",)}


def test_a_split_column_with_another_word_is_refused(tmp_path: Path) -> None:
    make_csv_folder(tmp_path, "image,mos,split\na.png,1,fold1\n", NAMES)
    table = tmp_path / "labels.csv"
    assert refusal(tmp_path, scale=(0, 10)) == (
        f"{table}, line 2: split must be train, validation or test, got 'fold1'."
    )


def test_a_group_column_keeps_scenes_together(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(60)]
    lines = [f"{name},5,scene {number % 12}" for number, name in enumerate(names)]
    make_csv_folder(tmp_path, "\n".join(["image,mos,ref_img", *lines]), names)
    dataset = load_csv_folder(tmp_path, scale=(0, 10))
    assert sorted(key for keys in dataset.parts.values() for key in keys) == sorted(names)
    part_of = {key: part for part, keys in dataset.parts.items() for key in keys}
    assert len({(photo.group, part_of[photo.key]) for photo in dataset}) == 12
    assert len(dataset.parts) == 3


def test_photographs_may_lie_below_and_in_an_images_folder(tmp_path: Path) -> None:
    make_csv_folder(tmp_path, "image,mos\nsub\\a.png,1\nb.JPG,2\n", ["sub/a.png", "images/b.jpg"])
    dataset = load_csv_folder(tmp_path, scale=(0, 10))
    assert [photo.key for photo in dataset] == ["b.JPG", "sub/a.png"]
    assert all(photo.read().shape == (3, 6, 8) for photo in dataset)


def test_the_table_itself_can_be_named(tmp_path: Path) -> None:
    make_csv_folder(tmp_path, "image,mos\na.png,1\n", NAMES)
    (tmp_path / "other.csv").write_text("image,mos\nb.png,2\n")
    assert scores(tmp_path / "other.csv", scale=(0, 10)) == {"b.png": 20.0}
    assert refusal(tmp_path, scale=(0, 10)) == (
        f"expected one CSV file in {tmp_path}, found 2 (labels.csv, other.csv, ...); "
        f"name it: csv:{tmp_path / 'NAME.csv'}."
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("image,mos\n", "lists no photographs; it needs a header line and one line a photograph."),
        ("", "lists no photographs; it needs a header line and one line a photograph."),
        ("image,mos\na.png,\n", ", line 2: column 'mos' is empty; fill it or drop the line."),
        ("image,mos\na.png,nan\n", ", line 2: expected a number in 'mos', got 'nan'; correct it."),
        ("image,mos\na.png,11\n", ", line 2: the score 11 lies outside the scale [0, 10]; check the scale"),
        ("image,mos\na.png,1\na.png,1\n", ", line 3: 'a.png' is listed twice; drop one of the lines."),
        (
            "image,rating\na.png,1\n",
            "found none of mos, dmos, score, quality, meanopinionscore; give mos_column, one of:",
        ),
        (
            "image,mos,dmos\na.png,1,2\n",
            "found several that could be it (mos, dmos); give mos_column, one of: image, mos, dmos.",
        ),
    ],
)
def test_a_wrong_table_is_refused_by_file_and_line(tmp_path: Path, table: str, message: str) -> None:
    make_csv_folder(tmp_path, table, NAMES)
    sentence = refusal(tmp_path, scale=(0, 10))
    assert str(tmp_path / "labels.csv") in sentence
    assert message in sentence


def test_a_missing_photograph_and_a_missing_column_are_named(tmp_path: Path) -> None:
    make_csv_folder(tmp_path, "image,mos\nsub/d.png,1\n", NAMES)
    missing = tmp_path / "sub" / "d.png"
    assert refusal(tmp_path, scale=(0, 10)) == (
        f"expected the photograph {missing}, found nothing; the dataset is not complete."
    )
    assert refusal(tmp_path, scale=(0, 10), mos_column="z") == (
        f"{tmp_path / 'labels.csv'} has no column 'z'; it has: image, mos."
    )


def test_a_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes(b"image,mos\n\xff\xfe\x00,1\n")
    assert refusal(tmp_path) == f"{tmp_path / 'labels.csv'} is not UTF-8 text; save it as CSV in UTF-8."
