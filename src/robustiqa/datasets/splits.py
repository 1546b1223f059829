"""Splits that depend on names alone: adding photographs moves no other, and a scene is never cut.

A cut of single photographs leaks: exposure series and shared references put the same scene on both sides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from robustiqa.core.dataset import Photo
from robustiqa.core.errors import InputError

Parts = dict[str, tuple[str, ...]]

FRACTIONS: Mapping[str, float] = {"train": 0.7, "validation": 0.1, "test": 0.2}


def position(name: str, salt: str = "") -> float:
    """Where a name falls in [0, 1): the first 8 bytes of its salted SHA-256 as a fraction of 2**64."""
    digest = hashlib.sha256(f"{salt}\x1f{name}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def split_names(groups: Mapping[str, str], fractions: Mapping[str, float] = FRACTIONS, *, salt: str = "") -> Parts:
    """Puts each name into a part by the hash of its group.

    A part's share is met on average, not exactly: that is the price of stability when photographs are added.

    Args:
        groups: Name to group; an empty group means that the name stands alone.
        fractions: Part to share, in the order in which [0, 1) is cut; the shares add up to 1.
        salt: Another salt, another split.

    Returns:
        Each part's names, sorted; a part that nothing fell into is left out.

    Raises:
        InputError: if a share is negative or they do not add up to 1.
    """
    if any(share < 0 for share in fractions.values()) or abs(sum(fractions.values()) - 1) > 1e-9:
        raise InputError(f"the shares of a split must be at least 0 and add up to 1, got {dict(fractions)}.")
    parts: dict[str, list[str]] = {part: [] for part in fractions}
    for name in sorted(groups):
        parts[_part_at(position(groups[name] or name, salt), fractions)].append(name)
    return {part: tuple(names) for part, names in parts.items() if names}


def split_photos(photos: Iterable[Photo], fractions: Mapping[str, float] = FRACTIONS, *, salt: str = "") -> Parts:
    """`split_names` over photographs, by their `group`."""
    return split_names({photo.key: photo.group for photo in photos}, fractions, salt=salt)


def _part_at(place: float, fractions: Mapping[str, float]) -> str:
    border = 0.0
    for part, share in fractions.items():
        border += share
        if place < border:
            return part
    return next(part for part in reversed(list(fractions)) if fractions[part] > 0)  # the shares summed to 1 - rounding
