from __future__ import annotations

import csv
import json
from importlib import resources
from pathlib import Path

import pytest

from robustiqa.core.errors import DataError
from robustiqa.datasets import livec
from robustiqa.datasets.livec import load_livec, nt_split
from tests.datasets.imitations import livec_names, make_livec


@pytest.fixture(scope="module")
def imitation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The release's layout with MOS that rise along the label file, from 3.42 to 92.43195."""
    names = livec_names()
    mos = [3.42 + (92.43195 - 3.42) * place / (len(names) - 1) for place in range(len(names))]
    return make_livec(tmp_path_factory.mktemp("livec"), names, mos)


def test_the_training_photographs_are_dropped_and_scores_follow_their_names(imitation: Path) -> None:
    dataset = load_livec(imitation)
    names = livec_names()
    assert len(dataset) == 1162
    for photo in dataset:
        assert photo.mos == pytest.approx(100 * names.index(photo.key) / 1161)
    assert dataset.photos[0].read().shape == (3, 6, 8)


def test_the_parts_are_those_of_norm_regularization_training(imitation: Path) -> None:
    parts = load_livec(imitation).parts
    assert len(parts["test"]) == 232
    assert len(parts["train"]) + len(parts["validation"]) == 930
    assert 70 <= len(parts["validation"]) <= 116  # a tenth, by hash
    assert {"123.bmp", "447.bmp"} <= set(parts["test"])  # the demonstrations of NT


def test_the_shipped_split_is_the_published_one(shared: Path) -> None:
    labels = shared / "data" / "labels"
    with (labels / "livec_mos.csv").open(newline="") as file:
        names = [row["image"] for row in csv.DictReader(file)]
    published = json.loads((labels / "nt_livec_split.json").read_text())
    assert names == livec_names()
    assert set(nt_split(names)["test"]) == {names[place] for place in published["test"]}


def test_the_published_scores_fill_the_scale(shared: Path, tmp_path: Path) -> None:
    with (shared / "data" / "labels" / "livec_mos.csv").open(newline="") as file:
        mos = {row["image"]: float(row["mos"]) for row in csv.DictReader(file)}
    dataset = load_livec(make_livec(tmp_path, list(mos), list(mos.values())))
    read = {photo.key: photo.mos for photo in dataset}
    assert read == pytest.approx({name: 100 * (score - 3.42) / 89.01195 for name, score in mos.items()}, abs=1e-4)
    assert (min(read.values()), max(read.values())) == (0, 100)  # type: ignore[type-var]


def test_a_changed_split_file_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    content = resources.files("robustiqa.datasets").joinpath(livec.SPLIT_FILE).read_text()
    assert len(json.loads(content)["test"]) == 232
    monkeypatch.setattr(livec, "SPLIT_SHA256", "0" * 64)
    with pytest.raises(DataError) as caught:
        nt_split(livec_names())
    assert str(caught.value) == (
        "the shipped file livec_nt_split.json was changed, its hash is another; reinstall robustiqa."
    )


def test_other_names_than_the_release_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        nt_split([name for name in livec_names() if name != "123.bmp"])
    assert str(caught.value) == ("the test photograph '123.bmp' is not in the label file; get the official release.")
    root = make_livec(tmp_path, ["3.bmp"], [50.0])
    with pytest.raises(DataError) as caught:
        load_livec(root)
    assert str(caught.value) == (
        f"expected 1169 names and scores in {root / 'Data'}, found 8 and 8; get the official release."
    )


def test_a_missing_photograph_and_broken_tables_are_named(imitation: Path, tmp_path: Path) -> None:
    root = tmp_path / "livec"
    (root / "Data").mkdir(parents=True)
    table = root / "Data" / "AllImages_release.mat"
    with pytest.raises(DataError) as caught:
        load_livec(root)
    assert str(caught.value) == (
        f"expected a label file at {table}, found nothing; check that the folder is the official release."
    )
    for content in (b"", b"not a MATLAB file" * 20):
        table.write_bytes(content)
        with pytest.raises(DataError, match="is not a MATLAB file that can be read") as caught:
            load_livec(root)
        assert str(table) in str(caught.value)
    for file in (imitation / "Data").iterdir():
        (root / "Data" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(DataError) as caught:
        load_livec(root)
    missing = root / "Images" / "10.bmp"
    assert str(caught.value) == f"expected the photograph {missing}, found nothing; the dataset is not complete."
