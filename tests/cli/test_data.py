"""`robustiqa data`: what a dataset holds, and which of its photographs can't be used."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from robustiqa.cli.photos import ReadAhead, reading_ahead
from robustiqa.core.dataset import Dataset, Photo
from robustiqa.core.image_files import FileSource
from robustiqa.datasets import create_dataset
from tests.cli.conftest import Run
from tests.datasets.public_imitations import PUBLIC


def test_info_counts_parts_and_names_hashes(run: Run, dataset: Path) -> None:
    document = run("data", "info", dataset, "--json").document
    opened = create_dataset(str(dataset))
    assert document["fingerprint"] == opened.fingerprint()
    assert document["split_fingerprint"] == opened.split_fingerprint()
    assert document["published_scale"] == [1, 5]
    assert {name: part["photos"] for name, part in document["parts"].items()} == {
        "all": 18,
        "train": 6,
        "validation": 6,
        "test": 6,
    }
    scores = sorted(photo.mos for photo in opened if photo.mos is not None)
    assert document["parts"]["all"]["mos"]["lowest"] == pytest.approx(scores[0])
    assert document["parts"]["all"]["mos"]["median"] == pytest.approx((scores[8] + scores[9]) / 2)
    table = run("data", "info", dataset).out
    assert table.startswith(f"{opened.name}: 18 photographs\n")
    assert opened.fingerprint() in table


def test_info_of_photographs_without_scores_says_so(run: Run, photos: Path) -> None:
    document = run("data", "info", f"folder:{photos}", "--json").document
    assert document["published_scale"] is None
    assert document["parts"]["all"] == {"photos": 2, "groups": 0, "mos": None}
    recursive = run("data", "info", f"folder:{photos}", "--data-option", "recursive=true", "--json").document
    assert recursive["photos"] == 3


def test_check_names_each_photograph_that_cannot_be_used(run: Run, dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    assert run("data", "check", copy).out == "copy: 18 of 18 photographs can be used\n"
    (copy / "p03.png").write_bytes((copy / "p03.png").read_bytes()[:300])
    (copy / "p07.png").write_text("text")
    shutil.copy(copy / "p00.png", copy / "p01.png")  # one in train, the other in validation
    ran = run("data", "check", copy)
    assert ran.code == 1
    assert ran.out == "copy: 15 of 18 photographs can be used\n"
    assert [name for name in ("p01.png", "p03.png", "p07.png") if name not in ran.err] == []
    document = run("data", "check", copy, "--json", "--workers", "0").document
    assert [problem["path"] for problem in document["problems"]] == ["p01.png", "p03.png", "p07.png"]
    assert [problem["sentence"] for problem in document["problems"]] == ran.err.splitlines()


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_check_finds_all_of_a_public_dataset_usable(run: Run, tmp_path: Path, name: str) -> None:
    document = run("data", "check", f"{name}:{PUBLIC[name](tmp_path)}", "--side", "6", "--json").document
    assert document["problems"] == []
    assert document["name"] == name
    assert document["usable"] == document["photos"] >= 50


def test_check_takes_another_side(run: Run, dataset: Path) -> None:
    ran = run("data", "check", dataset, "--side", "300", "--json")
    assert ran.code == 1
    assert ran.document["usable"] == 0


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("biq2021", "dataset 'biq2021' needs its folder; write biq2021:PATH.\n"),
        ("livec2:x", "unknown dataset 'livec2'; did you mean 'livec'? Known: agiqa3k, bid, biq2021, "),
    ],
)
def test_a_wrong_dataset_is_one_sentence(run: Run, spec: str, sentence: str) -> None:
    ran = run("data", "info", spec)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(sentence)


def test_reading_ahead_gives_the_same_photographs_in_any_order(photos: Path) -> None:
    sources = [FileSource(path) for path in sorted(photos.rglob("*.png"))]
    with ReadAhead(sources, workers=2) as ahead:
        for place in (0, 1, 2, 0, 2, 1):
            assert ahead.read(place).equal(sources[place].read())


def test_a_dataset_that_is_read_ahead_is_the_same_dataset(photos: Path) -> None:
    opened = create_dataset(f"folder:{photos}")
    with reading_ahead(opened, workers=1) as ahead:
        assert ahead.fingerprint() == opened.fingerprint()
        assert all(one.read().equal(other.read()) for one, other in zip(ahead, opened, strict=True))


def test_an_error_of_reading_ahead_comes_when_its_photograph_is_asked_for(photos: Path, tmp_path: Path) -> None:
    good = FileSource(photos / "ann.png")
    mixed = Dataset("mixed", (Photo("a", good), Photo("b", FileSource(tmp_path / "none.png"))))
    with reading_ahead(mixed, workers=2) as ahead:
        first, second = ahead
        assert first.read().equal(good.read())
        with pytest.raises(Exception, match=r"none\.png"):
            second.read()
