from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmarks.children import ROOT, THREADS, ask, environment_for, largest_resident_set

SIZE = "from benchmarks.children import largest_resident_set; print(largest_resident_set())"


def test_the_peak_of_a_process_leaves_out_the_one_that_started_it() -> None:
    kept = bytearray(os.urandom(1)) * 200_000_000
    done = subprocess.run(
        [sys.executable, "-c", SIZE], cwd=ROOT, env=environment_for(), capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 100 < len(kept) / 2**20 < largest_resident_set()


def test_the_environment_of_a_process_says_its_threads_and_leaves_out_what_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LEFT_OUT", "1")
    found = environment_for(threads=2, without=("LEFT_OUT",), ADDED="yes")
    assert [found[name] for name in THREADS] == ["2"] * len(THREADS)
    assert "LEFT_OUT" not in found
    assert found["ADDED"] == "yes"


def test_what_a_module_prints_last_is_its_answer_and_its_failure_is_told() -> None:
    assert ask("tests.benchmarks.answering", "3") == {"asked": "3"}
    with pytest.raises(RuntimeError, match=r"tests\.benchmarks\.answering failed with 1:\nbefore"):
        ask("tests.benchmarks.answering")
