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


@dataclass(frozen=True)
class Unit:
    """A piece of work.

    Attributes:
        name: Of its lock; equal names are the same work.
        done: Whether it is done already.
        run: Does it.
    """

    name: str
    done: Callable[[], bool]
    run: Callable[[], None]


def share(units: Sequence[Unit], locks: Path) -> None:
    """Does the units that nobody else is at, then waits for the others; returns when all are done.

    Args:
        units: In order of preference.
        locks: Folder for the locks, the same for all processes.
    """
    for wait in (False, True):
        for unit in units:
            if unit.done():
                continue
            with claim(locks / f"{unit.name}.lock", wait=wait) as mine:
                if mine and not unit.done():
                    unit.run()


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
