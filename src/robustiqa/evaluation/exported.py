"""Evaluations kept small: plain values in JSON and one compressed file of records a model, read again without torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from robustiqa.core.run_folder import slug, write_atomically
from robustiqa.evaluation.records import Record, read_records, write_compressed
from robustiqa.evaluation.views import Evaluation

INFO_FILE = "info.json"
RECORDS_SUFFIX = ".jsonl.gz"


def merge(parts: Sequence[Evaluation], info: Mapping[str, Any]) -> Evaluation:
    """One evaluation from several on the same photographs; clean records that repeat are kept once."""
    seen: dict[tuple[str, ...], Record] = {}
    models: dict[str, Any] = {}
    attacks: list[str] = []
    for part in parts:
        models.update(part.info["models"])
        attacks += [attack for attack in part.info["attacks"] if attack not in attacks]
        for record in part.records:
            seen.setdefault(record.identity, record)
    learned = {label: said for part in parts for label, said in part.info.get("learned", {}).items()}
    described = {**parts[0].info, "models": models, "attacks": attacks, "info": dict(info)}
    described |= {"learned": learned} if learned else {}
    return Evaluation(tuple(seen.values()), described)


def export(evaluation: Evaluation, folder: Path) -> None:
    """Writes what tables are rebuilt from: `info.json`, and one compressed file of records a model, in place of others.

    Args:
        evaluation: What to keep.
        folder: Where to; records that an earlier export left there are removed.
    """
    names = {f"{slug(label)}{RECORDS_SUFFIX}": label for label in evaluation.models}
    for name, label in names.items():
        write_compressed([record for record in evaluation.records if record.scored_by == label], folder / name)
    write_atomically(folder / INFO_FILE, json.dumps(evaluation.info, indent=1) + "\n")
    for earlier in folder.glob(f"*{RECORDS_SUFFIX}"):
        if earlier.name not in names:
            earlier.unlink()


def load_exported(folder: Path) -> Evaluation:
    """The evaluation that `export` wrote."""
    info = json.loads((folder / INFO_FILE).read_text(encoding="utf-8"))
    paths = [folder / f"{slug(label)}{RECORDS_SUFFIX}" for label in info["models"]]
    return Evaluation(tuple(_all_records(paths)), info)


def _all_records(paths: Iterable[Path]) -> Iterator[Record]:
    for path in paths:
        yield from read_records(path)
