"""Tables, figures and one page from an evaluation: `riq.report(run).to_html("report.html")`."""

from __future__ import annotations

from robustiqa.report.gallery import GalleryItem, build_gallery
from robustiqa.report.html import Report, report

__all__ = ["GalleryItem", "Report", "build_gallery", "report"]
