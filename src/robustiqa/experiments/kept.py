"""Finished records of an experiment, small and compressed, which processes add to and another machine goes on from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from robustiqa.core.model import QualityModel
from robustiqa.core.tensor_files import FileStamp, file_stamp
from robustiqa.evaluation.exported import INFO_FILE, export, load_exported, merge
from robustiqa.evaluation.views import Evaluation
from robustiqa.experiments.sharing import claim
from robustiqa.models.weights import state_hash

Notes = Mapping[str, Any]


class Kept:
    """A folder that `export` writes, read again only when it has changed.

    Args:
        folder: Where the records are.
        locks: Folder for the lock that writers hold.
    """

    def __init__(self, folder: Path, locks: Path) -> None:
        self.folder = folder
        self._lock = locks / "kept.lock"
        self._read: tuple[tuple[int, ...], Evaluation] | None = None
        self._states: dict[FileStamp, str] = {}

    def read(self) -> Evaluation | None:
        """All kept records, or None where there are none yet."""
        path = self.folder / INFO_FILE
        if not path.is_file():
            return None
        said = path.stat()
        stamp = (said.st_ino, said.st_mtime_ns, said.st_size)
        if self._read is None or self._read[0] != stamp:
            self._read = (stamp, load_exported(self.folder))
        return self._read[1]

    def of_other_weights(self, label: str, weights: Path, load: Callable[[Path], QualityModel]) -> bool:
        """Whether records under a label are of another model than a weights file holds; no, where there is none."""
        kept = self.read()
        known = None if kept is None else kept.info["models"].get(label)
        if known is None or not weights.is_file():
            return False
        stamp = file_stamp(weights)
        if stamp not in self._states:
            self._states[stamp] = state_hash(load(weights))
        return bool(known["state"] != self._states[stamp])

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keeps other processes from writing."""
        with claim(self._lock):
            yield

    def add(self, found: Evaluation, label: str, extend: Callable[[Notes], Notes]) -> None:
        """Adds the records of a model; those of other weights under the same label give way.

        Args:
            found: Of one model.
            label: The model.
            extend: From what a report was told besides to what it must be told now.
        """
        with self.claimed():
            kept = self.read()
            parts = [found] if kept is None else [_without_other(kept, found, label), found]
            merged = merge(parts, extend({} if kept is None else kept.info["info"]))
            for one in merged.info["models"]:
                known = {} if kept is None else kept.info["models"].get(one, {})
                if "environment" in known:
                    merged.info["models"][one].setdefault("environment", known["environment"])
            merged.info["models"][label]["environment"] = found.info["environment"]
            export(merged, self.folder)


def _without_other(kept: Evaluation, found: Evaluation, label: str) -> Evaluation:
    """The kept records, less those of the same label if they are of other weights."""
    earlier = kept.info["models"].get(label)
    if earlier is None or earlier["state"] == found.info["models"][label]["state"]:
        return kept
    return only(kept, [other for other in kept.models if other != label], kept.info["info"])


def only(evaluation: Evaluation, labels: Sequence[str], notes: Notes) -> Evaluation:
    """The evaluation of some models, in their order."""
    place = {label: number for number, label in enumerate(labels)}
    records = [record for record in evaluation.records if record.scored_by in place]
    models = {label: evaluation.info["models"][label] for label in labels if label in evaluation.info["models"]}
    return Evaluation(
        tuple(sorted(records, key=lambda record: place[record.scored_by])),
        {**evaluation.info, "models": models, "info": dict(notes)},
    )
