"""KADID-10k, TID2013, CSIQ, LIVE and PIPAL: distorted photographs, split by reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robustiqa.core.dataset import Dataset
from robustiqa.core.errors import DataError
from robustiqa.core.model import ScoreScale
from robustiqa.datasets import csiq, kadid10k, live, pipal, tid2013
from robustiqa.datasets.csiq import load_csiq
from robustiqa.datasets.kadid10k import load_kadid10k
from robustiqa.datasets.live import load_live
from robustiqa.datasets.pipal import load_pipal
from robustiqa.datasets.tid2013 import load_tid2013
from tests.datasets.public_imitations import (
    live_like,
    make_csiq,
    make_kadid10k,
    make_live,
    make_pipal,
    make_tid2013,
    write_lines,
)


def labels(path: Path) -> dict[str, float]:
    """Name to score of a published list."""
    pairs = (line.replace(",", " ").split() for line in path.read_text().splitlines())
    return {name: float(score) for name, score in pairs}


def references(dataset: Dataset) -> dict[str, int]:
    """Part to number of references; fails where a reference is in two parts."""
    groups = {part: {photo.group for photo in dataset.part(part)} for part in dataset.parts}
    assert sum(map(len, groups.values())) == len(set().union(*groups.values()))
    return {part: len(names) for part, names in groups.items()}


def scores(dataset: Dataset) -> dict[str, float | None]:
    return {photo.key: photo.mos for photo in dataset}


@pytest.fixture(scope="module")
def live_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_live(tmp_path_factory.mktemp("live"), *live_like())


def test_intervals_are_the_published_ones() -> None:
    found = {
        module.LAYOUT.name: (module.LAYOUT.scale, module.LAYOUT.rising)
        for module in (csiq, kadid10k, live, pipal, tid2013)
    }
    assert found == {
        "csiq": (ScoreScale(0, 1), False),
        "kadid10k": (ScoreScale(1, 5), True),
        "live": (ScoreScale(1, 100), False),
        "pipal": (ScoreScale(868.3, 1857.0), True),
        "tid2013": (ScoreScale(0, 9), True),
    }


def test_kadid10k_rises_in_spite_of_its_name(shared: Path, tmp_path: Path) -> None:
    published = labels(shared / "data" / "labels" / "kadid10k_label.txt")
    assert len(published) == 10125
    assert all(1 <= score <= 5 for score in published.values())
    some = {name: score for name, score in published.items() if name[3:] in ("_01_01.png", "_10_05.png")}
    dataset = load_kadid10k(make_kadid10k(tmp_path, some))
    assert len(dataset) == 162
    assert scores(dataset) == pytest.approx({name: 25 * (score - 1) for name, score in some.items()})
    assert dataset.select(["I01_01_01.png"]).photos[0].mos == pytest.approx(89.25)  # 4.57
    assert references(dataset) == {"train": 55, "validation": 10, "test": 16}


def test_tid2013_finds_names_in_another_letter_case(tmp_path: Path) -> None:
    names = [f"I{reference:02d}_24_5.bmp" for reference in range(1, 26)]
    stored = {names[0]: "i01_24_5.BMP", names[24]: "i25_24_5.bmp"}
    root = make_tid2013(tmp_path, dict.fromkeys(names, 5.51429) | {"i25_01_1.bmp": 9.0, "I01_01_1.bmp": 0.0}, stored)
    dataset = load_tid2013(root)
    read = scores(dataset)
    assert (read["i25_01_1.bmp"], read["I01_01_1.bmp"]) == (100, 0)
    assert read["I02_24_5.bmp"] == pytest.approx(61.26989, abs=1e-5)
    assert references(dataset) == {"train": 18, "validation": 2, "test": 5}
    assert dataset.select(["I25_24_5.bmp"]).photos[0].group == "i25.bmp"


def test_tid2013_refuses_a_name_of_another_form(tmp_path: Path) -> None:
    root = make_tid2013(tmp_path, {"I01_01_1.bmp": 5.0, "holiday.bmp": 5.0})
    with pytest.raises(DataError) as caught:
        load_tid2013(root)
    assert str(caught.value) == (
        f"{root / 'mos_with_names.txt'}, line 2: expected a name such as i01_01_1.bmp, which tells the reference, "
        "got 'holiday.bmp'; check that the file is the dataset's own."
    )


@pytest.mark.parametrize("folder", ["dst_imgs_all", "dst_imgs/awgn"])
def test_csiq_is_turned_round(shared: Path, tmp_path: Path, folder: str) -> None:
    published = labels(shared / "data" / "labels" / "csiq_label.txt")
    assert len(published) == 866
    assert (min(published.values()), max(published.values())) == (0, 1)
    some = {name: score for name, score in published.items() if ".AWGN." in name}
    dataset = load_csiq(make_csiq(tmp_path, some, folder))
    assert len(dataset) == 150
    assert scores(dataset) == pytest.approx({name: 100 - 100 * score for name, score in some.items()})
    assert dataset.select(["1600.AWGN.1.png"]).photos[0].mos == pytest.approx(93.8011)  # 0.061989
    assert references(dataset) == {"train": 21, "validation": 4, "test": 5}


def test_csiq_reads_the_sheet_saved_as_csv(tmp_path: Path) -> None:
    published = {"1600.AWGN.1.png": 0.0, "1600.jpeg2000.5.png": 1.0, "boston.contrast.3.png": 0.25}
    root = make_csiq(tmp_path, published)
    from_list = load_csiq(root)
    (root / "csiq_label.txt").unlink()
    header = ",,,image,dst_idx,dst_type,dst_lev,dmos_std,dmos"
    sheet = [",,,1600,1,noise,1,0.1,0", ",,,1600,5,jpeg 2000,5,0.1,1", ",,,boston,6,contrast,3,0.1,0.25"]
    table = write_lines(root / "csiq.DMOS.csv", [header, *sheet])
    assert load_csiq(root) == from_list
    assert scores(from_list) == {"1600.AWGN.1.png": 100, "1600.jpeg2000.5.png": 0, "boston.contrast.3.png": 75}
    write_lines(table, [header, ",,,1600,1,gaussian,1,0.1,0"])
    with pytest.raises(DataError) as caught:
        load_csiq(root)
    assert str(caught.value) == (
        f"{table}, line 2: dst_type must be one of noise, blur, contrast, fnoise, jpeg, jpeg 2000, got 'gaussian'."
    )


def test_csiq_says_what_to_do_with_the_workbook(tmp_path: Path) -> None:
    (tmp_path / "csiq.DMOS.xlsx").touch()
    with pytest.raises(DataError) as caught:
        load_csiq(tmp_path)
    assert str(caught.value) == (
        f"expected a label file csiq_label.txt or csiq.DMOS.csv in {tmp_path}, found none; "
        "save the sheet all_by_image of csiq.DMOS.xlsx as csiq.DMOS.csv, its header line first."
    )


def test_live_leaves_copies_of_references_out_and_turns_the_rest_round(live_root: Path) -> None:
    dataset = load_live(live_root)
    assert len(dataset) == 779
    assert dataset.photos[0].key == "fastfading/img1.bmp"
    read = scores(dataset)
    assert "jp2k/img203.bmp" not in read
    assert read["jp2k/img204.bmp"] == pytest.approx(100 - 300 / 99)  # entry 203 from 0: DMOS 4
    assert read["jpeg/img73.bmp"] == 0  # entry 299: DMOS 100
    assert read["jpeg/img74.bmp"] == 100  # entry 300: DMOS 1
    assert dataset.select(["jp2k/img204.bmp"]).photos[0].group == "bikes.bmp"
    assert references(dataset) == {"train": 17, "validation": 4, "test": 8}


def test_live_takes_realigned_scores_when_told_to(live_root: Path) -> None:
    dataset = load_live(live_root, realigned=True)
    assert dataset.mos_scale == ScoreScale(-2.640015, 111.774694)
    read = scores(dataset)
    # 1.1 * DMOS - 2: of DMOS 4, 2.4, which is 5.040015 above the lower end of 114.414709
    assert read["jp2k/img204.bmp"] == pytest.approx(100 - 504.0015 / 114.414709)
    assert load_live(live_root).split_fingerprint() == dataset.split_fingerprint()


def test_live_refuses_label_files_of_another_length_and_missing_ones(tmp_path: Path) -> None:
    from scipy.io import savemat

    with pytest.raises(DataError) as missing:
        load_live(tmp_path)
    assert str(missing.value) == (
        f"expected a label file at {tmp_path / 'dmos.mat'}, found nothing; "
        "check that the folder is the official release."
    )
    savemat(tmp_path / "dmos.mat", {"dmos": np.ones((1, 982)), "orgs": np.zeros((1, 982))})
    savemat(tmp_path / "refnames_all.mat", {"refnames_all": np.array([["a.bmp"] * 981], dtype=object)})
    with pytest.raises(DataError) as shorter:
        load_live(tmp_path)
    assert str(shorter.value) == (
        f"expected 982 entries in refnames_all of {tmp_path}, found 981; get the official release."
    )


def test_live_names_the_entry_that_is_out_of_range(tmp_path: Path) -> None:
    marks, copied, names = live_like()
    marks[300] = 100.5
    root = make_live(tmp_path, marks, copied, names)
    with pytest.raises(DataError) as caught:
        load_live(root)
    assert str(caught.value) == (
        f"{root / 'dmos.mat'}, line 301: the score 100.5 lies outside the scale [1, 100]; "
        "check the scale and the label."
    )


def test_pipal_keeps_the_official_parts_where_the_validation_labels_are(tmp_path: Path) -> None:
    train = {"A0001_00_00.bmp": 1520.0648, "A0001_00_01.bmp": 1362.65, "A0002_00_00.bmp": 916.7}
    validation = {"A0201_00_00.bmp": 868.3, "A0201_05_01.bmp": 1857.0}
    dataset = load_pipal(make_pipal(tmp_path, train, validation))
    assert scores(dataset) == pytest.approx(
        {
            "A0001_00_00.bmp": 65.92139,
            "A0001_00_01.bmp": 50,
            "A0002_00_00.bmp": 4.89532,
            "A0201_00_00.bmp": 0,
            "A0201_05_01.bmp": 100,
        },
        abs=1e-5,
    )
    assert dataset.parts == {"train": tuple(sorted(train)), "validation": tuple(sorted(validation))}


def test_pipal_without_validation_labels_is_split_by_reference(tmp_path: Path) -> None:
    train = {f"A{reference:04d}_0{kind}_00.bmp": 1000.0 for reference in range(1, 61) for kind in range(3)}
    parts = references(load_pipal(make_pipal(tmp_path, train)))
    assert sorted(parts) == ["test", "train", "validation"]
    assert sum(parts.values()) == 60


def test_pipal_reads_the_list_of_public_code_too(tmp_path: Path) -> None:
    root = make_pipal(tmp_path, {"A0001_00_00.bmp": 1000.0}, {"A0201_00_00.bmp": 1000.0})
    with_labels = load_pipal(root)
    (root / "Val_Label").rename(root / "hidden")
    write_lines(root / "pipal21_val.txt", ["A0201_00_00.bmp, 1000.0"])
    assert load_pipal(root) == with_labels


def test_pipal_refuses_a_reference_on_both_sides_and_absent_labels(tmp_path: Path) -> None:
    with pytest.raises(DataError) as absent:
        load_pipal(tmp_path)
    assert str(absent.value) == (
        f"expected label files Train_Label/*.txt in {tmp_path}, found none; check that the folder is the dataset's own."
    )
    root = make_pipal(tmp_path, {"A0001_00_00.bmp": 1000.0}, {"A0001_00_01.bmp": 1000.0})
    with pytest.raises(DataError) as both:
        load_pipal(root)
    assert str(both.value) == (
        "the official split puts A0001_00_00.bmp into train and A0001_00_01.bmp into validation, "
        "though they share a0001.bmp; get intact label files."
    )


def test_a_reference_photograph_is_not_scored(tmp_path: Path) -> None:
    root = make_kadid10k(tmp_path, {"I01_01_01.png": 1.0, "I01_01_02.png": 5.0})
    assert (root / "images" / "I01.png").exists()
    dataset = load_kadid10k(root)
    assert scores(dataset) == {"I01_01_01.png": 0, "I01_01_02.png": 100}
    assert {photo.group for photo in dataset} == {"i01.png"}
