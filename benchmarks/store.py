"""The file that a run of measurements fills: section by section, group by group, written after each.

A run that is cut short goes on where it was. A file of another machine, other versions or other settings is refused,
for ratios count within one run only.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.timing import Spread, ratio, spread
from robustiqa.core.run_folder import environment, write_atomically

SCHEMA_VERSION = 1
PROCESSOR_FILE = Path("/proc/cpuinfo")
ALLOCATOR = "GLIBC_TUNABLES"


class SkippedError(Exception):
    """A group can't be measured here; the message says why, and stands in the tables."""


@dataclass(frozen=True)
class Group:
    """What was measured together.

    Attributes:
        name: Within its section.
        seconds: By work, one value a round.
        items: By work, how many photographs, crops or gradients one run of it handles.
        facts: What else was found, as plain values.
        skipped: Why nothing was measured; empty if something was.
    """

    name: str
    seconds: Mapping[str, list[float]] = field(default_factory=dict)
    items: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    skipped: str = ""

    def time(self, work: str) -> Spread:
        """Seconds of a work."""
        return spread(self.seconds[work])

    def ratio(self, work: str, unit: str) -> Spread:
        """Seconds of a work over those of another, an item each where both have items."""
        return ratio(self._each(work), self._each(unit))

    def rate(self, work: str) -> Spread:
        """Items a second."""
        return spread([self.items[work] / seconds for seconds in self.seconds[work]])

    def speedup(self, work: str, unit: str) -> Spread:
        """Rate of a work over that of another."""
        return self.ratio(unit, work)

    def _each(self, work: str) -> list[float]:
        return [seconds / self.items.get(work, 1.0) for seconds in self.seconds[work]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values; what is empty is left out, and seconds have microseconds."""
        rounded = {work: [round(value, 6) for value in values] for work, values in self.seconds.items()}
        values = {"seconds": rounded, "items": dict(self.items), "facts": dict(self.facts), "skipped": self.skipped}
        return {name: value for name, value in values.items() if value}


class Measurements:
    """What a file of measurements holds.

    Args:
        document: As `Store` writes it.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.machine: dict[str, Any] = dict(document["machine"])
        self.settings: dict[str, Any] = dict(document["settings"])
        self._sections: Mapping[str, Any] = document["sections"]

    def groups(self, section: str) -> list[Group]:
        """Those of a section, in the order they were measured."""
        return [Group(name, **values) for name, values in self._sections.get(section, {}).items()]

    def group(self, section: str, name: str) -> Group | None:
        """One group; None if it was not measured."""
        found = [group for group in self.groups(section) if group.name == name and not group.skipped]
        return found[0] if found else None


class Store:
    """A file of measurements that is being filled.

    Args:
        path: Continued if it is there.
        settings: Plain values that all its groups share, such as the number of threads.
        machine: What it is measured on.

    Raises:
        SystemExit: if the file was begun elsewhere or otherwise.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], machine: Mapping[str, Any]) -> None:
        self.path = path
        self.document: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "settings": dict(settings),
            "machine": dict(machine),
            "sections": {},
        }
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
            for part in ("schema_version", "settings", "machine"):
                if found.get(part) != self.document[part]:
                    raise SystemExit(f"{path} was measured with another {part}; choose another file or remove it.")
            self.document = found

    def has(self, section: str, group: str) -> bool:
        """Whether a group was measured; one that was skipped is tried again."""
        kept = self.document["sections"].get(section, {}).get(group)
        return kept is not None and not kept.get("skipped")

    def put(self, section: str, group: Group) -> None:
        """Keeps a group, on the disk, too."""
        self.document["sections"].setdefault(section, {})[group.name] = group.to_dict()
        write_atomically(self.path, json.dumps(self.document, indent=1) + "\n")

    def forget(self, section: str) -> None:
        """Drops a section, so that it is measured again."""
        self.document["sections"].pop(section, None)

    def measurements(self) -> Measurements:
        """What it holds by now."""
        return Measurements(self.document)


def load(path: Path) -> Measurements:
    """The measurements of a file.

    Raises:
        SystemExit: if it is of another version of this code.
    """
    document = json.loads(path.read_text(encoding="utf-8"))
    if document.get("schema_version") != SCHEMA_VERSION:
        raise SystemExit(f"{path} is not of schema {SCHEMA_VERSION}; measure again.")
    return Measurements(document)


def describe_machine() -> dict[str, Any]:
    """Versions, and what is known of the processor."""
    named = [line.partition(":")[2].strip() for line in _processor_lines() if line.startswith("model name")]
    return {
        **environment(),
        "processor": named[0] if named else platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "allocator": "kept memory" if os.environ.get(ALLOCATOR) else "as the C library has it",
    }


def _processor_lines() -> list[str]:
    return PROCESSOR_FILE.read_text(encoding="utf-8").splitlines() if PROCESSOR_FILE.is_file() else []
