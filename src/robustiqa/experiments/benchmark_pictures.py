"""Pictures of the photographs that a benchmark shows as examples: made once, kept in the run folder, not with records.

Records hold no pixels, so the attack is run again on these few photographs. Photographs of a dataset can't be passed on
with records, so a page that is made from kept records alone has no pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from robustiqa.attacks.base import NamedAttack
from robustiqa.attacks.objectives import create_objective
from robustiqa.core.dataset import Dataset
from robustiqa.core.model import QualityModel
from robustiqa.core.run_folder import slug, spec_hash
from robustiqa.evaluation.views import Evaluation
from robustiqa.experiments.reproduction import Place
from robustiqa.experiments.sharing import Unit, share
from robustiqa.experiments.trainings import LOCKS
from robustiqa.report.benchmark_study import benchmark_study
from robustiqa.report.examples import WAYS, Example, examples
from robustiqa.report.gallery import GalleryItem, gallery_item, whole_photo
from robustiqa.report.gallery_files import ITEM_FILE, read_item, write_item

FOLDER = "pictures"
WIDEST = 256  # pixels: a page may hold four examples of each of four models
Load = Callable[[str], QualityModel]


def make_pictures(
    found: Evaluation, photos: Dataset, attacks: Sequence[NamedAttack], load: Load, place: Place
) -> list[GalleryItem]:
    """The pictures of all examples of an evaluation; what is there is not made again, and processes share the rest.

    Args:
        found: Whose records say which photographs those are.
        photos: Those that were evaluated.
        attacks: As in the evaluation.
        load: From a model's label to the model.
        place: Where and how.

    Raises:
        InputError: if a model's clean score is not that of its record.
    """
    chosen = examples(benchmark_study(found, samples=1))
    folders = [place.folder / FOLDER / _name(example, found, photos) for example in chosen]
    known = {attack.label: attack for attack in attacks}

    def making(example: Example, folder: Path) -> Callable[[], None]:
        def make() -> None:
            place.tell(f"pictures of {example.key}: {example.attack}, {example.goal}, {example.pair.title}")
            write_item(_made(example, found, photos, known[example.attack], load, place.device), folder)

        return make

    units = [
        Unit(f"pictures-{folder.name}", (folder / ITEM_FILE).is_file, making(example, folder))
        for example, folder in zip(chosen, folders, strict=True)
    ]
    share(units, place.folder / LOCKS)
    return [read_item(folder) for folder in folders]


def _name(example: Example, found: Evaluation, photos: Dataset) -> str:
    """Of the folder, which pictures of other weights or photographs do not share."""
    said = {
        "models": [[label, found.info["models"][label]["state"]] for label in example.labels],
        "farthest_on": list(example.farthest_on),
        "attack": example.attack,
        "goal": example.goal,
        "key": example.key,
        "photographs": [photos.name, photos.fingerprint()],  # crops of a photograph have its fingerprint
    }
    return f"{slug(example.pair.title)}-{example.goal}-{slug(Path(example.key).stem)}-{spec_hash(said)}"


def _made(
    example: Example, found: Evaluation, photos: Dataset, attack: NamedAttack, load: Load, device: str
) -> GalleryItem:
    """The picture shows what was found on the model that the photograph was chosen for, the plain one if for both."""
    first = example.farthest_on[0]
    labels = sorted(example.labels, key=lambda label: label != first)
    models = {label: whole_photo(load(label), "pad").to(device) for label in labels}
    (photo,) = photos.select([example.key])
    why = f"{example.pair.title}, {WAYS[example.goal]}, farthest on {example.chosen}"
    aimed = replace(attack, objective=create_objective(example.goal))
    return gallery_item(photo, aimed, models, found, goal=example.goal, why=why, widest=WIDEST)
