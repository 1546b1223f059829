"""Models under an attack that does not ask them are worked on together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from robustiqa.attacks.universal import UAP
from tests.experiments.test_benchmark_run import Toys, run, toy, untimed
from tests.experiments.test_benchmark_run import toys as toys


def test_what_asks_no_model_is_found_for_all_at_once_and_only_for_those_that_lack_it(
    tmp_path: Path, toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[int] = []
    push = UAP.pushed

    def counted(self: UAP, images: Tensor, signs: Tensor) -> Tensor:
        searched.append(len(images))
        return push(self, images, signs)

    monkeypatch.setattr(UAP, "pushed", counted)
    (together,), told = run(tmp_path / "together", toy())
    assert len(searched) == 3 * 2  # photographs, directions; not once more for each of four models
    assert "Alpha, seed 0, Alpha+NT, seed 0, Beta, seed 0, Beta+NT, seed 0" in "\n".join(told)
    one = {"models": ["hyperiqa"], "reported": {}}
    (_,), _ = run(tmp_path / "pieces", replace(toy(**one), models=("alpha",)))
    (pieces,), told = run(tmp_path / "pieces", toy())
    assert [line for line in told if line.startswith("uap")] == [
        f"{pieces.sets[0].attacks[2]}, {goal}: Beta, seed 0, Beta+NT, seed 0" for goal in ("lower", "raise")
    ]
    monkeypatch.setattr(UAP, "asks_model", True)
    (apart,), _ = run(tmp_path / "apart", toy())
    monkeypatch.setattr(UAP, "asks_model", False)
    monkeypatch.setattr("robustiqa.experiments.benchmark_jobs.MODELS_HELD", 3)
    (by_threes,), told = run(tmp_path / "threes", toy())
    assert len([line for line in told if line.startswith("uap")]) == 2 * 2
    for other in (pieces, apart, by_threes):
        assert untimed(other.sets[0].records) == untimed(together.sets[0].records)
        assert other.sets[0].info == together.sets[0].info
