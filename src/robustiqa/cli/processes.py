"""One process of several: what torchrun says of it in the environment, and what the command line makes of that."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from robustiqa.core.errors import InputError

SHARED_VERBS = ("train", "evaluate", "reproduce")
WAIT = 0.5  # seconds between looks at what other processes have written
LOST = ("closed by peer", "reset by peer", "Connection refused")  # what the transport says when another process ends


@dataclass(frozen=True)
class Process:
    """One process of a run; the only one where nothing else is said.

    Attributes:
        rank: Which, from 0, on all machines.
        count: Of how many.
        local_rank: Which on this machine.
    """

    rank: int
    count: int
    local_rank: int

    @property
    def first(self) -> bool:
        """Whether this is the one that prints, and writes what there is one of."""
        return self.rank == 0


def this_process() -> Process:
    """What the launcher says of this process."""
    rank, count, local_rank = (int(os.environ.get(name) or default) for name, default in VARIABLES.items())
    return Process(rank, count, local_rank)


VARIABLES = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0}  # of torchrun, and their values without it


def refuse_alone(verb: str | None) -> None:
    """Refuses verbs that know no other processes, and would do everything once in each.

    Raises:
        InputError: if there are several processes, and the verb is not for them.
    """
    if verb is not None and verb not in SHARED_VERBS and this_process().count > 1:
        raise InputError(f"`{verb}` runs in one process; torchrun is for {', '.join(SHARED_VERBS)}.")


@contextmanager
def only_the_first_prints() -> Iterator[None]:
    """Keeps the other processes from writing results, and from repeating warnings."""
    if this_process().first:
        yield
        return
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def speaks() -> bool:
    """Whether this process is the first of its run and machine to say why it failed; its launcher ends the others.

    Where the launcher gives no folder to agree in, each says so: twice is better than not at all.
    """
    error_file = os.environ.get("TORCHELASTIC_ERROR_FILE")  # FOLDER/attempt_0/LOCAL_RANK/error.json
    if this_process().count == 1 or not error_file:
        return True
    try:
        (Path(error_file).parent.parent / "said").open("x").close()
    except FileExistsError:
        return False
    except OSError:
        return True
    return True


def explain_lost(said: str) -> str | None:
    """A sentence for what the transport says when another process of the run has ended; None for anything else."""
    if this_process().count > 1 and any(words in said for words in LOST):
        return "another process of this run has ended; its own sentence says why."
    return None


def wait_until(done: Callable[[], bool]) -> None:
    """Returns when other processes have done their part; a launcher ends this one where another fails."""
    while not done():
        time.sleep(WAIT)


def part_from_others() -> None:
    """Ends the connections to the other processes, so that none complains when the first of them is gone."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
