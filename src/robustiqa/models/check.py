"""Whether a weights file fits its model, and everything it says about itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from robustiqa.core.calibration import Calibration
from robustiqa.core.errors import WeightsError
from robustiqa.core.model import QualityModel, ScoreScale
from robustiqa.models import models
from robustiqa.models.loading import agree, own_names, scoring_of
from robustiqa.models.metadata import Metadata, parse_metadata
from robustiqa.models.weights import (
    KeyMap,
    Mismatch,
    WeightsFile,
    check_entries,
    compare_entries,
    file_hash,
    read_weights,
)


@dataclass(frozen=True)
class Fit:
    """How a file's entries go with the model that it is for, all by the model's own names.

    Attributes:
        matched: How many entries have their place, and its shape.
        mismatch: Those that have not, and places that are left empty.
        discarded: Entries of a published checkpoint that its model knows and does not use, by their published names.
        published: Whether the entries came under published names.
    """

    matched: int
    mismatch: Mismatch
    discarded: list[str]
    published: bool


@dataclass(frozen=True)
class WeightsCheck:
    """What was found in a weights file.

    Attributes:
        path: The file.
        size: In bytes.
        sha256: Of the file, 16 hexadecimal digits; what records name it by.
        entries: Named tensors in it.
        dtypes: Type to how many entries have it, most first.
        not_finite: Entry to how many of its values are NaN or infinite; those with any.
        beside: What stands beside a wrapped state dict, by name.
        metadata: What the file says; None if that can't be meant.
        model: Registry name, of the file or as asked for; None if neither says.
        options: What the model was built with.
        fit: None if there is no model to compare with.
        scale: Of the scores that the model gives with these weights; None without a model.
        calibration: Likewise.
        problem: The sentence that says why the file can't be used; None if it can.
    """

    path: Path
    size: int
    sha256: str
    entries: int
    dtypes: dict[str, int]
    not_finite: dict[str, int]
    beside: list[str]
    metadata: Metadata | None
    model: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    fit: Fit | None = None
    scale: ScoreScale | None = None
    calibration: Calibration | None = None
    problem: str | None = None


def check_weights(path: Path, *, name: str | None = None, **options: Any) -> WeightsCheck:
    """Compares a file with its model entry by entry, as `load_model` would, but goes on after the first problem.

    Cost: the file in memory twice, and the model once.

    Args:
        path: Safetensors or a pickle of plain tensors (`weights_only=True`; any other is refused unread).
        name: Registry name; needed for published checkpoints, which do not say what they are for.
        options: Of the model, such as `backbone`; likewise.

    Raises:
        WeightsError: if the file is missing, unreadable, or no weights file at all.
        UnknownNameError: if no model has that name.
    """
    file = read_weights(path)
    not_finite = {entry: count for entry, value in file.state.items() if (count := _not_finite(value))}
    found = _Found(name, options)
    try:
        found.look(file, path)
    except WeightsError as error:
        found.problem = str(error)
    return WeightsCheck(
        path=path,
        size=path.stat().st_size,
        sha256=file_hash(path),
        entries=len(file.state),
        dtypes=dict(Counter(str(value.dtype).removeprefix("torch.") for value in file.state.values()).most_common()),
        not_finite=not_finite,
        beside=sorted(file.beside),
        metadata=found.said,
        model=found.name,
        options=found.options,
        fit=found.fit,
        scale=found.scale,
        calibration=found.calibration,
        problem=found.problem or _not_finite_problem(path, not_finite),
    )


class _Found:
    """How far a look into a file came before the first problem."""

    def __init__(self, name: str | None, options: Mapping[str, Any]) -> None:
        self.name = name
        self.options = options
        self.said: Metadata | None = None
        self.fit: Fit | None = None
        self.scale: ScoreScale | None = None
        self.calibration: Calibration | None = None
        self.problem: str | None = None

    def look(self, file: WeightsFile, path: Path) -> None:
        self.said = parse_metadata(file.metadata, path)
        self.name, self.options = agree(self.said, path, self.name, self.options)
        model = models.create(self.name, **self.options)
        self.fit = _compare(model, file)
        state, published = own_names(model, file.state)
        check_entries(model.state_dict(), state, f"{self.name!r}")
        self.scale, self.calibration = scoring_of(model, file, self.said, published)


def _compare(model: QualityModel, file: WeightsFile) -> Fit:
    state, published = own_names(model, file.state)
    wanted = model.state_dict()
    mismatch = compare_entries(wanted, state)
    names: KeyMap | None = getattr(model, "published_names", None)
    discards = names.discards if published and names is not None else ()
    return Fit(
        matched=len(set(wanted) & set(state)) - len(mismatch.misshapen),
        mismatch=mismatch,
        discarded=sorted(entry for entry in file.state if discards and entry.startswith(discards)),
        published=published,
    )


def _not_finite(value: Tensor) -> int:
    """How many values are NaN or infinite; in float32, which knows what all narrower types hold."""
    if not value.is_floating_point():
        return 0
    return int((~(value if value.element_size() >= 4 else value.float()).isfinite()).sum())


def _not_finite_problem(path: Path, not_finite: Mapping[str, int]) -> str | None:
    if not not_finite:
        return None
    total, first = sum(not_finite.values()), next(iter(not_finite))
    return (
        f"{path} holds {total} NaN or infinite values, the first in {first!r}; "
        "the training diverged or the file is damaged."
    )
