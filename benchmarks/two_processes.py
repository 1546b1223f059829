"""Seconds of `robustiqa evaluate`: two processes on one folder, one process on one core, one with two threads.

The network is the light HyperIQA with random weights, under I-FGSM-10 with one goal. Imports and the reading of weights
count, as they do for whoever waits.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.cases import GUARDED_LIGHT, QUICK, Planned, Settings, Works
from benchmarks.children import ROOT, environment_for
from benchmarks.store import Group, SkippedError
from benchmarks.timing import interleaved

ONE_CORE, TWO_THREADS, TWO_PROCESSES = "one process, one core", "one process, two threads", "two processes"
FULL_OPTIONS = ("--data-option", "size=300", "--part", "test", "--attack", "ifgsm:eps=4/255,steps=10")
QUICK_OPTIONS = ("--data-option", "size=224", "--part", "validation", "--attack", "fgsm:eps=4/255")


def command(weights: Path, folder: Path, options: tuple[str, ...], shard: str = "") -> list[str]:
    """The command line of one process."""
    words = ["evaluate", "--data", "builtin", "--data-option", "scenes=1", "--weights", str(weights)]
    words += ["--out", str(folder), "--objective", "lower", "--no-report", "--device", "cpu", *options]
    return [sys.executable, "-m", "robustiqa", *words, *(["--shard", shard] if shard else [])]


@contextmanager
def held_to(cores: Sequence[int]) -> Iterator[None]:
    """Holds this thread, and processes that it starts meanwhile, to some cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def run_together(commands: list[list[str]], threads: int, cores: Sequence[int]) -> None:
    """Runs processes at once until all have ended.

    Raises:
        RuntimeError: with what it wrote, if one fails.
    """
    environment = environment_for(threads=threads)
    with held_to(cores):
        started = [
            subprocess.Popen(
                words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            for words in commands
        ]
    said = [process.communicate()[0] for process in started]
    for process, text in zip(started, said, strict=True):
        if process.returncode:
            raise RuntimeError(f"evaluate failed with {process.returncode}:\n{text}")


def measure(settings: Settings) -> Group:
    """One evaluation, three ways.

    Raises:
        SkippedError: if there is one core only.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        raise SkippedError("it takes two cores, and a system that can hold a process to one")
    from robustiqa.models.loading import save_model

    case = next(iter(QUICK.values())) if settings.quick else GUARDED_LIGHT
    options = QUICK_OPTIONS if settings.quick else FULL_OPTIONS
    with tempfile.TemporaryDirectory() as scratch:
        weights, folder = Path(scratch) / "light.safetensors", Path(scratch) / "run"
        save_model(case.build("contiguous"), weights, case.model, {"backbone": case.backbone})

        def afresh(shards: list[str], threads: int, held: Sequence[int]) -> None:
            shutil.rmtree(folder, ignore_errors=True)
            run_together([command(weights, folder, options, shard) for shard in shards], threads, held)

        works: Works = {
            ONE_CORE: lambda: afresh([""], 1, cores[:1]),
            TWO_THREADS: lambda: afresh([""], 2, cores[:2]),
            TWO_PROCESSES: lambda: afresh(["1/2", "2/2"], 1, cores[:2]),
        }
        seconds = interleaved(works, settings.effort)
    return Group(case.name, seconds, facts={"attack": options[-1]})


def plan(settings: Settings) -> Iterator[Planned]:
    """One evaluation."""
    case = next(iter(QUICK.values())) if settings.quick else GUARDED_LIGHT
    yield Planned(case.name, partial(measure, settings))
