"""Measurements in processes of their own: what they print last is JSON."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STATUS = Path("/proc/self/status")
UNIT = 1 if sys.platform == "darwin" else 1024  # what ru_maxrss counts in
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def environment_for(*, threads: int | None = None, without: Sequence[str] = (), **more: str) -> dict[str, str]:
    """This process's environment with the package and the benchmarks importable.

    Args:
        threads: Of every library; None leaves them as they are.
        without: Names to leave out.
        more: Names to add.
    """
    kept = {name: value for name, value in os.environ.items() if name not in without}
    paths = [str(ROOT / "src"), str(ROOT), *filter(None, [kept.get("PYTHONPATH")])]
    counts = {} if threads is None else dict.fromkeys(THREADS, str(threads))
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), **counts, **more}


def largest_resident_set() -> float:
    """Of this process so far, in MiB.

    Read from VmHWM: Linux lets `ru_maxrss` begin at what the process held that started this one.
    """
    if STATUS.is_file():
        (line,) = (line for line in STATUS.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024  # kB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT / 2**20


def ask(
    module: str, *arguments: str, python: str = sys.executable, environment: Mapping[str, str] | None = None
) -> Any:
    """What `python -m module` says in its last line, as plain values.

    Raises:
        RuntimeError: with what the process wrote, if it fails.
    """
    done = subprocess.run(
        [python, "-m", module, *arguments],
        cwd=ROOT,
        env=dict(environment if environment is not None else environment_for()),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{module} failed with {done.returncode}:\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])
