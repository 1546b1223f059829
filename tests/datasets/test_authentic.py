"""KonIQ-10k, SPAQ, BID, FLIVE and AGIQA-3K: photographs without a reference, in their official layouts."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from robustiqa.core.errors import DataError
from robustiqa.datasets.agiqa3k import load_agiqa3k
from robustiqa.datasets.bid import load_bid
from robustiqa.datasets.flive import load_flive
from robustiqa.datasets.koniq10k import load_koniq10k
from robustiqa.datasets.labels import read_table
from robustiqa.datasets.spaq import load_spaq
from tests.datasets.public_imitations import (
    SPAQ_TABLE,
    make_agiqa3k,
    make_bid,
    make_flive,
    make_koniq10k,
    make_spaq,
    put_pictures,
    write_lines,
)
from tests.datasets.test_label_files import save_workbook

FLIVE = {"voc/a.jpg": 75.44, "voc/b.jpg": 0.0, "blur/c.jpg": 94.33, "blur/d.jpg": 50.0, "blur/e.jpg": 100.0}


def koniq_labels(shared: Path) -> Path:
    return shared / "data" / "labels" / "koniq10k_distributions_sets.csv"


def test_koniq10k_keeps_published_scores_and_parts(shared: Path, tmp_path: Path) -> None:
    with koniq_labels(shared).open(newline="") as file:
        lines = list(csv.DictReader(file))[::50]
    published = {line["image_name"]: (float(line["MOS"]), line["set"]) for line in lines}
    dataset = load_koniq10k(make_koniq10k(tmp_path, published))
    assert len(dataset) == 202
    assert {photo.key: photo.mos for photo in dataset} == pytest.approx(
        {name: mos for name, (mos, _) in published.items()}
    )
    words = {"train": "training", "validation": "validation", "test": "test"}
    assert dataset.parts == {
        part: tuple(sorted(name for name, (_, given) in published.items() if given == word))
        for part, word in words.items()
    }


def test_koniq10k_as_published_has_its_counts_and_ends(shared: Path) -> None:
    rows = read_table(koniq_labels(shared))
    assert Counter(row.part("set") for row in rows) == {"train": 7058, "validation": 1000, "test": 2015}
    scores = [row.number("MOS") for row in rows]
    assert (min(scores), max(scores)) == pytest.approx((3.91176, 88.38889), abs=1e-5)


def test_koniq10k_comes_in_two_sizes_and_no_other(tmp_path: Path) -> None:
    root = make_koniq10k(tmp_path, {"1.jpg": (0.0, "test"), "2.jpg": (100.0, "test")}, size="512x384")
    dataset = load_koniq10k(root, size="512x384")
    assert [photo.mos for photo in dataset] == [0, 100]
    assert dataset.parts == {"test": ("1.jpg", "2.jpg")}
    with pytest.raises(DataError) as missing:
        load_koniq10k(root)
    assert str(missing.value) == (
        f"expected the photograph {root / '1024x768' / '1.jpg'}, found nothing; the dataset is not complete."
    )
    with pytest.raises(DataError) as size:
        load_koniq10k(root, size="224x224")
    assert str(size.value) == "size must be 1024x768 or 512x384, got '224x224'."


def test_koniq10k_refuses_the_table_without_a_split(tmp_path: Path) -> None:
    write_lines(tmp_path / "koniq10k_scores_and_distributions.csv", ["image_name,MOS,MOS_zscore", "1.jpg,3,60"])
    with pytest.raises(DataError) as caught:
        load_koniq10k(tmp_path)
    assert str(caught.value) == (
        f"expected a label file koniq10k_distributions_sets.csv in {tmp_path}, found none; "
        "check that the folder is the dataset's own."
    )


def test_spaq_is_on_0_to_100_already(tmp_path: Path) -> None:
    scores = {"00001.jpg": 0.0, "00002.jpg": 48.86, "00003.jpg": 100.0}
    dataset = load_spaq(make_spaq(tmp_path, scores))
    assert {photo.key: photo.mos for photo in dataset} == pytest.approx(scores)
    assert {photo.group for photo in dataset} == {""}


def test_bid_finds_its_photographs_by_number(tmp_path: Path) -> None:
    dataset = load_bid(make_bid(tmp_path, {1: 0.0, 22: 2.35, 590: 5.0}))
    assert {photo.key: photo.mos for photo in dataset} == pytest.approx(
        {"DatabaseImage0001.JPG": 0, "DatabaseImage0022.JPG": 47, "DatabaseImage0590.JPG": 100}
    )


def test_workbooks_say_what_their_csv_files_say(tmp_path: Path) -> None:
    scores = {"00001.jpg": 0.0, "00002.jpg": 48.86}
    spaq = make_spaq(tmp_path / "spaq", scores)
    save_workbook(spaq / "Annotations" / f"{SPAQ_TABLE}.xlsx", ("Image name", "MOS"), *scores.items())
    spaq_from_csv = load_spaq(spaq)
    (spaq / "Annotations" / f"{SPAQ_TABLE}.csv").unlink()
    assert load_spaq(spaq) == spaq_from_csv
    bid = make_bid(tmp_path / "bid", {1: 0.0, 22: 2.35})
    save_workbook(bid / "DatabaseGrades.xlsx", ("Image number", "Mean"), (1, 0), (22, 2.35))
    bid_from_csv = load_bid(bid)
    (bid / "DatabaseGrades.csv").unlink()
    assert load_bid(bid) == bid_from_csv


def test_bid_does_not_guess_the_column_of_scores(tmp_path: Path) -> None:
    root = make_bid(tmp_path, {1: 2.5})
    table = write_lines(root / "DatabaseGrades.csv", ["number,first,second", "1,2,3"])
    for named in (None, "third"):
        with pytest.raises(DataError) as caught:
            load_bid(root, mos_column=named)
        assert str(caught.value) == (
            f"{table} does not tell its column of mean scores; give mos_column, one of: first, second."
        )
    assert load_bid(root, mos_column="second").photos[0].mos == pytest.approx(60)
    write_lines(table, ["number,mos,mean", "1,2,3"])
    with pytest.raises(DataError, match="give mos_column, one of: mos, mean"):
        load_bid(root)
    write_lines(table, ["number,first,Average", "1,2,4"])
    assert load_bid(root).photos[0].mos == pytest.approx(80)


@pytest.mark.parametrize("number", ["1.5", "-1"])
def test_bid_refuses_what_is_no_number_of_a_photograph(tmp_path: Path, number: str) -> None:
    table = write_lines(tmp_path / "DatabaseGrades.csv", ["number,mos", f"{number},2"])
    with pytest.raises(DataError) as caught:
        load_bid(tmp_path)
    assert str(caught.value) == f"{table}, line 2: expected a photograph's number, got {number!r}."


@pytest.mark.parametrize("end", ["640.csv", ">640.csv"])
def test_flive_takes_its_parts_from_the_two_other_tables(tmp_path: Path, end: str) -> None:
    unlisted = {"voc/none.jpg": True}
    root = make_flive(tmp_path, FLIVE, ["blur/e.jpg"], {"voc/b.jpg": True, "blur/d.jpg": False} | unlisted, end)
    dataset = load_flive(root)
    assert {photo.key: photo.mos for photo in dataset} == pytest.approx(FLIVE)
    assert dataset.parts == {
        "train": ("blur/c.jpg", "blur/d.jpg", "voc/a.jpg"),
        "validation": ("voc/b.jpg",),
        "test": ("blur/e.jpg",),
    }


def test_flive_refuses_a_split_that_does_not_fit(tmp_path: Path) -> None:
    def refusal() -> str:
        with pytest.raises(DataError) as caught:
            load_flive(tmp_path)
        return str(caught.value)

    root = make_flive(tmp_path, FLIVE, ["blur/e.jpg"], {"blur/e.jpg": True})
    test, padded = root / "database" / "labels640.csv", root / "database" / "labels=640_padded.csv"
    assert refusal() == f"{padded} puts 'blur/e.jpg' into validation, but it is in test; drop one."
    write_lines(padded, ["name_image,is_valid", "voc/a.jpg,maybe"])
    assert refusal() == f"{padded}, line 2: is_valid must be True or False, got 'maybe'."
    write_lines(padded, ["name_image,is_valid", "voc/a.jpg,False"])
    assert refusal() == f"{padded} names no photograph of labels_image.csv for its part; get intact label files."
    padded.unlink()
    assert refusal() == (
        f"expected database/labels=640_padded.csv or database/labels<=640_padded.csv in {root}, found none; "
        "the official split needs it."
    )
    write_lines(test, ["name,mos_image", "voc/a.jpg,1"])
    write_lines(padded, ["name_image,is_valid", "voc/a.jpg,True"])
    assert refusal() == f"{test} lacks the column 'name_image'; it has: name, mos_image."


def test_agiqa3k_keeps_a_text_on_one_side(tmp_path: Path) -> None:
    rows = {
        f"{generator}_{number}.jpg": (f"a king, {number}", number % 6) for generator in "ab" for number in range(60)
    }
    dataset = load_agiqa3k(make_agiqa3k(tmp_path, rows))
    assert {photo.key: photo.mos for photo in dataset} == pytest.approx(
        {name: 20 * mos for name, (_, mos) in rows.items()}
    )
    texts = {part: {rows[name][0] for name in names} for part, names in dataset.parts.items()}
    assert sorted(texts) == ["test", "train", "validation"]
    assert sum(len(part) for part in texts.values()) == 60


def test_agiqa3k_finds_pictures_beside_the_table(tmp_path: Path) -> None:
    root = make_agiqa3k(tmp_path, {"AttnGAN_normal_000.jpg": ("statue of a man", 0.965602553)}, folder=".")
    assert load_agiqa3k(root).photos[0].mos == pytest.approx(19.31205106)
    put_pictures(root, ["b.jpg"])
    table = write_lines(root / "data.csv", ["name,prompt,mos_align", "b.jpg,a king,3"])
    with pytest.raises(DataError) as caught:
        load_agiqa3k(root)
    assert str(caught.value) == f"{table} lacks the column 'mos_quality'; it has: name, prompt, mos_align."
