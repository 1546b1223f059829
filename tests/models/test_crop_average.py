from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from torch import Tensor

from robustiqa.attacks.gradient import IFGSM
from robustiqa.core.attack import clean_pass
from robustiqa.core.errors import InputError
from robustiqa.core.model import ScoreScale
from robustiqa.models.crop_average import CropAverage, covering_offsets, reflected_indices
from tests.toys import ConvModel, RecordingModel, toy_photos

SIDE = 16


def averaged(crops: int | None = None, seed: int = 919, small: str = "refuse") -> CropAverage:
    return CropAverage(ConvModel(crop_size=SIDE), crops=crops, seed=seed, small=small).eval()


def photos(height: int, width: int, count: int = 2) -> Tensor:
    return torch.rand(count, 3, height, width)


def mean_of_single_crops(model: CropAverage, photo: Tensor) -> float:
    """Cuts the crops one by one, scores each alone, and averages in NumPy."""
    scores = []
    for row, column in model.offsets(*photo.shape[-2:]):
        crop = photo[:, row : row + SIDE, column : column + SIDE]
        with torch.no_grad():
            scores.append(model.model(crop[None].contiguous()).item())
    return float(np.mean(scores))


@pytest.mark.parametrize(
    ("length", "crop", "offsets"),
    [
        (512, 224, [0, 144, 288]),
        (500, 224, [0, 138, 276]),
        (224, 224, [0]),
        (225, 224, [0, 1]),
        (448, 224, [0, 224]),
        (384, 224, [0, 160]),
    ],
)
def test_covering_offsets_are_those_of_the_smallest_even_grid(length: int, crop: int, offsets: list[int]) -> None:
    assert covering_offsets(length, crop) == offsets


@pytest.mark.parametrize("crop", [1, 2, 3, 5, 7, 16, 224])
def test_every_pixel_is_covered_by_the_fewest_crops_inside_the_photo(crop: int) -> None:
    for length in range(crop, 6 * crop + 20):
        offsets = covering_offsets(length, crop)
        covered = np.zeros(length, int)
        for start in offsets:
            assert start >= 0 and start + crop <= length
            covered[start : start + crop] += 1
        assert covered.min() >= 1
        assert (len(offsets) - 1) * crop < length  # one crop fewer could not
        gaps = np.diff(offsets)
        assert gaps.size == 0 or gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize("crops", [None, 5])
@pytest.mark.parametrize("size", [(16, 16), (16, 17), (40, 23), (64, 48)])
def test_a_photos_score_is_the_mean_over_its_crops(size: tuple[int, int], crops: int | None) -> None:
    model, images = averaged(crops), photos(*size)
    scores = model.score(images)
    assert scores.tolist() == pytest.approx([mean_of_single_crops(model, photo) for photo in images], abs=1e-4)


@pytest.mark.parametrize("crops", [None, 5])
def test_the_gradient_is_the_mean_of_crop_gradients_laid_where_the_crops_lie(crops: int | None) -> None:
    model, images = averaged(crops), photos(40, 23)
    corners = model.offsets(40, 23)
    expected = torch.zeros_like(images)
    for row, column in corners:
        window = (..., slice(row, row + SIDE), slice(column, column + SIDE))
        expected[window] += clean_pass(model.model, images[window].contiguous()).gradient / len(corners)
    found = clean_pass(model, images).gradient
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert crops is not None or found.abs().amin(1).min() > 0  # the grid leaves no pixel out


def test_random_crops_depend_on_the_seed_and_the_size_and_on_nothing_else() -> None:
    first = averaged(crops=25).offsets(64, 48)
    torch.manual_seed(123)
    torch.rand(7)
    assert averaged(crops=25).offsets(64, 48) == first
    assert averaged(crops=25, seed=920).offsets(64, 48) != first
    rows = [row for row, _ in averaged(crops=25).offsets(64, 49)]
    assert rows != [row for row, _ in first]


def test_random_crops_lie_inside_the_photo_and_reach_its_ends() -> None:
    corners = averaged(crops=500).offsets(SIDE + 3, SIDE + 1)
    assert {row for row, _ in corners} == {0, 1, 2, 3}
    assert {column for _, column in corners} == {0, 1}


def test_an_attacked_photo_is_scored_on_the_crops_of_the_clean_one() -> None:
    model, images = averaged(crops=5), photos(40, 23)
    marked = images.clone()
    marked[:, :, 0, 0] = 1 - marked[:, :, 0, 0]
    clean, attacked = model.crops(images), model.crops(marked)
    assert clean.shape == (2, 5, 3, SIDE, SIDE)
    holds_the_pixel = [corner == (0, 0) for corner in model.offsets(40, 23)]
    differs = (clean != attacked).any(-1).any(-1).any(-1)  # (N, K)
    assert differs.tolist() == [holds_the_pixel] * 2


def test_scoring_leaves_the_global_generator_alone() -> None:
    model, images = averaged(crops=5), photos(40, 23)
    before = torch.get_rng_state()
    model.score(images)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("length", range(1, 12))
def test_small_photos_are_extended_as_numpy_reflects(length: int) -> None:
    line = np.arange(length)
    for wanted in range(length, 40):
        before = (wanted - length) // 2
        expected = np.pad(line, (before, wanted - length - before), mode="reflect")
        assert reflected_indices(length, wanted).tolist() == expected.tolist()


def test_reflection_walks_to_and_fro_as_often_as_it_takes() -> None:
    assert reflected_indices(3, 11).tolist() == [0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2]
    assert reflected_indices(1, 4).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("size", [(5, 40), (40, 5), (5, 3), (1, 1), (15, 16)])
def test_padded_photos_score_as_their_reflection_does(size: tuple[int, int]) -> None:
    model, images = averaged(small="pad"), photos(*size)
    ends = [divmod(max(SIDE - length, 0), 2) for length in size]
    extents = [(half, half + odd) for half, odd in ends]
    padded = torch.from_numpy(np.pad(images.numpy(), [(0, 0), (0, 0), *extents], mode="reflect"))
    torch.testing.assert_close(model.score(images), model.score(padded))


def test_a_padded_photos_gradient_gathers_every_copy_of_a_pixel() -> None:
    model, images = averaged(small="pad"), photos(1, 1, count=1)
    crop_gradient = clean_pass(model.model, images.expand(1, 3, SIDE, SIDE).contiguous()).gradient
    torch.testing.assert_close(clean_pass(model, images).gradient, crop_gradient.sum((2, 3), keepdim=True))


@pytest.mark.parametrize("size", [(15, 40), (40, 15), (3, 5)])
def test_small_photos_are_refused_unless_padding_is_asked_for(size: tuple[int, int]) -> None:
    with pytest.raises(InputError) as refused:
        CropAverage(ConvModel(crop_size=SIDE)).eval().score(photos(*size))
    assert str(refused.value) == (
        f"photographs must be at least 16x16 pixels, got {size[1]}x{size[0]}; "
        "ask for small='pad' (--small pad) to extend them by reflection."
    )


def test_models_that_take_any_size_need_no_crops() -> None:
    with pytest.raises(InputError) as refused:
        CropAverage(ConvModel())
    assert str(refused.value) == "ConvModel takes photographs of any size; it needs no crop averaging."


def test_a_crop_average_takes_any_size_itself() -> None:
    assert averaged().crop_size is None


@pytest.mark.parametrize("crops", [0, -1, 2.5, True])
def test_crop_counts_that_are_none_are_refused(crops: int) -> None:
    with pytest.raises(InputError) as refused:
        averaged(crops)
    assert str(refused.value) == f"crops must be a whole number of at least 1, got {crops!r}."


def test_unknown_ways_with_small_photos_are_refused() -> None:
    with pytest.raises(InputError) as refused:
        averaged(small="crop")
    assert str(refused.value) == "small must be 'refuse' or 'pad', got 'crop'."


def test_scale_and_input_statistics_are_the_inner_models() -> None:
    inner = ConvModel(crop_size=SIDE)
    inner.scale = ScoreScale(0, 10)
    model = CropAverage(inner)
    assert model.scale == ScoreScale(0, 10)
    assert torch.equal(model.input_std, inner.input_std)
    assert torch.equal(model.input_mean, inner.input_mean)


def needing_no_weight_gradients(model: CropAverage) -> CropAverage:
    for weight in model.parameters():
        weight.requires_grad_(False)
    return model


def in_chunks(chunk: int, crops: int | None = None) -> CropAverage:
    inner = RecordingModel(ConvModel(crop_size=SIDE))
    inner.crop_size = SIDE
    return needing_no_weight_gradients(CropAverage(inner, crops=crops, chunk=chunk).eval())


@pytest.mark.parametrize("crops", [None, 7])
@pytest.mark.parametrize("chunk", [1, 4, 5, 11, 100])
def test_crops_in_chunks_give_the_score_and_the_gradient_of_all_at_once(chunk: int, crops: int | None) -> None:
    model, images = in_chunks(chunk, crops), photos(40, 23)
    whole = needing_no_weight_gradients(averaged(crops))
    upstream = torch.tensor([1.0, -3.0])
    found, expected = (
        torch.autograd.grad((upstream * one(leaf)).sum(), leaf)[0]
        for one, leaf in ((model, images.clone().requires_grad_()), (whole.whole, images.clone().requires_grad_()))
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(model.score(images), whole.whole(images), rtol=1e-6, atol=1e-4)
    assert isinstance(model.model, RecordingModel)
    sizes = [len(asked) for asked in model.model.asked]
    count = 2 * len(model.offsets(40, 23))
    assert max(sizes) <= chunk
    assert sum(sizes) == 2 * count  # once for the gradient, once for the scores


class Kept:
    """A tensor that a graph keeps, as long as the graph is there."""

    def __init__(self, values: Tensor) -> None:
        self.values = values


def test_crops_are_differentiated_before_the_next_are_cut() -> None:
    """In the end the photographs and their gradient are kept, at most once 4 crops' activations besides."""

    def kept(chunk: int) -> tuple[int, int]:
        model, images = in_chunks(chunk), photos(40, 23).requires_grad_()
        held: weakref.WeakSet[Kept] = weakref.WeakSet()
        most = 0

        def keep(values: Tensor) -> Kept:
            nonlocal most
            one = Kept(values)
            held.add(one)
            most = max(most, sum(kept.values.numel() for kept in held))
            return one

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda one: one.values):
            scores = model(images)
        gc.collect()
        assert scores.grad_fn is not None
        return most, sum(one.values.numel() for one in held)

    most, left = kept(4)
    assert left == 2 * photos(40, 23).numel()
    assert most < 0.5 * kept(100)[0]


def test_a_gradient_of_chunks_can_be_differentiated_itself() -> None:
    images = photos(40, 23).double()
    both = []
    for model in (in_chunks(4).double(), needing_no_weight_gradients(averaged()).double()):
        leaf = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model(leaf).sum(), leaf, create_graph=True)
        both.append(torch.autograd.grad(gradient.abs().sum(), leaf)[0])
    assert both[1].abs().max() > 0
    torch.testing.assert_close(both[0], both[1])


def test_weights_that_need_a_gradient_get_it_through_every_crop() -> None:
    images, found = photos(40, 23), []
    for chunk in (4, 100):
        model = CropAverage(ConvModel(crop_size=SIDE), chunk=chunk).eval()
        torch.autograd.backward(model(images.clone().requires_grad_()).sum())
        found.append([weight.grad for weight in model.parameters()])
    for chunked, whole in zip(*found, strict=True):
        assert whole is not None
        torch.testing.assert_close(chunked, whole)


def test_an_attack_in_chunks_is_the_attack_on_the_whole() -> None:
    images = toy_photos(2, 40)
    attack = IFGSM(steps=3)
    chunked, whole = (attack(CropAverage(ConvModel(crop_size=SIDE), chunk=chunk).eval(), images) for chunk in (4, 100))
    torch.testing.assert_close(chunked.scores_8bit, whole.scores_8bit, rtol=1e-5, atol=1e-4)
    assert chunked.gradients.equal(whole.gradients)
    assert ((chunked.images - whole.images).abs() > 1e-3).float().mean() < 0.01


def test_a_chunk_holds_a_crop_or_more() -> None:
    with pytest.raises(InputError) as refused:
        CropAverage(ConvModel(crop_size=SIDE), chunk=0)
    assert str(refused.value) == "chunk must be a whole number of at least 1, got 0."
