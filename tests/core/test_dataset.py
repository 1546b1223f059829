from __future__ import annotations

import pickle
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from robustiqa.core.dataset import Dataset, Photo
from robustiqa.core.errors import DataError
from tests.photos import Scene, tiny_dataset


def refused(message: str) -> pytest.RaisesExc[DataError]:
    return pytest.raises(DataError, match=f"^{re.escape(message)}$")


def test_photos_come_in_order_and_parts_select_them() -> None:
    dataset = tiny_dataset(train=3, validation=2, test=1)
    assert len(dataset) == 6
    keys = [photo.key for photo in dataset]
    assert keys == sorted(keys)
    part = dataset.part("validation")
    assert [photo.key for photo in part] == ["validation-000.png", "validation-001.png"]
    assert part.name == dataset.name
    assert part.mos_scale == dataset.mos_scale
    assert dataset.part("all") is dataset


def test_a_selection_keeps_the_datasets_order_whatever_order_is_asked_for() -> None:
    dataset = tiny_dataset(train=4)
    chosen = dataset.select(["train-003.png", "train-000.png", "train-003.png"])
    assert [photo.key for photo in chosen] == ["train-000.png", "train-003.png"]


def test_photos_out_of_order_or_twice_are_refused() -> None:
    photo = Photo("b.png", Scene(0, 8, 8, 0.0), 1.0)
    for photos in [(photo, replace(photo, key="a.png")), (photo, photo)]:
        with refused("dataset 'mine' must list each photo once, sorted by name."):
            Dataset("mine", photos)


def test_a_part_or_photo_that_is_not_there_is_named() -> None:
    dataset = tiny_dataset(train=2, validation=1, test=0)
    with refused("dataset 'tiny' has no part 'test'; it has: all, train, validation."):
        dataset.part("test")
    with refused("dataset 'tiny' has no photo 'x.png' (2 missing in all)."):
        dataset.select(["train-000.png", "y.png", "x.png"])


def test_opinion_scores_are_there_only_if_every_photo_has_one() -> None:
    dataset = tiny_dataset(train=3)
    assert dataset.has_mos
    first, *others = dataset.photos
    assert not replace(dataset, photos=(replace(first, mos=None), *others)).has_mos
    assert not Dataset("none", ()).has_mos


def test_the_fingerprint_follows_keys_and_scores_and_nothing_else() -> None:
    dataset = tiny_dataset(train=3)
    first, *others = dataset.photos
    assert first.mos is not None

    def with_first(photo: Photo) -> str:
        return replace(dataset, photos=(photo, *others)).fingerprint()

    assert re.fullmatch("[0-9a-f]{16}", dataset.fingerprint())
    assert with_first(replace(first, mos=first.mos + 1e-12)) != dataset.fingerprint()
    assert with_first(replace(first, key="a.png")) != dataset.fingerprint()
    assert with_first(replace(first, source=Scene(9, 8, 8, 0.0))) == dataset.fingerprint()
    elsewhere = replace(dataset, root=Path("elsewhere"), name="other", parts={})
    assert elsewhere.fingerprint() == dataset.fingerprint()


def test_the_split_fingerprint_follows_the_parts_and_not_their_order() -> None:
    dataset = tiny_dataset(train=3, validation=2, test=1)
    turned = {part: tuple(reversed(keys)) for part, keys in reversed(list(dataset.parts.items()))}
    moved = {**dataset.parts, "test": (), "train": (*dataset.parts["train"], *dataset.parts["test"])}
    assert replace(dataset, parts=turned).split_fingerprint() == dataset.split_fingerprint()
    assert replace(dataset, parts=moved).split_fingerprint() != dataset.split_fingerprint()


def test_where_a_dataset_was_read_from_is_not_part_of_it() -> None:
    dataset = tiny_dataset(train=2)
    assert replace(dataset, root=Path("one")) == replace(dataset, root=Path("other"))


def test_a_dataset_in_memory_survives_pickling_and_reads_the_same_pixels() -> None:
    dataset = tiny_dataset(train=2, low=16, high=20)
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy == dataset
    for photo, again in zip(dataset, copy, strict=True):
        image = photo.read()
        assert torch.equal(image, again.read())
        assert torch.equal(image * 255, (image * 255).round())
        assert image.amin() >= 0
        assert image.amax() <= 1
