"""Tables, figures and one page from an evaluation: `riq.report(run).to_html("report.html")`.

What is public is imported when it is first asked for: tables of cards need neither torch nor a page.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what the table below says, in the words of type checkers and editors
    from robustiqa.report.gallery import GalleryItem as GalleryItem
    from robustiqa.report.gallery import build_gallery as build_gallery
    from robustiqa.report.html import Report as Report
    from robustiqa.report.html import report as report

_TABLE = {
    "GalleryItem": "robustiqa.report.gallery:GalleryItem",
    "Report": "robustiqa.report.html:Report",
    "build_gallery": "robustiqa.report.gallery:build_gallery",
    "report": "robustiqa.report.html:report",
}

__all__ = sorted(_TABLE)


if not TYPE_CHECKING:  # hidden from type checkers, so that they refuse names that do not exist

    def __getattr__(name: str) -> Any:
        if name not in _TABLE:
            raise AttributeError(f"module 'robustiqa.report' has no attribute {name!r}")
        module, _, attribute = _TABLE[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
