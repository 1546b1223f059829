"""Records: one line a photo, model, attack and goal, appended to a file that survives being killed.

Everything a table or figure shows is computed from these lines; nothing else is kept.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from robustiqa.core.errors import SpecError, WorkFailedError
from robustiqa.core.run_folder import write_atomically

SCHEMA_VERSION = 1
RECORDS_FILE = "records.jsonl"  # of a run folder
CLEAN = "none"
MEASURED = ("clean_score", "float_score", "score", "gradient_l1", "linf", "l2", "ssim")  # from float32 tensors
SINGLE = "single"  # marks a line whose measured numbers are float32, written as short as that allows
OPTIONAL: dict[str, Any] = {  # not written
    "member": "",
    "member_scores": {},
    "lpips": None,
    "seconds": None,
    "peak_memory": None,
}
Identity = tuple[str, str, str, str, str, str]


@dataclass(frozen=True)
class Record:
    """What happened to one photo.

    Attributes:
        key: The photo.
        mos: Its mean opinion score on 0..100, or None.
        scored_by: Label of the model that scored it.
        attacked_on: Label of the model that the attack saw; white-box if and only if it equals `scored_by`.
        attack: The attack without its objective, such as `ifgsm(eps=4/255, steps=10)`; `none` for a clean record.
        goal: `lower`, `raise`, `absolute_shift`, ...; `none` for a clean record.
        variant: `end_to_end` (one perturbation for the photo) or `patchwise` (one for each crop).
        eps: Budget in [0, 1] units, in the norm that the attack's label names (see `norm_of`); 0 for a clean record.
        levels: The most whole 8-bit levels that it lets one value change by.
        clean_score: Score before.
        float_score: Score of the float adversarial image.
        score: Score of the 8-bit adversarial image: the one that counts. Clean records repeat `clean_score`.
        gradient_l1: L1 norm of the clean photo's end-to-end pixel-space gradient (clean records; else None).
        linf: Largest pixel change of the 8-bit image, in levels of 1/255.
        l2: Euclidean length of the 8-bit change, in [0, 1] units.
        ssim: Structural similarity of the 8-bit image to the clean one.
        queries: Forward passes the attack spent.
        gradients: Backward passes it spent.
        member: Of an ensemble, which member found the image, or `none` if none beat the clean one; empty for others.
        member_scores: Score of each member's 8-bit image on the attacked model, by name, the clean one as `none`; empty
            for other attacks and where another model scored.
        lpips: LPIPS of the 8-bit image and the clean one; None where it was not measured.
        seconds: Wall time that the attack took, its batch's divided by photos; None where it was not measured.
        peak_memory: The most bytes that the attack held on its GPU beyond what was held before it, for its whole batch,
            that of the clean photographs' gradient counted where it was used; None on a CPU, or where not measured.
        schema_version: Of this layout.
    """

    key: str
    mos: float | None
    scored_by: str
    attacked_on: str
    attack: str
    goal: str
    variant: str
    eps: float
    levels: int
    clean_score: float
    float_score: float
    score: float
    gradient_l1: float | None = None
    linf: float = 0.0
    l2: float = 0.0
    ssim: float = 1.0
    queries: int = 0
    gradients: int = 0
    member: str = ""
    member_scores: dict[str, float] = field(default_factory=dict)
    lpips: float | None = None
    seconds: float | None = None
    peak_memory: int | None = None
    schema_version: int = SCHEMA_VERSION

    @property
    def identity(self) -> Identity:
        """What no two records of a store share."""
        return (self.scored_by, self.attacked_on, self.attack, self.goal, self.variant, self.key)

    def to_line(self, *, short: bool = False) -> str:
        """The record as one line of JSON, from which it is read again unchanged; what was not measured is left out.

        Args:
            short: Whether to drop the digits that a float32 does not need, if all that was measured is float32.
        """
        values = {name: value for name, value in asdict(self).items() if OPTIONAL.get(name, ...) != value}
        measured = {name: values[name] for name in MEASURED if values[name] is not None}
        if short and all(math.isfinite(value) and _single(value) == value for value in measured.values()):
            values |= {name: float(str(np.float32(value))) for name, value in measured.items()}
            values[SINGLE] = True
        return json.dumps(values, separators=(",", ":"), allow_nan=True)

    @staticmethod
    def from_line(line: str) -> Record:
        """The record of one line.

        Raises:
            SpecError: if the line is of another schema version.
        """
        values: dict[str, Any] = {**OPTIONAL, **json.loads(line)}
        if values.get("schema_version") != SCHEMA_VERSION:
            raise SpecError(
                f"records of schema version {values.get('schema_version')} can't be read by this version, "
                f"which writes {SCHEMA_VERSION}; use the version that wrote them."
            )
        if values.get(SINGLE):
            values |= {name: _single(values[name]) for name in MEASURED if values[name] is not None}
        return Record(**{f.name: values[f.name] for f in fields(Record)})


def _single(value: float) -> float:
    """The nearest float32, infinite where there is none."""
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def norm_of(attack: str) -> str:
    """What an attack's budget is measured in, as its label says: `linf` where it says nothing."""
    found = re.search(r"\bnorm=(\w+)", attack)
    return found[1] if found else "linf"


def check_finite(records: Iterable[Record]) -> None:
    """Refuses scores that no metric could take.

    Raises:
        WorkFailedError: naming the first.
    """
    for record in records:
        if not all(math.isfinite(score) for score in (record.clean_score, record.float_score, record.score)):
            when = "" if record.attack == CLEAN else f" under {record.attack}"
            raise WorkFailedError(f"{record.scored_by!r} gives {record.key!r} a score that is not finite{when}.")


class RecordStore:
    """An append-only file of records, to which several processes may add at once; no record gets into it twice.

    Who writes holds a lock, which the operating system gives back when its holder dies. A line cut short by a kill is
    dropped when the file is next opened or added to.

    Args:
        path: A `.jsonl` file; made when the first record comes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path.with_name(f".{path.name}.lock"))
        self._known: set[Identity] = set()
        self._read = 0  # bytes of the file that these are from
        if path.exists():
            with self._lock:
                self._mend()

    def _mend(self) -> None:
        """Cuts off an unfinished last line."""
        data = self._rest()
        whole = data.rfind(b"\n") + 1
        if whole != len(data):
            with self.path.open("r+b") as file:
                file.truncate(self._read + whole)
                os.fsync(file.fileno())

    def _rest(self) -> bytes:
        """What is in the file beyond the records that are known."""
        if not self.path.exists():
            return b""
        with self.path.open("rb") as file:
            file.seek(self._read)
            return file.read()

    def _learn(self, lines: bytes) -> None:
        self._known |= {Record.from_line(line).identity for line in lines.decode().split("\n") if line}
        self._read += len(lines)

    def __iter__(self) -> Iterator[Record]:
        return read_records(self.path) if self.path.exists() else iter(())

    def append(self, records: Iterable[Record]) -> None:
        """Writes records in one go and waits until they are on the disk; what is there already is not written again."""
        given = list(records)
        if not given:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            self._mend()
            self._learn(self._rest())
            lines = "".join(record.to_line() + "\n" for record in given if record.identity not in self._known).encode()
            with self.path.open("ab") as file:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
            self._learn(lines)

    def count(self) -> int:
        """How many whole records there are, without reading what they say."""
        return self.path.read_bytes().count(b"\n") if self.path.exists() else 0


def read_records(path: Path) -> Iterator[Record]:
    """Records of a `.jsonl` or `.jsonl.gz` file, in order."""
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        for line in file:
            if line.strip():
                yield Record.from_line(line.decode())


def write_compressed(records: Iterable[Record], path: Path) -> None:
    """Writes records to a `.jsonl.gz` whose bytes depend on the records alone."""
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=packed, mode="wb", mtime=0) as file:
        for record in records:
            file.write(record.to_line(short=True).encode() + b"\n")
    write_atomically(path, packed.getvalue())
