from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from robustiqa.core.errors import DataError
from robustiqa.datasets.biq2021 import load_biq2021, number_run
from tests.datasets.imitations import make_biq2021

TRAIN = {"ss01 (7).jpg": 0.25, "ss02 (1014).jpg": 0.0, "ss03 (640).jpg": 0.875}
TEST = {"ss01 (8).jpg": 1.0}


def refusal(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_biq2021(root)
    return str(caught.value)


def test_scores_are_stretched_from_0_1_to_0_100(tmp_path: Path) -> None:
    dataset = load_biq2021(make_biq2021(tmp_path, TRAIN, TEST))
    assert {photo.key: photo.mos for photo in dataset} == {name: 100 * mos for name, mos in (TRAIN | TEST).items()}
    assert dataset.parts["test"] == ("ss01 (8).jpg",)


def test_the_photograph_stored_in_capitals_keeps_the_name_of_the_table(tmp_path: Path) -> None:
    root = make_biq2021(tmp_path, TRAIN, TEST, stored={"ss02 (1014).jpg": "ss02 (1014).JPG"})
    photo = load_biq2021(root).select(["ss02 (1014).jpg"]).photos[0]
    assert photo.read().shape == (3, 6, 8)
    assert (root / "Images" / "ss02 (1014).JPG").exists()


def test_a_split_file_decides(tmp_path: Path) -> None:
    splits = {"train": ["ss03 (640).jpg"], "validation": ["ss02 (1014).jpg", "ss01 (7).jpg"], "test": [*TEST]}
    dataset = load_biq2021(make_biq2021(tmp_path, TRAIN, TEST, splits=splits))
    assert dataset.parts == {part: tuple(sorted(names)) for part, names in splits.items()}


def test_without_a_split_file_whole_runs_of_numbers_go_to_validation(tmp_path: Path) -> None:
    train = {f"ss03 ({number}).jpg": 0.5 for number in range(1, 8000, 20)}
    dataset = load_biq2021(make_biq2021(tmp_path, train, TEST))
    parts = {part: {number_run(name) for name in names} for part, names in dataset.parts.items()}
    assert not parts["train"] & parts["validation"]
    assert 0.03 < len(dataset.parts["validation"]) / len(train) < 0.2
    assert sorted(dataset.parts["train"] + dataset.parts["validation"]) == sorted(train)


def test_neighbors_in_one_session_share_a_run() -> None:
    assert number_run("ss03 (3753).jpg") == number_run("ss03 (3754).JPG") == "ss03 37"
    assert number_run("ss02 (3753).jpg") != number_run("ss03 (3753).jpg")
    assert number_run("holiday.jpg") == "holiday.jpg"


def test_errors_name_the_file_and_the_line(tmp_path: Path) -> None:
    root = make_biq2021(tmp_path, TRAIN, TEST)
    train_table, test_table = root / "Train (Images and MOS).csv", root / "Test (Images and MOS).csv"
    (root / "Images" / "ss01 (7).jpg").unlink()
    missing = root / "Images" / "ss01 (7).jpg"
    assert refusal(root) == f"expected the photograph {missing}, found nothing; the dataset is not complete."
    test_table.write_text("Image Name,MOS\nss01 (8).jpg,good\n")
    assert refusal(root).startswith(f"expected the photograph {missing}")
    missing.write_bytes(b"x")
    assert refusal(root) == f"{test_table}, line 2: expected a number in 'MOS', got 'good'; correct it."
    test_table.write_text("Image Name,MOS\nss01 (8).jpg,1.2\n")
    assert refusal(root) == (
        f"{test_table}, line 2: the score 1.2 lies outside the scale [0, 1]; check the scale and the label."
    )
    test_table.write_text("Image Name,MOS\nss01 (7).jpg,.2\n")
    assert refusal(root) == f"{test_table}, line 2: 'ss01 (7).jpg' is in {train_table.name}, too; drop one."
    test_table.write_text("Image,MOS\nss01 (8).jpg,.2\n")
    assert refusal(root) == f"{test_table} lacks the column 'Image Name'; it has: Image, MOS."
    test_table.unlink()
    assert refusal(root) == (
        f"expected a label file at {test_table}, found nothing; check that the folder is the dataset's own."
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON ("),
        ({"train": []}, "must map train, validation and test to lists of names; 'validation' is missing."),
        (
            {"train": ["x"], "validation": [], "test": []},
            "puts 'x' into train, but no CSV file lists it; correct the name.",
        ),
        (
            {"train": [*TEST], "validation": [], "test": [*TEST]},
            "puts 'ss01 (8).jpg' into two parts; a split must be disjoint.",
        ),
    ],
)
def test_a_wrong_split_file_is_refused(tmp_path: Path, content: object, message: str) -> None:
    root = make_biq2021(tmp_path, TRAIN, TEST)
    (root / "splits.json").write_text(content if isinstance(content, str) else json.dumps(content))
    assert refusal(root).startswith(f"{root / 'splits.json'} {message}")


def test_the_real_subset_opens_with_its_own_split(shared: Path) -> None:
    root = shared / "data" / "biq2021"
    dataset = load_biq2021(root)
    assert {part: len(names) for part, names in dataset.parts.items()} == {
        "train": 1969,
        "validation": 298,
        "test": 400,
    }
    with (root / "Test (Images and MOS).csv").open(newline="") as file:
        published = {row["Image Name"]: float(row["MOS"]) for row in csv.DictReader(file)}
    assert {photo.key: photo.mos for photo in dataset.part("test")} == pytest.approx(
        {name: 100 * mos for name, mos in published.items()}
    )
    assert dataset.photos[0].read().shape == (3, 512, 512)
