"""A photograph of 12 megapixels: what scoring and attacking it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.large_photo import measured_attack


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
def test_twelve_megapixels_are_scored_and_attacked_within_four_gibibytes() -> None:
    """The imports are counted, too."""
    peaks = measured_attack("hyperiqa", "resnet50.tv_in1k", crops=40)
    assert max(peaks.values()) < 4
