"""What each benchmark shows of the kept records, kept beside them: enough to make its part of a page again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from robustiqa.core.run_folder import write_atomically
from robustiqa.evaluation.exported import INFO_FILE, load_exported
from robustiqa.evaluation.records import CLEAN, Record
from robustiqa.evaluation.views import Evaluation
from robustiqa.experiments.comparison_evaluation import first_keys

FOLDER = "pages"
Reader = Callable[[str], Evaluation]


@dataclass(frozen=True)
class Met:
    """Photographs that met an attack toward a goal, or that were only scored (`none`).

    Attributes:
        attack: Its label.
        goal: Of the attack.
        photos: How many, the first in the order of their keys' hashes; None for all that were scored.
    """

    attack: str
    goal: str
    photos: int | None


@dataclass(frozen=True)
class Page:
    """One evaluation of a benchmark, to be put together from kept records.

    Attributes:
        name: Of the benchmark.
        order: On a page with others.
        stores: Label of each model to the folder of its records, below the kept ones.
        met: What is shown of them, in order.
        info: Of the evaluation, but for what the kept records say themselves.
    """

    name: str
    order: int
    stores: Mapping[str, str]
    met: tuple[Met, ...]
    info: Mapping[str, Any]

    def evaluation(self, read: Reader) -> Evaluation:
        """The evaluation, in the order of the page, whoever did what first.

        Args:
            read: From a folder of records to what is in it.
        """
        records: list[Record] = []
        models: dict[str, Any] = {}
        where: dict[str, None] = {}
        for label, store in self.stores.items():
            kept = read(store)
            records += self._records(kept, label)
            models[label] = kept.info["models"][label]
            where[str(kept.info["info"]["where"])] = None
        scored = len({record.key for record in records if record.attack == CLEAN})
        dataset = {**self.info["dataset"], "n": scored}
        notes = {**self.info["info"], "where": "; ".join(where)}
        return Evaluation(tuple(records), {**self.info, "models": models, "dataset": dataset, "info": notes})

    def _records(self, kept: Evaluation, label: str) -> list[Record]:
        every = kept.clean(label).keys
        wanted = {(one.attack, one.goal): frozenset(first_keys(every, one.photos)) for one in self.met}
        rank = {run: place for place, run in enumerate(wanted)}
        sources = {source: place for place, source in enumerate(self.stores)}
        shown = (
            record
            for record in kept.records
            if record.scored_by == label
            and record.attacked_on in sources
            and record.key in wanted.get((record.attack, record.goal), ())
        )
        return sorted(shown, key=lambda one: (sources[one.attacked_on], rank[one.attack, one.goal], one.key))

    def write(self, kept: Path, place: int) -> None:
        """Keeps it, if it is not kept already.

        Args:
            kept: Folder of the kept records.
            place: Among the evaluations of the benchmark.
        """
        path = kept / FOLDER / f"{self.name}-{place + 1}.json"
        text = json.dumps(asdict(self), indent=1) + "\n"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_atomically(path, text)


def load_pages(kept: Path) -> list[Evaluation]:
    """The evaluations of every benchmark that was kept, in the order of a page that shows all."""
    pages = sorted(_pages(kept), key=lambda page: page.order)
    found: dict[str, Evaluation] = {}

    def read(store: str) -> Evaluation:
        if store not in found:
            found[store] = load_exported(kept / store)
        return found[store]

    return [page.evaluation(read) for page in pages]


def _pages(kept: Path) -> Iterator[Page]:
    for path in sorted((kept / FOLDER).glob("*.json")):
        said = json.loads(path.read_text(encoding="utf-8"))
        yield Page(**{**said, "met": tuple(Met(**one) for one in said["met"])})


def holds_pages(folder: Path) -> bool:
    """Whether a folder holds kept records of benchmarks."""
    return any((folder / FOLDER).glob("*.json")) and any(folder.glob(f"*/*/{INFO_FILE}"))
