"""The gallery: the photographs that moved farthest, and pictures whose pixels and scores are those it says."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from robustiqa.attacks.gradient import FGSM, IFGSM
from robustiqa.attacks.objectives import Lower, Raise
from robustiqa.attacks.random_sign import RandomSign
from robustiqa.core.dataset import Dataset, Photo
from robustiqa.core.errors import DataError, InputError
from robustiqa.core.model import QualityModel
from robustiqa.evaluation.run import evaluate
from robustiqa.evaluation.views import Evaluation
from robustiqa.models.crop_average import CropAverage
from robustiqa.report import GalleryItem, build_gallery
from tests.photos import Scene, tiny_dataset
from tests.report.reading import changed, kept
from tests.toys import ConstantModel, ConvModel

FGSM_2 = FGSM(eps=0.01)
ATTACKS = [RandomSign(eps=0.01), FGSM_2, IFGSM(eps="4/255", steps=2)]
COMPARISON = {"base": ["plain"], "defended": ["nt"]}


def levels(png: bytes) -> npt.NDArray[np.int64]:
    """A picture's levels, (H, W, 3)."""
    picture = Image.open(io.BytesIO(png))
    assert picture.format == "PNG" and picture.mode == "RGB" and not picture.info
    return np.asarray(picture).astype(np.int64)


def pixels(png: bytes) -> torch.Tensor:
    """The picture as a model takes it, (1, 3, H, W)."""
    return torch.tensor(levels(png)).permute(2, 0, 1)[None].float() / 255


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return tiny_dataset(train=0, validation=0, test=6, low=20, high=24)


@pytest.fixture(scope="module")
def models() -> dict[str, QualityModel]:
    return {"plain": ConvModel(seed=1).eval(), "nt": ConvModel(seed=2, crop_size=16).eval(), "other": ConvModel(seed=3)}


@pytest.fixture(scope="module")
def evaluated(models: dict[str, QualityModel], dataset: Dataset) -> Evaluation:
    return evaluate(models, dataset, ATTACKS, info={"comparison": COMPARISON})


@pytest.fixture(scope="module")
def items(evaluated: Evaluation, models: dict[str, QualityModel], dataset: Dataset) -> list[GalleryItem]:
    one_way = [replace(attack, objective=Raise()) for attack in ATTACKS]  # whatever it aims at, both ways are shown
    return build_gallery(evaluated, models, dataset, one_way, count=3)


def moved(evaluation: Evaluation, label: str, attack: str) -> dict[str, float]:
    """Largest change of each photograph in either direction."""
    found: dict[str, float] = {}
    for record in evaluation.records:
        if (record.scored_by, record.attack) == (label, attack):
            found[record.key] = max(found.get(record.key, 0.0), abs(record.score - record.clean_score))
    return found


def test_the_gallery_shows_what_moved_the_baseline_farthest(evaluated: Evaluation, items: list[GalleryItem]) -> None:
    changes = moved(evaluated, "plain", FGSM_2.label)
    assert [item.key for item in items] == sorted(changes, key=lambda key: -changes[key])[:3]
    for item in items:
        assert (item.attack, item.attacked_on, item.levels) == (FGSM_2.label, "plain", 2)
        assert abs(item.scores[0].after - item.scores[0].before) == pytest.approx(changes[item.key], abs=1e-4)


@pytest.mark.parametrize("goal", ["lower", "raise"])
def test_a_photograph_that_one_direction_moved_far_comes_first(
    goal: str, evaluated: Evaluation, models: dict[str, QualityModel], dataset: Dataset
) -> None:
    changes = moved(evaluated, "plain", FGSM_2.label)
    least = min(changes, key=lambda key: changes[key])
    run = ("plain", FGSM_2.label, goal, least)
    planted = changed(
        evaluated,
        lambda r: replace(r, score=r.clean_score + 40) if (r.scored_by, r.attack, r.goal, r.key) == run else r,
    )
    (item,) = build_gallery(planted, models, dataset, ATTACKS, count=1)
    assert item.key == least


def test_random_draws_are_those_of_the_evaluation(models: dict[str, QualityModel], dataset: Dataset) -> None:
    noise = type("Noise", (RandomSign,), {"name": "noise"})(eps="8/255")
    lone = {"plain": models["plain"]}
    evaluation = evaluate(lone, dataset, [noise])
    changes = moved(evaluation, "plain", noise.label)
    for item in build_gallery(evaluation, lone, dataset, [noise], count=3):
        change = abs(item.scores[0].after - item.scores[0].before)
        assert change == pytest.approx(changes[item.key], abs=1e-5)


def test_each_model_is_attacked_on_itself(evaluated: Evaluation, items: list[GalleryItem]) -> None:
    for item in items:
        assert [score.label for score in item.scores] == ["plain", "nt"]  # the comparison's, not every model
        for score in item.scores:
            runs = [
                r for r in evaluated.records if (r.scored_by, r.attack, r.key) == (score.label, FGSM_2.label, item.key)
            ]
            worst = max(runs, key=lambda record: abs(record.score - record.clean_score))
            assert (score.before, score.after) == pytest.approx((worst.clean_score, worst.score), abs=1e-4)


def test_the_scores_beside_the_pictures_are_those_of_the_pictures(
    models: dict[str, QualityModel], items: list[GalleryItem]
) -> None:
    """A reader who saves a picture and scores it gets the number that stands beside it."""
    for item in items:
        assert models["plain"].score(pixels(item.clean)).item() == pytest.approx(item.scores[0].before, abs=1e-4)
        assert models["plain"].score(pixels(item.adversarial)).item() == pytest.approx(item.scores[0].after, abs=1e-4)
        whole = CropAverage(models["nt"]).eval()
        assert whole.score(pixels(item.clean)).item() == pytest.approx(item.scores[1].before, abs=1e-4)


def test_pictures_are_the_photograph_the_attacked_one_and_their_difference_made_visible(
    dataset: Dataset, items: list[GalleryItem]
) -> None:
    photos = {photo.key: photo for photo in dataset}
    for item in items:
        clean, adversarial, difference = map(levels, (item.clean, item.adversarial, item.difference))
        photo = np.round(255 * photos[item.key].read().permute(1, 2, 0).numpy()).astype(int)
        assert np.array_equal(clean, photo) and item.mos == photos[item.key].mos
        change = adversarial - clean
        assert 0 < np.abs(change).max() <= item.levels
        assert item.amplification == 64 // np.abs(change).max()
        assert np.array_equal(difference, 127 + item.amplification * change)
        assert (item.width, item.height, item.scale) == (clean.shape[1], clean.shape[0], 1.0)


def test_ssim_is_torchmetrics_of_the_pictures(items: list[GalleryItem]) -> None:
    from torchmetrics.functional.image import structural_similarity_index_measure

    for item in items:
        value = structural_similarity_index_measure(pixels(item.adversarial), pixels(item.clean), data_range=1.0)
        assert item.ssim == pytest.approx(float(value), abs=1e-6)  # type: ignore[arg-type]
        assert 0.5 < item.ssim < 1


def test_a_wide_photograph_is_shown_smaller_and_its_difference_pixel_for_pixel(
    models: dict[str, QualityModel],
) -> None:
    wide = Dataset("wide", (Photo("wide.png", Scene(seed=5, height=25, width=480, grain=0.1)),))
    lone = {"plain": models["plain"]}
    (item,) = build_gallery(evaluate(lone, wide, [FGSM_2]), lone, wide, [FGSM_2])
    assert (item.width, item.height, item.scale, item.mos) == (384, 20, 0.8, None)
    assert all(levels(png).shape == (20, 384, 3) for png in (item.clean, item.adversarial, item.difference))
    result = {
        goal: replace(FGSM_2, objective=goal())(models["plain"], wide.photos[0].read()[None], keys=["wide.png"])
        for goal in (Lower, Raise)
    }
    best = max(result.values(), key=lambda found: abs(float(found.scores_8bit - found.clean_scores)))
    change = (255 * (best.images_8bit - best.clean_images))[0, :, 2:22, 48:432].round().permute(1, 2, 0).numpy()
    assert np.array_equal(levels(item.difference), 127 + item.amplification * change.astype(int))
    resized = Image.fromarray(np.round(255 * wide.photos[0].read().permute(1, 2, 0).numpy()).astype(np.uint8)).resize(
        (384, 20), Image.Resampling.LANCZOS
    )
    assert np.array_equal(levels(item.clean), np.asarray(resized))


def test_without_a_comparison_the_first_model_decides_and_all_that_were_given_are_scored(
    evaluated: Evaluation, models: dict[str, QualityModel], dataset: Dataset
) -> None:
    alone = Evaluation(evaluated.records, {**evaluated.info, "info": {}})
    two = {label: models[label] for label in ("other", "nt")}
    found = build_gallery(alone, two, dataset, ATTACKS[2:], count=9)
    assert len(found) == len(dataset)  # no more than there are
    changes = moved(alone, "nt", ATTACKS[2].label)
    assert [item.key for item in found] == sorted(changes, key=lambda key: -changes[key])
    assert [score.label for score in found[0].scores] == ["nt", "other"]


def test_a_model_that_does_not_move_has_a_gray_difference(dataset: Dataset) -> None:
    still = {"still": ConstantModel().eval()}
    signs = evaluate(still, dataset, [RandomSign(eps=0.01)])
    renamed = Evaluation(
        tuple(replace(r, attack=FGSM_2.label) if r.attack != "none" else r for r in signs.records), signs.info
    )
    mocked = type("Nothing", (RandomSign,), {"name": "fgsm", "perturb": lambda self, oracle, images, *_: images})
    (item,) = build_gallery(renamed, still, dataset, [mocked(eps=0.01)], count=1)
    assert item.scores[0].before == item.scores[0].after == 50
    assert np.array_equal(levels(item.difference), np.full_like(levels(item.clean), 127))
    assert item.ssim == pytest.approx(1.0) and item.amplification == 64


@pytest.mark.parametrize("label", ["plain", "nt"])
def test_a_model_other_than_the_one_that_was_evaluated_is_refused(
    label: str, evaluated: Evaluation, models: dict[str, QualityModel], dataset: Dataset
) -> None:
    swapped = {**models, label: ConvModel(seed=9, crop_size=models[label].crop_size).eval()}
    with pytest.raises(InputError) as caught:
        build_gallery(evaluated, swapped, dataset, ATTACKS, count=1)
    changes = moved(evaluated, "plain", FGSM_2.label)
    key = max(changes, key=lambda name: changes[name])
    image = next(photo for photo in dataset if photo.key == key).read()[None]
    whole = swapped[label] if label == "plain" else CropAverage(swapped[label]).eval()
    (record,) = [r for r in evaluated.records if (r.scored_by, r.attack, r.key) == (label, "none", key)]
    assert str(caught.value) == (
        f"model {label!r} scores {key} {whole.score(image).item():.2f}, its record says {record.clean_score:.2f}; pass "
        "the models that were evaluated."
    )


def test_a_model_whose_records_lack_the_photograph_is_refused(
    evaluated: Evaluation, models: dict[str, QualityModel], dataset: Dataset
) -> None:
    changes = moved(evaluated, "plain", FGSM_2.label)
    key = max(changes, key=lambda name: changes[name])
    cut = kept(evaluated, lambda record: (record.scored_by, record.key) != ("nt", key))
    with pytest.raises(InputError, match="its record says nan; pass the models that were evaluated"):
        build_gallery(cut, models, dataset, ATTACKS, count=1)


def test_what_the_gallery_can_not_be_made_of_is_refused(
    evaluated: Evaluation, models: dict[str, QualityModel], dataset: Dataset
) -> None:
    known = f"{FGSM_2.label}, {ATTACKS[2].label}"
    refused = [
        (models, [], f"the gallery needs an attack of the evaluation ({known}), got none."),
        (models, ATTACKS[:1], f"the gallery needs an attack of the evaluation ({known}), got {ATTACKS[0].label}."),
        ({"plain": models["plain"]}, ATTACKS, "the gallery needs the model 'nt', got plain."),
        ({}, ATTACKS, "the gallery needs the model 'plain', got none."),
    ]
    for given, attacks, message in refused:
        with pytest.raises(InputError) as caught:
            build_gallery(evaluated, given, dataset, attacks)
        assert str(caught.value) == message
    alone = Evaluation(evaluated.records, {**evaluated.info, "info": {}})
    with pytest.raises(InputError, match=r"^the gallery needs the model 'plain', got stranger\.$"):
        build_gallery(alone, {"stranger": models["plain"]}, dataset, ATTACKS)
    with pytest.raises(InputError, match="count"):
        build_gallery(evaluated, models, dataset, ATTACKS, count=0)
    with pytest.raises(DataError, match=r"^dataset 'tiny' has no photo "):
        build_gallery(evaluated, models, replace(dataset, photos=()), ATTACKS)
