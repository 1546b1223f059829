"""Batches are taken apart where they do not fit, and halved where memory runs out; nothing is lost by it."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from robustiqa.attacks import create_attack
from robustiqa.attacks.base import NamedAttack
from robustiqa.attacks.gradient import IFGSM
from robustiqa.attacks.random_sign import RandomSign
from robustiqa.core.attack import clean_pass
from robustiqa.core.dataset import Dataset, Photo
from robustiqa.core.errors import InputError, WorkFailedError
from robustiqa.core.memory import PeakMemory, pass_memory
from robustiqa.core.model import ModelWrapper, QualityModel
from robustiqa.evaluation import fitting
from robustiqa.evaluation.fitting import Fitting, default_batch_size, photo_memory, refuse_too_many
from robustiqa.evaluation.recording import Batch, attack_records
from robustiqa.evaluation.records import Record
from robustiqa.evaluation.run import evaluate
from robustiqa.evaluation.spending import Spent
from robustiqa.models.crop_average import CropAverage
from tests.photos import Scene, tiny_dataset
from tests.toys import ConvModel, LinearModel, toy_photos

CPU = torch.device("cpu")
SHAPE = (8, 3, 20, 20)
ATTACKS = (IFGSM(eps="4/255", steps=2), RandomSign(eps="4/255"))


class Limited(ModelWrapper):
    """Runs out of memory with more than `most` images at a time, as a GPU does; keeps the sizes that went well."""

    def __init__(self, model: QualityModel, most: int) -> None:
        super().__init__(model)
        self.most, self.crop_size = most, model.crop_size
        self.sizes: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        self.sizes.append(len(images))
        scores: Tensor = self.model(images)
        return scores


def limited(most: int, crop_size: int | None = None) -> Limited:
    return Limited(ConvModel(crop_size=crop_size), most).eval()


def photos(count: int = 7) -> Dataset:
    scenes = tuple(Photo(f"{place}.png", Scene(place, 20, 20, 0.1), 50.0) for place in range(count))
    return Dataset("alike", scenes)


def memory_of(monkeypatch: pytest.MonkeyPatch, size: float) -> None:
    """Lets so many bytes be available, and everything be counted."""
    monkeypatch.setattr(fitting, "available_memory", lambda device: int(size))
    monkeypatch.setattr(fitting, "LAVISH", 10**9)


def assert_same(found: tuple[Record, ...], wanted: tuple[Record, ...]) -> None:
    by_identity = {record.identity: record for record in found}
    assert len(found) == len(by_identity) == len(wanted)
    for record in wanted:
        other = by_identity[record.identity]
        assert other.score == pytest.approx(record.score, rel=1e-4)
        assert other.l2 == pytest.approx(record.l2, rel=1e-3)


@pytest.mark.parametrize("most", [1, 3, 7])
def test_a_batch_that_memory_runs_out_with_is_halved_and_nothing_is_lost(most: int) -> None:
    said: list[str] = []
    model = limited(most)
    found = evaluate(model, photos(), ATTACKS, batch_size=7, tell=said.append)
    wanted = evaluate(ConvModel().eval(), photos(), ATTACKS, batch_size=1)
    assert_same(found.records, wanted.records)
    assert max(model.sizes) == {1: 1, 3: 3, 7: 7}[most]
    sentence = "the memory of cpu ran out with 7 photographs of 20x20 pixels at a time; going on with 3."
    assert said == ([] if most == 7 else [sentence])
    assert found.info["batch_size"] == 7


def test_once_halved_no_larger_batch_is_tried_again_and_done_parts_are_not_done_anew() -> None:
    asked: list[slice] = []

    def work(part: slice) -> list[int]:
        asked.append(part)
        if part.stop > 4 and part.stop - part.start > 1:  # the fifth photograph needs room
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return list(range(part.start, part.stop))

    model, images = ConvModel().eval(), torch.rand(6, 3, 20, 20)
    run = Fitting()
    images_of = [run.in_parts(model, images[:4], work), run.in_parts(model, images, work)]
    assert images_of == [[0, 1, 2, 3], [0, 1, 2, 3, 4, 5]]
    assert [part.stop - part.start for part in asked] == [4, 6, 3, 3, 1, 1, 1]
    asked.clear()
    assert run.in_parts(model, images, work) == [0, 1, 2, 3, 4, 5]
    assert {part.stop - part.start for part in asked} == {1}


def test_crops_are_halved_where_there_is_one_photograph() -> None:
    said: list[str] = []
    inner = limited(2, crop_size=10)
    average = CropAverage(inner, crops=9).eval()
    images = toy_photos(1)
    (score,) = Fitting(said.append).in_parts(average, images, lambda part: clean_pass(average, images[part]).scores)
    assert score.item() == pytest.approx(CropAverage(inner.model, crops=9).eval().score(images).item(), rel=1e-5)
    assert (average.chunk, max(inner.sizes)) == (2, 2)
    assert said == [
        "the memory of cpu ran out with one photograph of 24x24 pixels; going on with 4 crops of it at a time."
    ]


def test_one_photograph_that_memory_runs_out_with_ends_the_work_with_a_sentence() -> None:
    message = (
        "the memory of cpu ran out with one photograph of 20x20 pixels; shrink photographs with --max-side, or compute "
        "elsewhere with --device."
    )
    with pytest.raises(WorkFailedError, match=f"^{re.escape(message)}$"):
        evaluate(limited(0), photos(2), batch_size=2)


def test_other_errors_come_through() -> None:
    def work(part: slice) -> list[int]:
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        Fitting().in_parts(ConvModel().eval(), torch.rand(2, 3, 20, 20), work)


def needed(count: int, model: QualityModel | None = None) -> int:
    found = photo_memory(model or ConvModel().eval(), (count, *SHAPE[1:]), CPU)
    assert found is not None
    return found


@pytest.mark.parametrize(("room", "together"), [(8, 8), (7.9, 4), (2, 2), (1.99, 1), (0.75, 1)])
def test_as_many_photographs_as_fit_are_taken_together(
    room: float, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At less than 1 the share that is planned with is too small for one, and what is available is not."""
    fits = needed(8) / 8 * room
    memory_of(monkeypatch, 1.001 * fits / fitting.SHARE)
    assert Fitting().at_once(ConvModel().eval(), SHAPE, CPU) == together


def test_an_evaluation_in_parts_finds_what_one_by_one_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    memory_of(monkeypatch, 3.01 * needed(1) / fitting.SHARE)
    model = limited(99)
    found = evaluate(model, photos(), ATTACKS, batch_size=7)
    assert max(model.sizes) == 3
    assert_same(found.records, evaluate(ConvModel().eval(), photos(), ATTACKS, batch_size=1).records)


def test_one_photograph_that_would_not_fit_is_refused_with_the_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    memory_of(monkeypatch, 0.9 * needed(1))
    with pytest.raises(
        InputError, match=r"^one photograph of 20x20 pixels takes about \d+\.\d GiB, and \d+\.\d GiB are "
    ):
        evaluate(ConvModel().eval(), photos(2), batch_size=2)


def test_crops_are_made_fewer_before_a_photograph_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    average = CropAverage(ConvModel(width=64, crop_size=10), crops=16).eval()
    memory_of(monkeypatch, 0.6 * needed(1, average))
    assert Fitting().at_once(average, SHAPE, CPU) == 1
    assert average.chunk in (4, 8)


def test_where_nothing_is_known_all_are_taken_together(monkeypatch: pytest.MonkeyPatch) -> None:
    memory_of(monkeypatch, 1)
    monkeypatch.setattr(fitting, "photo_memory", lambda *of: None)
    assert Fitting().at_once(ConvModel().eval(), SHAPE, CPU) == 8
    monkeypatch.undo()
    assert Fitting().at_once(ConvModel().eval(), SHAPE, torch.device("mps")) == 8


def test_what_fits_by_far_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*of: object) -> None:
        raise AssertionError("a pass was counted")

    monkeypatch.setattr(fitting, "pass_memory", refuse)
    monkeypatch.setattr(fitting, "available_memory", lambda device: 2**30)
    assert Fitting().at_once(ConvModel().eval(), SHAPE, CPU) == 8


def test_a_batch_that_was_asked_for_is_refused_with_the_estimate_of_the_largest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = ConvModel().eval()
    sizes = [(30, 30), *[(20, 20)] * 9]
    memory_of(monkeypatch, needed(8) - 1)
    with pytest.raises(
        InputError, match=r"^a batch of 8 photographs of 20x20 pixels takes about .* with 'net', and .*;"
    ):
        refuse_too_many({"net": model}, 8, sizes, CPU)
    refuse_too_many({"net": model}, 7, sizes, CPU)
    refuse_too_many({"net": model}, 8, sizes[:8], CPU)  # there are not so many
    refuse_too_many({"net": model}, 8, [], CPU)
    memory_of(monkeypatch, 1)
    with pytest.raises(InputError, match=r"^one photograph of 30x30 pixels takes about"):
        refuse_too_many({"net": model}, 1, sizes, CPU)


@pytest.mark.parametrize("name", ["ifgsm", "mifgsm", "random_sign"])
def test_an_attack_and_its_measures_hold_what_is_reckoned_with(name: str) -> None:
    """On a linear score, of which a pass takes next to nothing."""
    attack: NamedAttack = create_attack(name, eps="4/255", objective="worst_of_both")
    model, images = LinearModel.random(96), toy_photos(2, side=96)
    (photo,) = tiny_dataset(train=0, validation=0, test=1)
    with PeakMemory() as peak:
        result = attack(model, images.clone(), clean=clean_pass(model, images))
        attack_records("net", Batch((photo, photo), images), attack, "lower", "end_to_end", result, Spent())
    reckoned = photo_memory(model, images.shape, CPU)
    assert reckoned is not None
    assert 0.6 * reckoned < peak.peak < reckoned


def test_a_pass_that_takes_more_than_the_measures_is_what_is_reckoned_with() -> None:
    model = ConvModel(width=64).eval()
    of_pass = pass_memory(model, SHAPE, CPU)
    assert of_pass is not None
    assert photo_memory(model, SHAPE, CPU) == of_pass + fitting.COPIES * 4 * 8 * 3 * 20 * 20


def test_a_cpu_takes_one_photograph_at_a_time_and_a_gpu_eight() -> None:
    assert [default_batch_size(name) for name in ("cpu", "cuda", "cuda:1", "mps")] == [1, 8, 8, 1]
