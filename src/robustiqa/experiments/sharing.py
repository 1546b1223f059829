"""Several processes on one list of work: each unit is done once, by whoever takes it first, and all see the end.

A unit is taken by a lock that the operating system gives back when its holder dies, so nothing is left behind by a
kill; what was half done then goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout


def _always() -> bool:
    return True


@dataclass(frozen=True)
class Unit:
    """A piece of work.

    Attributes:
        name: Of its lock; equal names are the same work.
        done: Whether it is done already.
        run: Does it, with all that it needs.
        ready: Whether what it needs is there; what is not ready comes last.
        lock: Its lock, where experiments of several kinds may be at the same work; None for one by its name.
    """

    name: str
    done: Callable[[], bool]
    run: Callable[[], None]
    ready: Callable[[], bool] = _always
    lock: Path | None = None


def share(units: Sequence[Unit], locks: Path) -> None:
    """Does the units that nobody else is at, then waits for the others; returns when all are done.

    Args:
        units: In order of preference.
        locks: Folder for the locks, the same for all processes.
    """
    while left := [unit for unit in units if not unit.done()]:
        if not any(unit.ready() and _do(unit, locks, wait=False) for unit in left):
            _do(left[0], locks, wait=True)


def _do(unit: Unit, locks: Path, *, wait: bool) -> bool:
    """Runs a unit unless another process has it or has just done it; gives whether it ran."""
    with claim(unit.lock or locks / f"{unit.name}.lock", wait=wait) as mine:
        if not mine or unit.done():
            return False
        unit.run()
        return True


@contextmanager
def claim(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Holds a lock; gives whether it was got, which only fails where another process has it and `wait` is false."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
