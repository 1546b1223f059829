"""Cards: what one model's records come to, as one small file that leaderboards are made of.

A card is plain values. The same records give the same bytes: names are sorted, numbers hold six digits, and nothing in
it says when or where it was made. `robustiqa.evaluation.cards_from_records` makes cards; reading and ranking them needs
neither records nor torch.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from robustiqa.core.errors import InputError, SpecError
from robustiqa.core.run_folder import write_atomically

SCHEMA_VERSION = 1
CARDS_FOLDER = "cards"
DIGITS = 6  # of every number: below what resampling leaves open, above what rounding of sums can reach


@dataclass(frozen=True)
class Reading:
    """A number and its bootstrap interval over photographs; each None where it is undefined."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class AttackRun:
    """What one attack was asked for; the model itself was attacked, end to end.

    Attributes:
        attack: Its label, options included.
        goals: What it was run for, sorted.
        norm: What the budget is measured in.
        eps: The budget, in [0, 1] units.
        levels: The most whole 8-bit levels that it lets one value change by.
        photos: How many photographs met it.
        made_from: Hash over what was fitted for it beforehand; empty for most.
    """

    attack: str
    goals: tuple[str, ...]
    norm: str
    eps: float
    levels: int
    photos: int
    made_from: str


@dataclass(frozen=True)
class Protocol:
    """What entries must share to be ranked together.

    Attributes:
        dataset: Its name, for people; the fingerprint is what counts.
        fingerprint: Over the photographs' keys and opinions.
        split: Over the keys of those that were scored.
        photos: How many were scored.
        precision: Which images count.
        attacks: Sorted by label.
    """

    dataset: str
    fingerprint: str
    split: str
    photos: int
    precision: str
    attacks: tuple[AttackRun, ...]


@dataclass(frozen=True)
class Clean:
    """Accuracy on untouched photographs.

    Attributes:
        srocc: Against opinions.
        plcc: Against opinions, raw.
        rmse: Against opinions, on 0..100.
        spread: Standard deviation of the scores.
    """

    srocc: Reading
    plcc: Reading
    rmse: Reading
    spread: Reading


@dataclass(frozen=True)
class WorstCase:
    """What the attacks of one budget reach together.

    Attributes:
        norm: What the budget is measured in.
        eps: The budget, in [0, 1] units.
        photos: How many photographs met all of the attacks.
        attacks: Those that were run in both directions; of each photograph the worst counts.
        change_over_spread: Root mean square of the larger change of both directions, over the clean spread.
        srocc_before: SROCC of the scores after with those before, scores above the clean median lowered, others raised.
        srocc_mos: Likewise with opinions.
    """

    norm: str
    eps: float
    photos: int
    attacks: tuple[str, ...]
    change_over_spread: Reading
    srocc_before: Reading
    srocc_mos: Reading


@dataclass(frozen=True)
class RaisedFlag:
    """A reason not to believe an entry: the check's name and what it saw."""

    name: str
    sentence: str


@dataclass(frozen=True)
class Card:
    """An entry: one model under one protocol.

    Attributes:
        model: Its label.
        kind: Its class.
        weights: Hash of its weights.
        scoring: How it scores a whole photograph.
        protocol: What was done.
        clean: Accuracy.
        worst: By budget, sorted by norm and eps.
        flags: In the order of the checks.
        checks: Names of the checks that the records gave occasion for.
        records: Hash over the model's scores, photo by photo.
        samples: Bootstrap resamples.
        version: Of the package that made the records; empty if they don't say.
        schema_version: Of this layout.
    """

    model: str
    kind: str
    weights: str
    scoring: str
    protocol: Protocol
    clean: Clean
    worst: tuple[WorstCase, ...]
    flags: tuple[RaisedFlag, ...]
    checks: tuple[str, ...]
    records: str
    samples: int
    version: str
    schema_version: int = SCHEMA_VERSION

    @property
    def title(self) -> str:
        """The model and the beginning of its weights' hash."""
        return f"{self.model} ({self.weights[:8]})" if self.weights else self.model

    @property
    def unreliable(self) -> tuple[str, ...]:
        """Names of the flags raised, each once."""
        return tuple(dict.fromkeys(flag.name for flag in self.flags))

    @property
    def file_name(self) -> str:
        """A file's name that tells entries apart: the model in plain letters, a hash of it and its weights."""
        plain = re.sub(r"[^A-Za-z0-9.]+", "-", self.model).strip("-.")
        told_apart = hashlib.sha256(f"{self.model}\n{self.weights}".encode()).hexdigest()[:8]
        return f"{plain or 'model'}-{told_apart}.json"

    def to_json(self) -> str:
        """The card as a file holds it: names sorted, every digit that it has."""
        return json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"

    def write(self, folder: Path) -> Path:
        """Writes the card into a folder, whole or not at all; returns its path."""
        path = folder / self.file_name
        write_atomically(path, self.to_json())
        return path


def six_digits(value: float) -> float | None:
    """A number as cards hold it; None where there is none."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def read_card(path: Path) -> Card:
    """The card of a file.

    Raises:
        InputError: if there is no such file, or it is damaged or no card.
        SpecError: if it is of another schema version.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"there is no card {path}.") from error
    except ValueError as error:
        raise _damaged(path, "it is not JSON") from error
    version = values.get("schema_version") if isinstance(values, dict) else None
    if isinstance(version, int) and version != SCHEMA_VERSION:
        raise SpecError(
            f"{path} is a card of schema version {version}, and this version reads {SCHEMA_VERSION}; use the version "
            "that wrote it."
        )
    try:
        card: Card = _decode(Card, values, "the card")
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    return card


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"{path} is damaged or no card ({reason}); make it anew from its records.")


def _decode(kind: Any, value: object, where: str) -> Any:
    """A plain value as the type that a dataclass declares, nothing missing and nothing more.

    Raises:
        ValueError: saying where it is otherwise.
    """
    if is_dataclass(kind):
        names = {field.name for field in fields(kind)}
        if not isinstance(value, dict) or set(value) != names:
            raise ValueError(f"{where} must hold {', '.join(sorted(names))}")
        hints = get_type_hints(kind)
        return kind(**{name: _decode(hints[name], value[name], name) for name in names})  # type: ignore[operator]
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{where} must be a list")
        return tuple(_decode(get_args(kind)[0], part, where) for part in value)
    if get_origin(kind) is UnionType:
        return None if value is None else _decode(get_args(kind)[0], value, where)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"{where} must be {kind.__name__}, got {value!r}")
    return value
