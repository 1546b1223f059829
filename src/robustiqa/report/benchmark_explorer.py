"""Photo by photo on a page of benchmarks: every model under every attack once, however many parts show it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from robustiqa.evaluation.records import CLEAN, Identity, Record
from robustiqa.evaluation.study import Study
from robustiqa.evaluation.summary import Summary
from robustiqa.evaluation.views import Evaluation
from robustiqa.report.examples import EXAMPLES
from robustiqa.report.explorer import Explorer, explorer


def benchmark_explorer(studies: Sequence[Study]) -> Explorer | None:
    """Puts the parts of the same photographs together; None where nothing was attacked.

    Whole photographs and crops of them are told apart by the name of their dataset. Where one part has fewer
    photographs than another, all are here, and objectives choose on all of them. How many photographs fit is the
    explorer's rule: at most `MOST_OUTCOMES` on a page, and of more the photographs that moved farthest.

    Args:
        studies: Of the parts, in the order of the page.
    """
    kinds: dict[str, list[Study]] = {}
    for read in studies:
        kinds.setdefault(str(read.evaluation.info.get("dataset", {}).get("name", "")), []).append(read)
    pictured = [name for name, reads in kinds.items() if any(EXAMPLES in read.notes["show"] for read in reads)]
    ordered = dict.fromkeys([*pictured, *kinds])  # the page's pictures are of the first photograph of their name
    return explorer([_together(kinds[name]) for name in ordered], [name if len(kinds) > 1 else "" for name in ordered])


def _together(studies: Sequence[Study]) -> Study:
    """One evaluation of all that some parts hold of models attacked themselves."""
    records: dict[Identity, Record] = {}
    models: dict[str, Any] = {}
    for read in studies:
        models |= read.evaluation.info.get("models", {})
        for record in read.evaluation.records:
            if record.attack == CLEAN or record.attacked_on == record.scored_by:
                records.setdefault(record.identity, record)
    info = {**studies[0].evaluation.info, "models": models}
    return Study(Summary(Evaluation(tuple(records.values()), info), samples=1), None)
