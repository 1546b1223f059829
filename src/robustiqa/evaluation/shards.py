"""Parts of an evaluation that processes do on their own, into one run folder: no photograph twice, none missing.

Photographs stand in the order of their keys, and batches of them in that order go to the shards in turn. So what a
shard has to do follows from the dataset alone, every batch is one of those that a single process makes, and its
records are the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from robustiqa.core.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """One part of several.

    Attributes:
        index: Which, from 0.
        count: Of how many.

    Raises:
        InputError: if there is no such part.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise InputError(f"a shard is one of 1 to n, such as 2/4, got {self.index + 1}/{self.count}.")

    def of(self, things: Iterable[T]) -> Iterator[T]:
        """Every `count`-th of some things, from the `index`-th on."""
        return islice(things, self.index, None, self.count)


WHOLE = Shard()


def parse_shard(text: str) -> Shard:
    """The shard that `2/4` stands for: the second of four.

    Raises:
        InputError: if the text is of another form, or there is no such part.
    """
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal()):
        raise InputError(f"a shard is one of 1 to n, such as 2/4, got {text!r}.")
    return Shard(int(index) - 1, int(count))
