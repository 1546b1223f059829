"""What records hold besides when it is asked for: seconds and LPIPS."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import Tensor

from robustiqa.attacks.gradient import IFGSM
from robustiqa.evaluation.records import CLEAN
from robustiqa.evaluation.run import evaluate
from tests.photos import tiny_dataset
from tests.toys import ConvModel


def test_seconds_and_lpips_are_measured_where_they_are_asked_for() -> None:
    def similarity(images: Tensor, clean: Tensor) -> Tensor:
        return 1 - (images - clean).abs().flatten(1).mean(1)

    model, attack = ConvModel(seed=0).eval(), IFGSM(eps="4/255", steps=3)
    photos = tiny_dataset(train=0, validation=0, test=3, low=20, high=20)
    plain = evaluate(model, photos, [attack], batch_size=2)
    measured = evaluate(model, photos, [attack], batch_size=2, timed=True, lpips=similarity)
    assert {(record.lpips, record.seconds) for record in plain.records} == {(None, None)}
    for before, after in zip(plain.records, measured.records, strict=True):
        assert replace(after, lpips=None, seconds=None) == before
        assert (after.seconds is None) == (after.lpips is None) == (after.attack == CLEAN)
        if after.attack != CLEAN:
            assert after.seconds is not None
            assert after.seconds > 0
            assert after.lpips == pytest.approx(4 / 255, rel=0.2)  # nearly all pixels at the budget
