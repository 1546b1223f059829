from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from robustiqa.core.dataset import Photo
from robustiqa.core.errors import InputError
from robustiqa.core.image_files import FileSource
from robustiqa.datasets.splits import position, split_names, split_photos
from tests.datasets.imitations import livec_names

THIRDS = {"train": 0.5, "validation": 0.2, "test": 0.3}


def alone(count: int) -> dict[str, str]:
    return {f"photo {number}.jpg": "" for number in range(count)}


def test_a_position_is_the_salted_hash_as_a_fraction() -> None:
    digest = hashlib.sha256(b"salt\x1fname").hexdigest()
    assert position("name", "salt") == pytest.approx(int(digest, 16) / 16**64, abs=1e-15)
    assert position("name", "salt") != position("name", "other")


def test_parts_are_disjoint_complete_and_near_their_shares() -> None:
    parts = split_names(alone(3000), THIRDS)
    assert sorted(name for names in parts.values() for name in names) == sorted(alone(3000))
    for part, share in THIRDS.items():
        assert len(parts[part]) / 3000 == pytest.approx(share, abs=0.03)
        assert list(parts[part]) == sorted(parts[part])


def test_adding_photographs_moves_no_other() -> None:
    few, many = split_names(alone(50), THIRDS), split_names(alone(500), THIRDS)
    for part, names in few.items():
        assert set(names) <= set(many[part])


def test_a_group_is_never_cut() -> None:
    groups = {f"{number}": f"scene {number % 40}" for number in range(400)}
    parts = split_names(groups, THIRDS)
    in_parts = Counter(scene for names in parts.values() for scene in {groups[name] for name in names})
    assert len(parts) == 3
    assert set(in_parts.values()) == {1}


def test_photographs_are_split_by_their_group() -> None:
    photos = [Photo(name, FileSource(__file__), None, name[:2]) for name in livec_names()]  # type: ignore[arg-type]
    assert split_photos(photos, THIRDS, salt="a") == split_names({n: n[:2] for n in livec_names()}, THIRDS, salt="a")


def test_a_part_that_nothing_falls_into_is_left_out() -> None:
    assert split_names({"a": ""}, {"train": 1.0, "test": 0.0}) == {"train": ("a",)}
    assert split_names({}, THIRDS) == {}


@pytest.mark.parametrize("shares", [{"train": 0.5}, {"train": 1.5, "test": -0.5}])
def test_shares_that_do_not_make_a_whole_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(InputError) as caught:
        split_names(alone(2), shares)
    assert str(caught.value) == f"the shares of a split must be at least 0 and add up to 1, got {shares}."
