"""`robustiqa evaluate`: scores and attacks a dataset into resumable records, and shows what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robustiqa.cli import options, runs
from robustiqa.cli.attacking import ATTACK_HELP, DEFAULT_OBJECTIVE, ObjectiveName, build_attack
from robustiqa.cli.data import open_dataset, refuse_unusable
from robustiqa.cli.output import Output
from robustiqa.cli.photos import photos_at_once, reading_ahead, smallest_side, whole_photo
from robustiqa.cli.processes import this_process, wait_until
from robustiqa.cli.weights import DEMO_NOTE, DEMO_WEIGHTS, load_models
from robustiqa.core.errors import InputError

if TYPE_CHECKING:
    import torch

    from robustiqa.attacks.base import NamedAttack
    from robustiqa.core.dataset import Dataset
    from robustiqa.core.model import QualityModel
    from robustiqa.evaluation.shards import Shard
    from robustiqa.evaluation.views import Evaluation
    from robustiqa.report.gallery import GalleryItem

STANDARD_ATTACKS = ("fgsm:eps=0.01", "random_sign:eps=0.01", "ifgsm:eps=4/255,steps=10", "random_sign:eps=4/255")
CALIBRATION_PART = "validation"
PROBED_PHOTOS = 2  # of the part; a random model shows itself on any


def evaluate(
    data: options.Data,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Run folder; running again continues.", show_default=False)
    ],
    weights: options.Weights = None,
    model: options.ModelName = None,
    backbone: options.Backbone = None,
    data_option: options.DataOption = None,
    part: Annotated[str, typer.Option(metavar="NAME", help="Part of the split; all for the whole.")] = "test",
    attack: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ATTACK",
            help=f"{ATTACK_HELP} Repeatable.",
            show_default="FGSM at 0.01, ten steps of I-FGSM at 4/255, random signs of both sizes",
        ),
    ] = None,
    objective: ObjectiveName = DEFAULT_OBJECTIVE,
    variant: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="end_to_end or patchwise; repeatable.", show_default="end_to_end"),
    ] = None,
    transfer: Annotated[
        bool, typer.Option("--transfer", help="Let each model score what was found on the others, too.")
    ] = False,
    base: runs.Base = None,
    defended: runs.Defended = None,
    control: runs.Control = None,
    gallery: Annotated[
        int, typer.Option(metavar="N", min=0, help="Photographs in the report's gallery of the worst.")
    ] = 6,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html and its tables.")] = True,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Do the I-th of N parts of the photographs; start the others on the same folder, at once or later.",
            show_default="all, or this process's part under torchrun",
        ),
    ] = None,
    small: options.Small = "refuse",
    max_side: options.MaxSide = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    batch_size: options.BatchSize = None,
    workers: options.Workers = 2,
    json: options.Json = False,
) -> int:
    """Score and attack a dataset into records, and compare the models.

    Where the dataset has opinion scores and a validation part of at least 5 photographs, they serve to fit the logistic
    that PLCC is also given after. Started by torchrun, or with --shard, several processes share the photographs and
    write into one folder; the one that finds all records there writes the report.

    Example: robustiqa evaluate --weights runs/baseline --weights runs/nt --base baseline --defended nt
    --data biq2021:data/biq2021 --out runs/evaluation
    """
    from robustiqa.cli.devices import find_device
    from robustiqa.cli.showing import print_report, report_document, write_report
    from robustiqa.core.run_folder import SPEC_FILE, known_spec
    from robustiqa.evaluation.run import record_count
    from robustiqa.report import report as make_report

    output = Output("evaluate", json)
    comparison = runs.comparison_notes(base, defended, control)
    if comparison is None and not weights:
        comparison = runs.comparison_notes(DEMO_WEIGHTS[:1], DEMO_WEIGHTS[1:], None)
    attacks = [build_attack(text, _recorded(objective), seed) for text in attack or STANDARD_ATTACKS]
    dataset = open_dataset(data, data_option, max_side)
    chosen = dataset.part(part)
    piece = _shard(shard)
    place = find_device(device)
    loaded = load_models(weights, model, backbone, place)
    runs.check_labels(comparison, [entry.label for entry in loaded])
    if not weights:
        output.line(DEMO_NOTE)
    models = {entry.label: entry.model for entry in loaded}
    whole = {label: whole_photo(one, small) for label, one in models.items()}
    sources = [photo.source for photo in chosen]
    together = photos_at_once(batch_size, whole, sources, place)
    if batch_size is None:  # a run that was begun elsewhere goes on as it is
        together = known_spec(out).get("batch_size", together)
    work = _Work(models, place, together, small, workers, piece, output)
    asked: dict[str, Any] = {"variants": tuple(variant or ("end_to_end",)), "transfer": transfer}
    fitted_on = _calibration_part(dataset, chosen, part)
    if not (out / SPEC_FILE).is_file() or piece.count > 1:
        for photos in (chosen, *([fitted_on] if fitted_on else [])):
            work.check(photos)
    work.run(chosen, attacks, out, "attacking", **asked, info={"part": part})
    runs_made = [(out, record_count(len(chosen), len(work.models), attacks, **asked))]
    if fitted_on is not None:
        work.run(fitted_on, (), out / CALIBRATION_PART, "scoring the validation part")
        runs_made.append((out / CALIBRATION_PART, len(fitted_on) * len(work.models)))
    if not _finishes(runs_made, shard, output):
        return 0
    notes: dict[str, Any] = {} if comparison is None else {"comparison": comparison}
    if fitted_on is not None:
        notes["calibration"] = work.calibrate(out / CALIBRATION_PART)
    notes["probes"] = work.probe(chosen)
    runs.write_notes(out, notes)
    found = runs.read_runs([out])
    made = make_report(found, work.gallery(found, chosen, attacks, gallery) if report else ())
    page = write_report(made, out) if report else None
    print_report(output, made)
    output.line(f"\n{page or out}")
    output.document(
        folder=out,
        complete=True,
        report=page,
        records=len(found.records),
        models=[entry.describe() for entry in loaded],
        attacks=[planned.label for planned in attacks],
        **report_document(made),
    )
    return 0


def _calibration_part(dataset: Dataset, chosen: Dataset, part: str) -> Dataset | None:
    """The photographs that the logistic is fitted on; None where too few are apart from those evaluated."""
    from robustiqa.metrics.mapping import FEWEST_SCORES

    if not chosen.has_mos or CALIBRATION_PART not in dataset.parts or part in (CALIBRATION_PART, "all"):
        return None
    apart = dataset.part(CALIBRATION_PART)
    return apart if len(apart) >= FEWEST_SCORES else None


def _shard(asked: str | None) -> Shard:
    """The part of the photographs that this process does.

    Raises:
        InputError: if one is named under torchrun, which shares the photographs itself, or there is no such part.
    """
    from robustiqa.evaluation.shards import WHOLE, Shard, parse_shard

    process = this_process()
    if asked is None:
        return Shard(process.rank, process.count) if process.count > 1 else WHOLE
    if process.count > 1:
        raise InputError("--shard is for processes that are started one by one; leave it out under torchrun.")
    return parse_shard(asked)


def _finishes(made: Sequence[tuple[Path, int]], shard: str | None, output: Output) -> bool:
    """Whether this process goes on to the report: the first one under torchrun, once all records are there.

    Args:
        made: Run folders, and how many records each holds in the end.
        shard: As it was asked for; such a process does not wait.
        output: Says what is still missing.
    """
    from robustiqa.evaluation.records import RECORDS_FILE, RecordStore

    process = this_process()
    stores = [(RecordStore(folder / RECORDS_FILE), wanted) for folder, wanted in made]

    def complete() -> bool:
        return all(store.count() >= wanted for store, wanted in stores)

    if process.count > 1 and process.first:
        wait_until(complete)
    if shard is not None and not complete():
        (store, wanted), folder = stores[0], made[0][0]
        output.line(
            f"shard {shard} is done: {folder} holds {store.count()} of {wanted} records; the last shard reports."
        )
        output.document(folder=folder, complete=False, records=store.count())
        return False
    return process.first


def _recorded(objective: str) -> str:
    """What is run for an objective: `rank_split` is read from both directions, and needs no threshold here."""
    return DEFAULT_OBJECTIVE if objective == "rank_split" else objective


@dataclass(frozen=True)
class _Work:
    """The models of one request, and how to compute with them."""

    models: Mapping[str, QualityModel]
    device: torch.device
    batch_size: int
    small: str
    workers: int
    shard: Shard
    output: Output

    def check(self, photos: Dataset) -> None:
        """Refuses photographs of this process that no model can take."""
        mine = photos.select([photo.key for photo in self.shard.of(photos)])
        refuse_unusable(mine, smallest_side(list(self.models.values()), self.small), self.output, self.workers)

    def run(self, photos: Dataset, attacks: Sequence[NamedAttack], folder: Path, what: str, **options: Any) -> None:
        """Scores and attacks this process's photographs into a run folder, with a progress bar."""
        from robustiqa.evaluation.run import evaluate as run_evaluation

        mine = None if self.batch_size > 1 else {photo.key for photo in self.shard.of(photos)}
        with self.output.progress(what) as tell, reading_ahead(photos, self.workers, mine) as ahead:
            run_evaluation(
                self.models,
                ahead,
                attacks,
                folder=folder,
                batch_size=self.batch_size,
                device=self.device,
                small=self.small,
                shard=self.shard,
                progress=tell,
                tell=self.output.note,
                **options,
            )

    def calibrate(self, folder: Path) -> dict[str, dict[str, float] | None]:
        """Each model's logistic from clean validation scores to opinions; None where the fit fails."""
        from robustiqa.metrics.mapping import fit_logistic

        clean = runs.read_runs([folder])
        curves = {}
        for label in self.models:
            scores = clean.clean(label)
            curve = None if scores.mos is None else fit_logistic(scores.before, scores.mos)
            curves[label] = None if curve is None else asdict(curve)
        return curves

    def probe(self, photos: Dataset) -> dict[str, list[tuple[str, str]]]:
        """By model, the flags of what its records can't show: names and sentences."""
        from robustiqa.evaluation.probe import probe_model
        from robustiqa.models.crop_average import CropAverage

        found: dict[str, list[tuple[str, str]]] = {}
        for label, model in self.models.items():
            whole = model if model.crop_size is None else CropAverage(model, small=self.small)
            for photo in photos.photos[:PROBED_PHOTOS]:
                flags = probe_model(whole, photo.read()[None].to(self.device), label=label)
                found.setdefault(label, []).extend((flag.name, flag.sentence) for flag in flags)
        return {label: list(dict(flags).items()) for label, flags in found.items()}

    def gallery(
        self, found: Evaluation, photos: Dataset, attacks: Sequence[NamedAttack], count: int
    ) -> list[GalleryItem]:
        """The photographs that an attack moved farthest, attacked again; none where no attack ran both ways."""
        from robustiqa.evaluation.study import RANDOM
        from robustiqa.report.gallery import build_gallery

        meant = [attack for attack in attacks if not attack.label.startswith(RANDOM)]
        both_ways = [
            attack
            for attack in meant
            if all({"lower", "raise"} <= set(found.goals(label, attack.label)) for label in self.models)
        ]
        if not count or not both_ways:
            return []
        self.output.note(f"attacking the {min(count, len(photos))} photographs of the gallery again")
        return build_gallery(found, self.models, photos, both_ways, count)
