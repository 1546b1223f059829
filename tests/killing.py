"""Work that is killed with SIGKILL again and again, and started anew each time until it is done.

One process imports everything and forks a child for each attempt, so an attempt costs no imports:

    python -m tests.killing FOLDER KILLS-BY-JOB

A kill is plain data: `{"after": 0.4}` (of an undisturbed run's time), or `{"event": "fsync", "match": "checkpoint-",
"number": 3}`: just before the third file operation of that kind on such a path, an empty string meaning any (`match`
is looked for in the last two parts of the path). A child killed at an `fsync` leaves what it has just written cut
short. Needs `fork` and `/proc`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OPERATIONS = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree")  # as `sys.audit` names them; and fsync
ATTEMPTS_A_KILL = 4  # a kill that does not take place, because the job outran it, is tried again
SOONER = 0.7  # and then comes at this share of the time, for the undisturbed run may have met a busy machine


def survive(kills: Mapping[str, Sequence[dict[str, Any]]], folder: Path) -> dict[str, dict[str, Any]]:
    """Runs jobs of `JOBS` undisturbed and under kills, one kill an attempt; `_drive` says what comes back of each."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    done = subprocess.run(
        [sys.executable, "-m", "tests.killing", str(folder), json.dumps(kills)],
        cwd=ROOT,
        env={**os.environ, **threads, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


def train_tiny(folder: Path) -> None:
    """Twelve steps of NT with every kind of randomness, a checkpoint every other step, epochs kept."""
    _train_tiny(folder, {})


def train_tiny_in_two_phases(folder: Path) -> None:
    """The same with the backbone held for the first of two epochs: the border is after step 6."""
    _train_tiny(folder, {"head_start.epochs": 1, "head_start.learning_rate": 1e-5})


def _train_tiny(folder: Path, values: dict[str, Any]) -> None:
    from robustiqa.training.loop import RunOptions, train
    from robustiqa.training.spec import TrainingSpec
    from tests.photos import tiny_dataset

    spec = TrainingSpec().with_values(
        {
            "model.backbone": "test_efficientnet",
            "model.backbone_weights": "",
            "data.noise_std": 0.02,
            "penalty.weight": 1e-3,
            "penalty.side": "random",
            "optimizer.learning_rate": 1e-3,
            "optimizer.warmup_steps": 3,
            "epochs": 2,
            "batch_size": 2,
            **values,
        }
    )
    options = RunOptions(device="cpu", checkpoint_every=2, keep_epochs=True)
    train(spec, tiny_dataset(train=12, validation=2, test=0, high=240), folder, options)


def evaluate_toys(folder: Path) -> None:
    """Two toy models under two attacks, transferred, in batches of photographs of several sizes."""
    from robustiqa.attacks.gradient import IFGSM
    from robustiqa.attacks.random_sign import RandomSign
    from robustiqa.evaluation.run import evaluate
    from tests.photos import tiny_dataset
    from tests.toys import ConvModel

    models = {"one": ConvModel(seed=1).eval(), "two": ConvModel(seed=2).eval()}
    photos = tiny_dataset(train=0, validation=0, test=12, low=40, high=41)
    attacks = [IFGSM(steps=3, random_start=True), RandomSign()]
    evaluate(models, photos, attacks, folder=folder, transfer=True, batch_size=2)


JOBS: dict[str, Callable[[Path], None]] = {
    "training": train_tiny,
    "training in two phases": train_tiny_in_two_phases,
    "evaluation": evaluate_toys,
}


def _drive(job: str, folder: Path, kills: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Runs a job once undisturbed, then under each kill in turn; a job that outruns its kill starts over.

    Returns:
        `undisturbed`, hashes of the files that it left; `outcomes`, the same of each run that was finished under
        kills; `killed`, how many kills took place; `operations`, the file operations of the undisturbed run.
    """
    calm, disturbed, log = folder / "undisturbed", folder / "disturbed", folder / "operations.json"
    started = time.monotonic()
    assert not _attempt(job, calm, {"log": str(log)}, 1.0)
    seconds = time.monotonic() - started
    outcomes: list[dict[str, str]] = []
    left = list(kills)
    for _ in range(ATTEMPTS_A_KILL * len(kills) + 1):
        if _attempt(job, disturbed, left[0] if left else {}, seconds):
            left.pop(0)
        else:
            outcomes.append(_hashes(disturbed))
            shutil.rmtree(disturbed)
            if not left:
                break
            seconds *= SOONER
    return {
        "undisturbed": _hashes(calm),
        "outcomes": outcomes,
        "killed": len(kills) - len(left),
        "operations": json.loads(log.read_text(encoding="utf-8")),
    }


def _import_all() -> None:
    import accelerate  # noqa: F401
    import timm
    import torch
    import torchmetrics.functional.image  # noqa: F401

    import robustiqa.evaluation.run
    import robustiqa.training.loop  # noqa: F401

    torch.set_num_threads(1)
    timm.list_models()


def _attempt(job: str, folder: Path, kill: dict[str, Any], seconds: float) -> bool:
    """Forks a child that does the job; returns whether it was killed on the way."""
    child = os.fork()
    if not child:
        try:
            _watch(kill)
            JOBS[job](folder)
            _write_log(kill)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if "after" in kill:
        deadline = time.monotonic() + kill["after"] * seconds
        while time.monotonic() < deadline:
            time.sleep(0.005)
        os.kill(child, signal.SIGKILL)  # a child that is done already is not reaped yet, and does not mind
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    assert os.waitstatus_to_exitcode(status) == 0, f"{job} failed"
    return False


_SEEN: list[str] = []


def _watch(kill: dict[str, Any]) -> None:
    """Counts this process's file operations, and dies at the one that `kill` describes."""
    sync = os.fsync
    matching = 0

    def operation(event: str, path: str) -> None:
        nonlocal matching
        name = "/".join(Path(path).parts[-2:])
        _SEEN.append(f"{event} {name}")
        if "event" not in kill or not event.startswith(kill["event"]) or kill["match"] not in name:
            return
        matching += 1
        if matching == kill["number"]:
            if event == "fsync" and Path(path).is_file():
                os.truncate(path, Path(path).stat().st_size - _tail(Path(path)))
            os.kill(os.getpid(), signal.SIGKILL)

    def fsync(fd: Any) -> None:
        operation("fsync", str(Path(f"/proc/self/fd/{fd}").readlink()))
        sync(fd)

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event in OPERATIONS:
            operation(event, os.fspath(arguments[-3 if event == "os.rename" else 0]))

    os.fsync = fsync
    sys.addaudithook(audit)


def _tail(path: Path) -> int:
    """How much of a file was not there yet: half of a checkpoint, half of the last line of records."""
    if path.suffix == ".jsonl":
        return len(path.read_bytes().splitlines()[-1]) // 2
    return path.stat().st_size // 2


def _write_log(kill: dict[str, Any]) -> None:
    if "log" in kill:
        Path(kill["log"]).write_text(json.dumps(_SEEN), encoding="utf-8")


def _hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of each file by name, but for the hidden `.part` files that a kill may leave beside them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".part")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


if __name__ == "__main__":
    _import_all()
    results = {job: _drive(job, Path(sys.argv[1]) / job, kills) for job, kills in json.loads(sys.argv[2]).items()}
    print(json.dumps(results))  # noqa: T201
