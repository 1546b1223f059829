"""Fixtures that several test rooms share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

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
