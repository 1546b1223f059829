"""The report: one file that needs nothing else, readable on a telephone, in the dark, by keyboard and by ear."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robustiqa.core.run_folder import write_atomically
from robustiqa.evaluation.flags import Flag
from robustiqa.evaluation.study import Study, study
from robustiqa.evaluation.summary import SAMPLES
from robustiqa.evaluation.views import Evaluation
from robustiqa.report.captions import method, objective_name, photographs, quick_note
from robustiqa.report.checks import check_finite, check_same_photos
from robustiqa.report.diagnostics import Check, checks
from robustiqa.report.drawing import COLORS, FAINT, INK
from robustiqa.report.explorer import SHOWN, Explorer, explorer
from robustiqa.report.figures import Figure, all_figures
from robustiqa.report.findings import KeyFigure, findings, key_figures
from robustiqa.report.layouts import all_tables
from robustiqa.report.tables import Table, number

if TYPE_CHECKING:
    from robustiqa.report.gallery import GalleryItem

Facts = tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
# Colors of figures that follow the page's, light or dark
PAGE_COLORS = {INK: "var(--ink)", FAINT: "var(--grid)", COLORS[0]: "var(--base)", COLORS[1]: "var(--accent)"}
SECTIONS = ("Summary", "Results", "Controls", "Figures", "Gallery", "Photos", "More", "Checks", "Method", "Rebuild")
SHOWN_WITH = {  # sections that are left out where there is nothing for them
    "Controls": "controls",
    "Figures": "figures",
    "Gallery": "gallery",
    "Photos": "explorer",
    "More": "more_tables",
    "Checks": "checks",
}
TITLE = "Robustness of image quality models"  # of what has none of its own


@dataclass(frozen=True)
class Report:
    """What an evaluation says; the same evaluation gives the same bytes.

    Attributes:
        title: Of the page.
        subtitle: Photographs and attacks in a line.
        findings: What was found, in sentences.
        keys: The few numbers to remember.
        tables: Each of them turns into Markdown, LaTeX or CSV.
        figures: Each of them holds its SVG.
        gallery: Photographs that moved farthest.
        commands: That made the records, as far as they say.
        method: How the numbers were made, in sentences.
        facts: Models, dataset and environment.
        flags: Reasons not to believe some of it; the findings and the notes of the tables name them.
        explorer: Every photograph under every attack; None where nothing was attacked.
        checks: What was looked at for such reasons, and what to do about each.
    """

    title: str
    subtitle: str
    findings: tuple[str, ...]
    keys: tuple[KeyFigure, ...]
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]
    gallery: tuple[GalleryItem, ...]
    commands: tuple[str, ...]
    method: tuple[str, ...]
    facts: Facts
    flags: tuple[Flag, ...] = ()
    explorer: Explorer | None = None
    checks: tuple[Check, ...] = ()

    def to_html(self, path: str | Path) -> Path:
        """Writes the page; it appears whole or not at all.

        Args:
            path: Where to; its folder is made if there is none.

        Returns:
            The path.
        """
        path = Path(path)
        write_atomically(path, self.html())
        return path

    def html(self) -> str:
        """The page."""
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup

        templates = Environment(
            loader=PackageLoader("robustiqa.report"),
            autoescape=True,
            undefined=StrictUndefined,
            keep_trailing_newline=True,
        )
        photos, models = ((), []) if self.explorer is None else (self.explorer.photos, list(self.explorer.digits))
        groups: dict[str, object] = {
            "main_tables": [t for t in self.tables if t.main and not t.name.startswith("controls")],
            "controls": [t for t in self.tables if t.name.startswith("controls")],
            "more_tables": [t for t in self.tables if not t.main],
            "figures": [(figure, Markup(_inline(figure.svg))) for figure in self.figures],  # ours, not a user's text
            "gallery": [_shown(item, photos, models) for item in self.gallery],
            "explorer": self.explorer,
            "checks": self.checks,
        }
        script = templates.get_template("explorer.js").render()
        if self.explorer is not None:
            groups |= _explored(self.explorer)
        return templates.get_template("report.html.j2").render(
            report=self,
            style=Markup(templates.get_template("style.css").render()),
            script=Markup(script),
            script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            sections=[(name.lower(), name) for name in SECTIONS if name not in SHOWN_WITH or groups[SHOWN_WITH[name]]],
            gallery_note=_gallery_note(self.gallery),
            **groups,
        )

    def to_markdown(self, pictures: Mapping[str, str] | None = None) -> str:
        """Findings and tables as Markdown.

        Args:
            pictures: Where figures lie, by their names; those without a place are left out.
        """
        points = "\n".join(f"- {sentence}" for sentence in self.findings)
        tables = "\n".join(table.to_markdown() for table in self.tables)
        said = "## Method\n\n" + "\n".join(f"- {sentence}" for sentence in self.method) + "\n"
        shown = [(figure, (pictures or {}).get(figure.name)) for figure in self.figures]
        figures = "\n".join(f"![{f.alt}]({link})\n\n{f.title}. {f.caption}\n" for f, link in shown if link)
        commands = "```\n" + "\n".join(self.commands) + "\n```\n" if self.commands else ""
        return "\n".join(part for part in (f"# {self.title}\n", f"{points}\n", tables, figures, said, commands) if part)


def report(
    evaluation: Evaluation, gallery: Sequence[GalleryItem] = (), *, samples: int = SAMPLES, seed: int = 0
) -> Report:
    """Makes tables, figures and sentences of an evaluation: `riq.report(run).to_html("report.html")`.

    Args:
        evaluation: Its `info["info"]` may say what is compared (`robustiqa.evaluation.study`), the `calibration`
            of each model for mapped scores, a `title`, a `dataset_note`, the `choice` between trainings
            (`robustiqa.report.choice`), whether it was `quick`, and the `commands` that made the records.
        gallery: From `robustiqa.report.gallery.build_gallery`.
        samples: Bootstrap resamples.
        seed: Of the resamples.

    Raises:
        InputError: if there are no records, they are unfinished, one holds NaN, or the comparison does not fit them.
    """
    check_finite(evaluation)
    return report_of(study(evaluation, samples=samples, seed=seed), gallery)


def report_of(read: Study, gallery: Sequence[GalleryItem] = ()) -> Report:
    """As `report`, of an evaluation that was read already."""
    check_same_photos(read)
    return Report(
        title=str(read.notes.get("title", TITLE)) + quick_note(read),
        subtitle=_subtitle(read),
        findings=findings(read),
        keys=key_figures(read),
        tables=all_tables(read),
        figures=all_figures(read),
        gallery=tuple(gallery),
        commands=tuple(map(str, read.notes.get("commands", ()))),
        method=method(read),
        facts=facts(read),
        flags=read.diagnosis.flags,
        explorer=explorer([read]),
        checks=checks([read]),
    )


def _subtitle(read: Study) -> str:
    models = f"{len(read.labels)} model{'s' * (len(read.labels) != 1)}"
    attacks = f"attacked with {', '.join(read.attacks)}" if read.attacks else "not attacked"
    return f"{models} on {photographs(read)}, {attacks}."


def facts(read: Study) -> Facts:
    """Models, dataset and environment, as far as the evaluation knows them."""
    info = read.evaluation.info
    models = []
    for label in read.labels:
        known = info.get("models", {}).get(label, {})
        scale = read.evaluation.scale(label)
        state = f", weights {known['state']}" if "state" in known else ""
        models.append((label, f"{known.get('kind', 'model')}{state}, scale {scale.low:g} to {scale.high:g}"))
    dataset = [(name, str(value)) for name, value in info.get("dataset", {}).items()]
    environment = info.get("environment") or read.notes.get("environment") or _environment(read)
    made = [
        ("Models", models),
        ("Dataset", dataset),
        ("Environment", [(name, str(value)) for name, value in environment.items()] or [("unknown", "not recorded")]),
    ]
    return tuple((title, tuple(facts)) for title, facts in made if facts)


def _environment(read: Study) -> dict[str, str]:
    """What each model was evaluated with; values that differ are listed with the models they are of."""
    found: dict[str, dict[str, list[str]]] = {}
    for label in read.labels:
        for name, value in read.evaluation.info.get("models", {}).get(label, {}).get("environment", {}).items():
            found.setdefault(name, {}).setdefault(str(value), []).append(label)
    return {
        name: next(iter(values))
        if len(values) == 1
        else "; ".join(f"{v} ({', '.join(of)})" for v, of in values.items())
        for name, values in found.items()
    }


def _explored(found: Explorer) -> dict[str, object]:
    """What the explorer's part of the page is made of."""
    from jinja2.utils import htmlsafe_json_dumps

    return {
        "explorer_rows": found.rows(),
        "explorer_shown": SHOWN,
        "explorer_objective": objective_name(found.objectives[0]),
        "explorer_data": htmlsafe_json_dumps(found.document(), separators=(",", ":"), allow_nan=False),
    }


def _inline(svg: str) -> str:
    """An SVG document as part of a page: no prolog, no size of its own, the page's colors."""
    found = svg[svg.index("<svg") :]
    found = re.sub(r"<style[^>]*>.*?</style>\s*", "", found, flags=re.DOTALL)  # it would hold for the whole page
    view = re.search(r'viewBox="[^"]*"', found)
    assert view is not None
    found = f'<svg {view[0]} aria-hidden="true" focusable="false"' + found[found.index(">") :]
    for color, variable in PAGE_COLORS.items():
        found = found.replace(color, variable)
    return found.replace("xlink:href", "href").strip()


def _gallery_note(gallery: Sequence[GalleryItem]) -> str:
    if not gallery:
        return ""
    runs = dict.fromkeys(
        f"{item.attack}, {objective_name(item.goal)}, at most {item.levels} of 255 levels a pixel" for item in gallery
    )
    found_on = dict.fromkeys(item.attacked_on for item in gallery)
    shown = gallery[0].attacked_on if len(found_on) == 1 else "the model that each names"
    smaller = " Small pictures hide some of the change." if any(item.scale < 1 for item in gallery) else ""
    return (
        f"{'; '.join(runs)}, as 8-bit images. The "
        f"pictures are those found on {shown}; each score is under the attack on the model itself. "
        f"Differences are amplified about mid-gray.{smaller}"
    )


def _shown(item: GalleryItem, photos: Sequence[str], models: Sequence[str]) -> dict[str, object]:
    """A gallery item as the page wants it, with its place in the explorer: an example is of one model alone."""
    why = [item.why] if item.why else []
    opinion = [] if item.mos is None else [f"opinion {number(item.mos, 1)}"]
    size = [f"shown at {number(item.scale, 0, percent=True)}\u00a0% of its size"] if item.scale < 1 else []
    pictures = [
        ("clean", item.clean, f"{item.key}, as it is"),
        (
            f"attacked{f' on {item.attacked_on}' if item.why else ''}, SSIM {number(item.ssim, 3)}",
            item.adversarial,
            f"{item.key}, after the attack on {item.attacked_on}",
        ),
        (
            f"difference × {item.amplification}" + (", the middle at full size" if item.scale < 1 else ""),
            item.difference,
            f"What the attack changed, times {item.amplification}",
        ),
    ]
    return {
        "key": item.key,
        "photo": photos.index(item.key) if item.key in photos else None,
        "model": models.index(item.attacked_on) if item.why and item.attacked_on in models else None,
        "remark": ", ".join(why + opinion + size),
        "width": item.width,
        "height": item.height,
        "pictures": [
            {"caption": caption, "alt": alt, "source": f"data:image/png;base64,{base64.b64encode(png).decode()}"}
            for caption, png, alt in pictures
        ],
        "scores": [
            {
                "label": score.label,
                "before": number(score.before, 1),
                "after": number(score.after, 1),
                "change": number(score.after - score.before, 1, signed=True),
            }
            for score in item.scores
        ],
    }
