from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from robustiqa.attacks.base import NamedAttack
from robustiqa.attacks.gradient import FGSM, IFGSM
from robustiqa.attacks.objectives import Lower, Raise, RankSplit, Target
from robustiqa.attacks.patchwise import attack_patchwise
from robustiqa.attacks.random_sign import RandomSign
from robustiqa.core.dataset import Dataset, Photo
from robustiqa.core.errors import InputError, WorkFailedError
from robustiqa.core.image_files import read_image, write_png
from robustiqa.core.model import QualityModel
from robustiqa.evaluation.records import CLEAN, Record
from robustiqa.evaluation.run import evaluate
from robustiqa.models.crop_average import CropAverage
from tests.photos import Scene, tiny_dataset
from tests.toys import ConvModel

STEPS = IFGSM(eps="4/255", steps=3)
ONE = FGSM(eps=0.01)


def photos(count: int = 5, low: int = 20, high: int = 22, **options: Any) -> Dataset:
    return tiny_dataset(train=0, validation=0, test=count, low=low, high=high, **options)


def model(seed: int = 0, crop_size: int | None = None) -> QualityModel:
    return ConvModel(seed=seed, crop_size=crop_size).eval()


def only(records: Sequence[Record], **wanted: object) -> Record:
    (found,) = [record for record in records if all(getattr(record, name) == value for name, value in wanted.items())]
    return found


def ssim(images: Tensor, center: Tensor) -> list[float]:
    """Structural similarity, one pair at a time."""
    found: list[float] = []
    for after, before in zip(images, center, strict=True):
        value = structural_similarity_index_measure(after[None], before[None], data_range=1.0)
        assert isinstance(value, Tensor)
        found.append(value.item())
    return found


def refused(message: str) -> pytest.RaisesExc[InputError]:
    return pytest.raises(InputError, match=f"^{re.escape(message)}$")


def test_records_say_what_was_found_photo_by_photo() -> None:
    net, dataset = model(), photos()
    records = evaluate(net, dataset, [STEPS]).records
    assert len(records) == 5 * 3
    for photo in dataset:
        image = photo.read()[None].requires_grad_()
        (gradient,) = torch.autograd.grad(net(image).sum(), image)
        image = image.detach()
        clean = only(records, key=photo.key, attack=CLEAN)
        assert clean.clean_score == clean.float_score == clean.score == net.score(image).item()
        assert clean.gradient_l1 == pytest.approx(gradient.abs().sum().item(), rel=1e-5)
        assert (clean.mos, clean.eps, clean.levels, clean.queries, clean.gradients) == (photo.mos, 0.0, 0, 0, 0)
        for goal, objective in (("lower", Lower()), ("raise", Raise())):
            found = only(records, key=photo.key, goal=goal)
            result = replace(STEPS, objective=objective)(net, image, keys=[photo.key])
            change = result.images_8bit - image
            assert found.clean_score == clean.score
            assert found.score == net.score(result.images_8bit).item()
            assert found.float_score == net.score(result.images).item()
            assert (found.score < found.clean_score) == (goal == "lower")
            assert (found.attack, found.eps, found.levels) == (STEPS.label, 4 / 255, 4)
            assert found.linf == round(255 * change.abs().max().item()) == 4
            assert found.l2 == pytest.approx(change.square().sum().sqrt().item(), rel=1e-5)
            assert [found.ssim] == pytest.approx(ssim(result.images_8bit, image), rel=1e-5)
            assert (found.queries, found.gradients) == (result.queries.item(), result.gradients.item())
            assert (found.mos, found.variant) == (photo.mos, "end_to_end")
            assert found.gradient_l1 is None


def test_the_score_that_counts_is_that_of_the_png(tmp_path: Path) -> None:
    net, dataset = model(), photos()
    records = evaluate(net, dataset, [STEPS, ONE]).records
    for attack in (STEPS, ONE):
        for photo in dataset:
            result = replace(attack, objective=Raise())(net, photo.read()[None], keys=[photo.key])
            write_png(result.images_8bit[0], tmp_path / photo.key)
            written = net.score(read_image(tmp_path / photo.key)[None]).item()
            found = only(records, key=photo.key, attack=attack.label, goal="raise")
            assert found.score == written
    assert only(records, key=photo.key, attack=ONE.label, goal="raise").levels == 2  # eps .01 holds 2 whole levels


def test_photographs_of_finer_levels_are_rounded_to_8_bits_first() -> None:
    @dataclass(frozen=True)
    class Fine(Scene):
        def read(self) -> Tensor:
            return (super().read() * 0.999 + 0.0003).clamp(0, 1)

    photo = Photo("fine.png", Fine(0, 20, 20, 0.1))
    image = (photo.read() * 255).round() / 255
    net = model()
    records = evaluate(net, Dataset("fine", (photo,)), [ONE]).records
    assert records[0].score == net.score(image[None]).item() != net.score(photo.read()[None]).item()
    assert {record.linf for record in records[1:]} == {2.0}


def test_crop_models_are_scored_and_attacked_as_whole_photographs() -> None:
    net, dataset = model(crop_size=16), photos(3, low=20, high=40)
    whole = CropAverage(net).eval()
    records = evaluate(net, dataset, [ONE]).records
    for photo in dataset:
        image = photo.read()[None]
        assert only(records, key=photo.key, attack=CLEAN).score == whole.score(image).item()
        result = replace(ONE, objective=Lower())(whole, image)
        assert only(records, key=photo.key, goal="lower").score == result.scores_8bit.item()


def test_small_photographs_are_refused_or_padded() -> None:
    net, dataset = model(crop_size=21), photos(2, low=20, high=20)
    with pytest.raises(InputError, match="photographs must be at least 21x21 pixels, got 20x20"):
        evaluate(net, dataset)
    padded = evaluate(net, dataset, small="pad").records
    image = dataset.photos[0].read()[None]
    assert padded[0].score == CropAverage(net, small="pad").eval().score(image).item()


def test_transferred_attacks_are_scored_by_each_model_and_say_who_was_attacked() -> None:
    models, dataset = {"one": model(1), "two": model(2), "three": model(3)}, photos(2)
    found = evaluate(models, dataset, [ONE], transfer=True)
    assert len(found.records) == 2 * (3 + 3 * 3 * 2)
    assert found.models == ["one", "two", "three"]
    for photo in dataset:
        image = photo.read()[None]
        for attacked_on, source in models.items():
            result = replace(ONE, objective=Raise())(source, image)
            for scored_by, scorer in models.items():
                record = only(found.records, key=photo.key, goal="raise", attacked_on=attacked_on, scored_by=scored_by)
                assert record.score == scorer.score(result.images_8bit).item()
                assert record.float_score == scorer.score(result.images).item()
                assert record.clean_score == scorer.score(image).item()
                assert (
                    record.linf
                    == only(
                        found.records, key=photo.key, goal="raise", attacked_on=attacked_on, scored_by=attacked_on
                    ).linf
                )
            clean = only(found.records, key=photo.key, attack=CLEAN, scored_by=attacked_on)
            assert clean.attacked_on == attacked_on


def test_without_transfer_each_model_scores_only_what_was_found_on_itself() -> None:
    found = evaluate({"one": model(1), "two": model(2)}, photos(2), [ONE])
    assert all(record.scored_by == record.attacked_on for record in found.records)
    alone = evaluate({"two": model(2)}, photos(2), [ONE])
    assert [record for record in found.records if record.scored_by == "two"] == list(alone.records)


def test_patchwise_attacks_stand_beside_end_to_end_ones() -> None:
    net, dataset = model(crop_size=16), photos(2, low=24, high=24)
    records = evaluate(net, dataset, [ONE], variants=("end_to_end", "patchwise")).records
    assert len(records) == 2 * (1 + 2 + 2)
    whole = CropAverage(net).eval()
    for photo in dataset:
        record = only(records, key=photo.key, variant="patchwise", goal="raise")
        image = photo.read()[None]
        result = attack_patchwise(replace(ONE, objective=Raise()), whole, image, [photo.key])
        crops = whole.crops(image)[0]
        change = result.images_8bit - crops
        assert record.score == result.scores_8bit.item()
        assert record.score == pytest.approx(net.score(result.images_8bit).mean().item(), rel=1e-6)
        assert record.clean_score == pytest.approx(whole.score(image).item(), rel=1e-6)
        assert record.linf == round(255 * change.abs().max().item())
        assert record.l2 == pytest.approx(change.square().sum().sqrt().item(), rel=1e-5)
        ssims = ssim(result.images_8bit, crops)
        assert record.ssim == pytest.approx(sum(ssims) / len(ssims), rel=1e-5)
        together = only(records, key=photo.key, variant="end_to_end", goal="raise")
        assert record.score > together.score  # crops that need not agree go farther


def test_a_patchwise_attack_needs_a_model_with_crops() -> None:
    with refused("'net' takes whole photographs; a patchwise variant needs a model that averages crops."):
        evaluate({"net": model()}, photos(1), [ONE], variants=("patchwise",))


@dataclass(frozen=True)
class Seen:
    """Sizes of the batches that a model was given."""

    shapes: list[tuple[int, ...]]

    def watch(self, net: QualityModel) -> QualityModel:
        net.register_forward_pre_hook(lambda module, arguments: self.shapes.append(tuple(arguments[0].shape)))
        return net


def test_a_batch_holds_neighbors_of_one_size_and_no_more_than_asked_for() -> None:
    sizes = [(20, 20), (20, 20), (20, 20), (22, 20), (20, 22), (20, 20), (20, 20)]
    dataset = Dataset(
        "mixed", tuple(Photo(f"{place}.png", Scene(place, *size, 0.1), 50.0) for place, size in enumerate(sizes))
    )
    seen = Seen([])
    done: list[tuple[int, int]] = []
    found = evaluate(seen.watch(model()), dataset, batch_size=2, progress=lambda now, of: done.append((now, of)))
    assert seen.shapes == [(2, 3, 20, 20), (1, 3, 20, 20), (1, 3, 22, 20), (1, 3, 20, 22), (2, 3, 20, 20)]
    assert done == [(2, 7), (3, 7), (4, 7), (5, 7), (7, 7)]
    assert [record.key for record in found.records] == [photo.key for photo in dataset]
    one_by_one = evaluate(model(), dataset, batch_size=1)
    for record, alone in zip(found.records, one_by_one.records, strict=True):
        assert record.score == pytest.approx(alone.score, rel=1e-5)
        assert record.gradient_l1 == pytest.approx(alone.gradient_l1, rel=1e-4)


def test_random_starts_follow_the_photo_and_not_its_batch() -> None:
    noise = RandomSign(eps="4/255")
    dataset = photos(4, low=20, high=20)
    together, alone = (evaluate(model(), dataset, [noise], batch_size=size).records for size in (4, 1))
    for record in alone:
        again = only(together, key=record.key, goal=record.goal)
        assert again.score == pytest.approx(record.score, rel=1e-5)
        assert again.l2 == pytest.approx(record.l2, rel=1e-5)


@pytest.mark.parametrize("objective", ["worst_of_both", "farther_end", RankSplit(threshold=50.0)])
def test_objectives_that_pick_a_direction_are_run_both_ways(objective: Any) -> None:
    records = evaluate(model(), photos(1), [replace(ONE, objective=objective)]).records
    assert [record.goal for record in records] == [CLEAN, "lower", "raise"]


def test_other_objectives_are_run_as_they_are() -> None:
    records = evaluate(model(), photos(1), [replace(ONE, objective=Target(score=90.0))]).records
    assert [record.goal for record in records] == [CLEAN, "target"]


def test_what_two_attacks_share_is_run_once(tmp_path: Path) -> None:
    attacks: list[NamedAttack] = [replace(ONE, objective=name) for name in ("worst_of_both", "farther_end", "lower")]
    found = evaluate(model(), photos(2), [*attacks, FGSM(eps="0.01")], folder=tmp_path)
    assert [record.goal for record in found.records] == 2 * [CLEAN, "lower", "raise"]
    assert len({record.identity for record in found.records}) == len(found.records)


def test_two_attacks_that_records_cannot_tell_apart_are_refused() -> None:
    attacks = [replace(ONE, objective=Target(score=value)) for value in (20.0, 80.0)]
    message = (
        f"{ONE.label} is asked for both Target(score=20.0) and Target(score=80.0), which records can't tell apart; "
        "evaluate them one at a time."
    )
    with refused(message):
        evaluate(model(), photos(1), attacks)


def test_photographs_without_opinions_have_records_without_them() -> None:
    dataset = photos(2)
    unscored = replace(dataset, photos=tuple(replace(photo, mos=None) for photo in dataset))
    assert {record.mos for record in evaluate(model(), unscored, [ONE]).records} == {None}


def test_what_cannot_be_evaluated_is_refused() -> None:
    with refused("dataset 'tiny' has no photographs to evaluate."):
        evaluate(model(), photos(1).select([]))
    for labels in ([], ["fine", ""]):
        with refused(f"each model needs a label that is not empty, got {labels}."):
            evaluate({label: model() for label in labels}, photos(1))
    with refused("unknown variant 'whole'; known: end_to_end, patchwise."):
        evaluate(model(), photos(1), variants=("whole",))
    with refused("batch_size must be a whole number of at least 1, got 0."):
        evaluate(model(), photos(1), batch_size=0)


class Overflowing(ConvModel):
    """Its scores leave the numbers after some forward passes."""

    finite_passes = 0

    def raw_scores(self, normalized: Tensor) -> Tensor:
        self.finite_passes -= 1
        scores = super().raw_scores(normalized)
        return scores if self.finite_passes >= 0 else scores + torch.inf


@pytest.mark.parametrize(("finite_passes", "when"), [(0, ""), (1, " under random_sign(eps=0.1)")])
def test_scores_that_are_not_finite_are_refused(finite_passes: int, when: str) -> None:
    failing = Overflowing().eval()
    failing.finite_passes = finite_passes
    wanted = re.escape(f"'model' gives 'test-000.png' a score that is not finite{when}.")
    with pytest.raises(WorkFailedError, match=f"^{wanted}$"):
        evaluate(failing, photos(2), [RandomSign(eps=0.1)])
