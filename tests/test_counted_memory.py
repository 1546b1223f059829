"""What is counted beforehand is most of what a process then takes; the rest is scratch memory of kernels."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.counted_memory import counted_and_taken

WORKS = {
    "DBCNN on a whole photograph": ("pass", "dbcnn", "vgg16.tv_in1k", 1, (384, 512)),
    "HyperIQA on crops": ("pass", "hyperiqa", "resnet50.tv_in1k", 1, (512, 512)),
    "a step with norm regularization": ("nt", "hyperiqa", "resnet50.tv_in1k", 8, (224, 224)),
}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
@pytest.mark.parametrize("work", WORKS)
def test_a_process_takes_what_was_counted_and_less_than_as_much_again(work: str) -> None:
    counted, taken = counted_and_taken(*WORKS[work])
    assert 0.9 * counted < taken < 2 * counted
