"""What every dataset in the registry owes; a new dataset is tested by its registry line and one imitation below."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from robustiqa.core.dataset import TARGET_SCALE, Dataset
from robustiqa.core.errors import RobustIQAError
from robustiqa.core.image_files import FileSource
from robustiqa.datasets import create_dataset, datasets
from tests.datasets.imitations import livec_names, make_biq2021, make_csv_folder, make_livec, put_photos
from tests.datasets.public_imitations import PUBLIC, public_recipe

Recipe = tuple[str, dict[str, Any]]
WITHOUT_MOS = {"folder"}
WITHOUT_PARTS = {"folder"}
WITHOUT_FILES = {"builtin"}


def _biq2021(folder: Path) -> Recipe:
    train = {f"ss01 ({number}).jpg": number / 4000 for number in range(1, 4000, 40)}
    return f"biq2021:{make_biq2021(folder, train, {'ss02 (5).jpg': 1.0, 'ss02 (6).jpg': 0.0})}", {}


def _csv_folder(folder: Path) -> Recipe:
    names = [f"{number}.png" for number in range(90)]
    lines = [f"{name},{1 + place % 5},{place // 3}" for place, name in enumerate(reversed(names))]
    make_csv_folder(folder, "\n".join(["name,dmos,group", *lines]), names)
    return f"csv:{folder}", {"scale": (1, 5)}


def _folder(folder: Path) -> Recipe:
    put_photos(folder, ["b.png", "a.png", "B.png"])
    return f"folder:{folder}", {}


def _livec(folder: Path) -> Recipe:
    names = livec_names()
    return f"livec:{make_livec(folder, names, [3.42 + place % 90 for place in range(1162)])}", {}


def _builtin(folder: Path) -> Recipe:
    return "builtin", {"scenes": 10, "size": 40}


IMITATIONS: dict[str, Callable[[Path], Recipe]] = {
    "biq2021": _biq2021,
    "builtin": _builtin,
    "csv_folder": _csv_folder,
    "folder": _folder,
    "livec": _livec,
    **{name: public_recipe(name) for name in PUBLIC},
}


def test_each_dataset_has_its_imitation() -> None:
    assert sorted(IMITATIONS) == datasets.names()


@pytest.fixture(scope="module", params=datasets.names())
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Recipe, Dataset]:
    name: str = request.param
    folder = tmp_path_factory.mktemp(name) / "set"
    folder.mkdir()
    recipe = IMITATIONS[name](folder)
    return name, recipe, create_dataset(recipe[0], **recipe[1])


Opened = tuple[str, Recipe, Dataset]


def test_photographs_are_sorted_and_their_pixels_lie_in_0_1(opened: Opened) -> None:
    _, _, dataset = opened
    keys = [photo.key for photo in dataset]
    assert keys == sorted(set(keys))
    for photo in dataset.photos[:3]:
        image = photo.read()
        assert image.dtype == torch.float32
        assert image.ndim == 3
        assert image.shape[0] == 3
        assert image.is_contiguous()
        assert 0 <= image.min() <= image.max() <= 1


def test_scores_are_finite_on_0_to_100_or_all_missing(opened: Opened) -> None:
    name, _, dataset = opened
    if name in WITHOUT_MOS:
        assert all(photo.mos is None for photo in dataset)
        assert dataset.mos_scale is None
        return
    scores = [photo.mos for photo in dataset if photo.mos is not None]
    assert len(scores) == len(dataset)
    assert all(math.isfinite(mos) and TARGET_SCALE.low <= mos <= TARGET_SCALE.high for mos in scores)
    assert max(scores) - min(scores) > 50
    assert dataset.mos_scale is not None


def test_parts_are_disjoint_complete_and_cut_no_group(opened: Opened) -> None:
    name, _, dataset = opened
    if name in WITHOUT_PARTS:
        assert dataset.parts == {}
        return
    assert set(dataset.parts) == {"train", "validation", "test"}
    listed = [key for keys in dataset.parts.values() for key in keys]
    assert sorted(listed) == [photo.key for photo in dataset]
    part_of = {key: part for part, keys in dataset.parts.items() for key in keys}
    groups = {photo.group for photo in dataset if photo.group}
    assert len({(photo.group, part_of[photo.key]) for photo in dataset if photo.group}) == len(groups)


def test_opening_again_gives_the_same_dataset_and_split(opened: Opened) -> None:
    _, (spec, options), dataset = opened
    again = create_dataset(spec, **options)
    assert again == dataset
    assert again.fingerprint() == dataset.fingerprint()
    assert again.split_fingerprint() == dataset.split_fingerprint()


def test_it_survives_pickling(opened: Opened) -> None:
    _, _, dataset = opened
    copy: Dataset = pickle.loads(pickle.dumps(dataset))
    assert copy == dataset
    assert torch.equal(copy.photos[-1].read(), dataset.photos[-1].read())


def test_a_missing_file_names_its_path(opened: Opened) -> None:
    name, (spec, options), dataset = opened
    if name in WITHOUT_FILES:
        assert not any(isinstance(photo.source, FileSource) for photo in dataset)
        return
    source = dataset.photos[-1].source
    assert isinstance(source, FileSource)
    hidden = source.path.rename(source.path.with_name("hidden"))
    try:
        with pytest.raises(RobustIQAError) as caught:
            create_dataset(spec, **options).select([dataset.photos[-1].key]).photos[0].read()
        if name not in WITHOUT_MOS:  # without a label file nothing tells that a photograph is missing
            assert str(source.path) in str(caught.value)
        with pytest.raises(RobustIQAError) as on_read:
            dataset.photos[-1].read()
        assert str(source.path) in str(on_read.value)
    finally:
        hidden.rename(source.path)
