"""Two processes of one run, as torchrun starts them: forked from one that has imported everything, once.

    python -m tests.two_processes FOLDER MODULE:FUNCTION ARGUMENT...

Each calls the function with the arguments; what it returns is its exit code. What it writes goes to FOLDER/out-RANK and
FOLDER/err-RANK. When one fails, the other is ended, as by torchrun's agent. Needs `fork`.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RANKS = 2


@dataclass(frozen=True)
class Ended:
    """How both processes ended, by rank: exit codes (negative: the signal), and what they wrote."""

    codes: tuple[int, ...]
    out: tuple[str, ...]
    err: tuple[str, ...]


def run_in_two(folder: Path, function: str, *arguments: object, **environment: str) -> Ended:
    """Runs `module:function` in two processes with RANK, WORLD_SIZE and the like in their environment."""
    folder.mkdir(parents=True, exist_ok=True)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    done = subprocess.run(
        [sys.executable, "-m", "tests.two_processes", str(folder), function, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **threads, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    codes = tuple(int(code) for code in done.stdout.split())
    out, err = (tuple((folder / f"{name}-{rank}").read_text() for rank in range(RANKS)) for name in ("out", "err"))
    return Ended(codes, out, err)


def _main(folder: Path, function: str, arguments: list[str]) -> None:
    import accelerate  # noqa: F401
    import timm  # noqa: F401
    import torch

    torch.set_num_threads(1)
    module, _, name = function.partition(":")
    called = getattr(importlib.import_module(module), name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    shared |= {"WORLD_SIZE": str(RANKS), "LOCAL_WORLD_SIZE": str(RANKS)}
    children: dict[int, int] = {}
    for rank in range(RANKS):
        child = os.fork()
        if not child:
            error_file = folder / "attempt_0" / str(rank) / "error.json"  # where torchrun's agent has it
            error_file.parent.mkdir(parents=True, exist_ok=True)
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "TORCHELASTIC_ERROR_FILE": str(error_file)}
            os.environ.update({**shared, **own})
            os._exit(_call(called, arguments, folder, rank))
        children[child] = rank
    codes: dict[int, int] = {}
    while children:
        child, status = os.wait()
        rank = children.pop(child)
        codes[rank] = os.waitstatus_to_exitcode(status)
        if codes[rank]:
            time.sleep(0.2)  # torchrun looks ten times a second
            for other in children:
                os.kill(other, signal.SIGTERM)
    print(*(codes[rank] for rank in range(RANKS)))  # noqa: T201


def _call(called: object, arguments: list[str], folder: Path, rank: int) -> int:
    for name, stream in (("out", 1), ("err", 2)):
        os.dup2(os.open(folder / f"{name}-{rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    code = 1
    try:
        assert callable(called)
        code = int(called(*arguments) or 0)
    except BaseException:
        traceback.print_exc()
    for written in (sys.stdout, sys.stderr):
        written.flush()
    return code


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
