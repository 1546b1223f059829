from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from robustiqa.core.dataset import Dataset, Photo
from robustiqa.core.errors import DataError, SpecError
from robustiqa.training.crops import Crops, DecodedPhotos, EpochBatches, epoch_loader
from robustiqa.training.spec import DataSpec
from tests.photos import Scene, tiny_dataset
from tests.training.tiny import tiny_photos

SIDE = 16
FEW_CORES = "ignore:This DataLoader will create 2 worker processes:UserWarning"
THREADED_FORK = "ignore:This process .* is multi-threaded:DeprecationWarning"


def crops_of(dataset: Dataset, folder: Path, seed: int = 0, *, flip: bool = True, noise_std: float = 0.0) -> Crops:
    return Crops(dataset, DecodedPhotos(folder), SIDE, DataSpec(flip=flip, noise_std=noise_std), seed)


def place_of(crop: Tensor, photo: Tensor) -> tuple[int, int]:
    """Where a crop was cut from a photograph, searched by hand."""
    for row in range(photo.shape[1] - SIDE + 1):
        for column in range(photo.shape[2] - SIDE + 1):
            if torch.equal(photo[:, row : row + SIDE, column : column + SIDE], crop):
                return row, column
    raise AssertionError("the crop is nowhere in the photograph")


def test_a_crop_is_a_window_of_its_photo_and_comes_with_its_score(tmp_path: Path) -> None:
    dataset = tiny_photos(train=3).part("train")
    crops = crops_of(dataset, tmp_path, flip=False)
    for place, photo in enumerate(dataset):
        crop, mos = crops[place, 0, 0]
        assert crop.dtype == torch.float32
        assert mos == photo.mos
        place_of(crop, photo.read())


def test_windows_of_a_photo_are_drawn_evenly_over_all_places(tmp_path: Path) -> None:
    photo = Photo("only.png", Scene(0, SIDE + 1, SIDE + 2, 0.1), 50.0)
    crops = crops_of(Dataset("one", (photo,)), tmp_path, flip=False)
    image = photo.read()
    places = [place_of(crops[0, draw, 0][0], image) for draw in range(300)]
    counts = [places.count((row, column)) for row in range(2) for column in range(3)]
    assert sum(counts) == 300
    assert sum((count - 50) ** 2 / 50 for count in counts) < 20.5  # chi-squared, 5 degrees, .001


def test_about_half_of_the_crops_are_mirrored_and_none_without_flips(tmp_path: Path) -> None:
    photo = Photo("only.png", Scene(0, SIDE, SIDE, 0.1), 50.0)
    dataset, image = Dataset("one", (photo,)), photo.read()
    mirrored = [torch.equal(crops_of(dataset, tmp_path)[0, draw, 0][0], image.flip(-1)) for draw in range(200)]
    assert 70 < sum(mirrored) < 130
    plain = crops_of(dataset, tmp_path, flip=False)
    assert all(torch.equal(plain[0, draw, 0][0], image) for draw in range(20))


def test_noise_is_uniform_in_strength_up_to_what_was_asked_for_and_stays_in_range(tmp_path: Path) -> None:
    photo = Photo("gray.png", Scene(0, SIDE, SIDE, 0.0), 50.0)
    dataset, image = Dataset("one", (photo,)), photo.read()
    crops = crops_of(dataset, tmp_path, flip=False, noise_std=0.02)
    inside = (image > 0.1) & (image < 0.9)
    levels = sorted((crops[0, draw, 0][0] - image)[inside].std().item() / 0.02 for draw in range(200))
    assert levels == pytest.approx([(place + 0.5) / 200 for place in range(200)], abs=0.1)
    loud = [crops_of(dataset, tmp_path, noise_std=2.0)[0, draw, 0][0] for draw in range(4)]
    assert {(one.amin().item(), one.amax().item()) for one in loud} == {(0, 1)}


def test_a_draw_depends_on_seed_epoch_key_and_draw_and_on_nothing_else(tmp_path: Path) -> None:
    dataset = tiny_photos(train=6).part("train")
    crops = crops_of(dataset, tmp_path / "a", noise_std=0.01)
    few = dataset.select([dataset.photos[1].key, dataset.photos[4].key])
    fewer = crops_of(few, tmp_path / "b", noise_std=0.01)
    there = crops[4, 1, 3][0]
    crops[0, 0, 0], torch.rand(3)  # what was drawn in between does not matter
    assert torch.equal(crops[4, 1, 3][0], there)
    assert torch.equal(fewer[1, 1, 3][0], there)  # nor which other photographs there are
    others = [crops[4, 1, 4], crops[4, 2, 3], crops_of(dataset, tmp_path / "a", seed=1, noise_std=0.01)[4, 1, 3]]
    assert not any(torch.equal(other[0], there) for other in others)


def test_the_global_generator_stands_still(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    crops_of(tiny_photos(train=2).part("train"), tmp_path, noise_std=0.1)[0, 0, 0]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.filterwarnings(FEW_CORES, THREADED_FORK)
def test_workers_load_the_batches_that_the_main_process_loads(tmp_path: Path) -> None:
    dataset = tiny_photos(train=10).part("train")
    crops = crops_of(dataset, tmp_path, noise_std=0.01)
    batches = EpochBatches(10, 1, batch_size=3, seed=0, epoch=2)
    by_itself = list(epoch_loader(crops, batches, 0, False))
    with_workers = list(epoch_loader(crops, batches, 2, False))
    assert [images.shape for images, _ in by_itself] == 3 * [(3, 3, SIDE, SIDE)]
    for (images, mos), (again, same) in zip(by_itself, with_workers, strict=True):
        assert torch.equal(images, again)
        assert torch.equal(mos, same)
        assert mos.dtype == torch.float32


def test_a_photo_smaller_than_the_crop_is_named(tmp_path: Path) -> None:
    photo = Photo("thumb.png", Scene(0, SIDE, SIDE - 1, 0.1), 50.0)
    message = (
        "thumb.png is 15x16, smaller than the 16x16 training crop; "
        "leave it out (`robustiqa data check` lists all such photos)."
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        crops_of(Dataset("one", (photo,)), tmp_path)[0, 0, 0]


def test_photos_without_scores_are_refused(tmp_path: Path) -> None:
    dataset = tiny_photos(train=2)
    unscored = replace(dataset, photos=tuple(replace(photo, mos=None) for photo in dataset))
    with pytest.raises(DataError, match=r"^dataset 'tiny' has no opinion scores to train on\.$"):
        crops_of(unscored, tmp_path)


def test_a_photo_is_decoded_once_and_exactly(tmp_path: Path) -> None:
    photo = tiny_dataset(train=1, low=20, high=30).photos[0]
    cache = DecodedPhotos(tmp_path / "cache")
    array = cache.read(photo)
    assert isinstance(array, np.memmap)
    assert torch.equal(torch.from_numpy(np.array(array)).float() / 255, photo.read())

    class Unreadable(Scene):
        def read(self) -> Tensor:
            raise AssertionError("decoded twice")

        def __repr__(self) -> str:
            return repr(photo.source)

    again = cache.read(replace(photo, source=Unreadable(0, 1, 1, 0.0)))
    assert np.array_equal(array, again)


def test_photos_of_one_name_from_two_places_do_not_share_a_cache_entry(tmp_path: Path) -> None:
    cache = DecodedPhotos(tmp_path)
    first, second = (Photo("same.png", Scene(seed, 8, 8, 0.1), 1.0) for seed in (1, 2))
    assert not np.array_equal(cache.read(first), cache.read(second))


def test_every_item_of_an_epoch_comes_at_most_once_and_whole_batches_only() -> None:
    batches = list(EpochBatches(7, 3, batch_size=4, seed=0, epoch=5))
    assert [len(batch) for batch in batches] == 5 * [4]  # 21 items: one is left out
    items = [item for batch in batches for item in batch]
    assert len(set(items)) == 20
    assert set(items) < {(photo, draw, 5) for photo in range(7) for draw in range(3)}


def test_another_epoch_leaves_out_other_items() -> None:
    def left_out(epoch: int) -> int:
        used = {photo for batch in EpochBatches(9, 1, batch_size=4, seed=0, epoch=epoch) for photo, _, _ in batch}
        return next(iter(set(range(9)) - used))

    assert len({left_out(epoch) for epoch in range(20)}) > 4


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        torch.rand(1)
        return [[photo for photo, _, _ in batch] for batch in EpochBatches(20, 1, batch_size=4, seed=seed, epoch=epoch)]

    assert order(0, 0) == order(0, 0)
    assert len({str(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_an_epoch_continues_where_it_was_stopped() -> None:
    whole = list(EpochBatches(20, 2, batch_size=4, seed=1, epoch=3))
    for first in range(len(whole) + 1):
        rest = EpochBatches(20, 2, batch_size=4, seed=1, epoch=3, first=first)
        assert list(rest) == whole[first:]
        assert len(rest) == len(whole) - first


@pytest.mark.parametrize("ranks", [2, 3, 6])
def test_ranks_take_the_items_of_each_batch_in_turn(ranks: int) -> None:
    whole = list(EpochBatches(20, 1, batch_size=6, seed=0, epoch=0))
    shares = [list(EpochBatches(20, 1, batch_size=6, seed=0, epoch=0, rank=rank, ranks=ranks)) for rank in range(ranks)]
    for step, batch in enumerate(whole):
        parts = [share[step] for share in shares]
        assert [len(part) for part in parts] == ranks * [6 // ranks]
        assert [item for in_turn in zip(*parts, strict=True) for item in in_turn] == batch


def test_a_batch_that_ranks_cannot_share_equally_is_refused() -> None:
    message = "a batch of 16 can't be shared equally by 3 processes; choose a batch_size that their number divides."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        EpochBatches(40, 1, batch_size=16, seed=0, epoch=0, ranks=3)


def test_a_dataset_smaller_than_a_batch_is_one_batch() -> None:
    (batch,) = EpochBatches(3, 1, batch_size=16, seed=0, epoch=0)
    assert len(batch) == 3
