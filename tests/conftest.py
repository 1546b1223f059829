"""Fixtures that several test rooms share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from tests.learned import LearnedState

torch.set_num_threads(1)  # small images gain nothing from more, and lose much where cores are busy


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of photographs, weights and golden values beside the checkout; a clone elsewhere has none."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "golden").is_dir():
        pytest.skip("needs ../shared (photographs, weights and golden values), which is not beside this checkout")
    return folder


@pytest.fixture(autouse=True)
def _global_rng_is_seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def learned_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the learned state of attacks is kept; fitted once a model."""
    return tmp_path_factory.mktemp("learned")


@pytest.fixture
def learned(learned_folder: Path, monkeypatch: pytest.MonkeyPatch) -> LearnedState:
    """Gives attacks the learned state that they need; see `tests.learned`."""
    from robustiqa.models import models
    from tests.learned import TOY, TOY_CLASS, LearnedState

    monkeypatch.setitem(models._table, TOY, TOY_CLASS)
    return LearnedState(learned_folder)
