"""What an attack did to each photograph, and the PNG files that hold it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustiqa.core.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from robustiqa.core.attack import AttackResult

About = Mapping[str, Any]


@dataclass(frozen=True)
class AttackedPhoto:
    """What an attack did to one photograph.

    Attributes:
        path: The photograph.
        clean_score: Before.
        float_score: Of the image in float.
        score: Of the 8-bit image: the one that counts.
        levels: Largest change of a pixel of the 8-bit image, in levels of 1/255.
        l2: Euclidean length of the 8-bit change, in [0, 1] units; the mean over crops of a patchwise attack.
        ssim: Structural similarity of the 8-bit image to the clean one; likewise.
        gradients: Backward passes spent.
        queries: Forward passes spent.
        files: The PNG that was written, one a crop of a patchwise attack.
        differences: Beside each, its difference to the clean one about mid-gray, times `amplification`.
        amplification: That factor.
        record: The JSON file that says all of this; None where nothing was written.
        member: Of an ensemble, which member found the image; `none` if none beat the clean one; None for others.
        member_scores: Score of each member's 8-bit image, by name; empty for others.
    """

    path: Path
    clean_score: float
    float_score: float
    score: float
    levels: int
    l2: float
    ssim: float
    gradients: int
    queries: int
    files: tuple[Path, ...] = ()
    differences: tuple[Path, ...] = ()
    amplification: int = 1
    record: Path | None = None
    member: str | None = None
    member_scores: dict[str, float] = field(default_factory=dict)


class Writer:
    """Writes `photo-ifgsm.png`, `photo-ifgsm-difference.png` and `photo-ifgsm.json`; numbered where names are the same.

    Args:
        folder: Where to; None writes nothing.
        attack: Its name.
        photos: All photographs, in order, so that their files' names do not depend on which can be read.

    Raises:
        InputError: if the folder is a file.
    """

    def __init__(self, folder: Path | None, attack: str, photos: Sequence[Path]) -> None:
        if folder is not None and folder.exists() and not folder.is_dir():
            raise InputError(f"--out {folder} is a file; expected a folder, which is made if it is not there.")
        self._folder = folder
        self._attack = attack
        self._photos = {path.resolve() for path in photos}
        self._stems: dict[Path, str] = {}
        for path in photos:
            stem, copies = path.stem, 1
            while stem in self._stems.values():
                copies += 1
                stem = f"{path.stem}-{copies}"
            self._stems[path] = stem

    def write(self, photo: AttackedPhoto, images: Tensor, clean: Tensor, below: str, about: About) -> AttackedPhoto:
        """Writes what became of one photograph.

        Args:
            photo: What was measured.
            images: (1, 3, H, W), or its crops (K, 3, side, side).
            clean: Likewise.
            below: Folder inside the folder, for the label of one model of several; empty for one.
            about: What the record says besides: the attack, the model.

        Returns:
            The same, with the files named.

        Raises:
            InputError: if that would overwrite one of the photographs.
        """
        from robustiqa.core import pixels
        from robustiqa.core.image_files import write_png
        from robustiqa.core.run_folder import write_atomically

        if self._folder is None:
            return photo
        stem = f"{self._stems[photo.path]}-{self._attack}"
        names = [stem] if len(images) == 1 else [f"{stem}-crop-{place:02d}" for place in range(1, len(images) + 1)]
        shown, amplification = pixels.visible_difference(images, clean)
        photo = replace(
            photo,
            files=tuple(self._folder / below / f"{name}.png" for name in names),
            differences=tuple(self._folder / below / f"{name}-difference.png" for name in names),
            amplification=amplification,
            record=self._folder / below / f"{stem}.json",
        )
        for file, image in zip((*photo.files, *photo.differences), (*images, *shown), strict=True):
            if file.resolve() in self._photos:
                raise InputError(f"{file} is one of the photographs to attack; choose another --out.")
            write_png(image, file)
        assert photo.record is not None
        write_atomically(photo.record, json.dumps({**about, **asdict(photo)}, indent=1, default=str) + "\n")
        return photo


def measure(
    result: AttackResult, paths: Sequence[Path], writer: Writer, below: str = "", about: About | None = None
) -> list[AttackedPhoto]:
    """Says what was done to each photograph of a batch, and writes it.

    Args:
        result: Of N photographs; its images are those, or N * K crops of a patchwise attack.
        paths: (N,).
        writer: Where images go.
        below: As in `Writer.write`.
        about: Likewise.
    """
    from robustiqa.core import pixels

    images, clean = result.images_8bit, result.clean_images

    def by_photo(values: Tensor) -> Tensor:
        return values.reshape(len(paths), -1)  # (N, K)

    levels = by_photo(255 * pixels.linf_distance(images, clean)).amax(1).round().long().tolist()
    l2 = by_photo(pixels.l2_distance(images, clean)).mean(1).tolist()
    ssim = by_photo(pixels.ssim(images, clean)).mean(1).tolist()
    measured = [
        AttackedPhoto(
            path=path,
            clean_score=result.clean_scores[place].item(),
            float_score=result.scores[place].item(),
            score=result.scores_8bit[place].item(),
            levels=levels[place],
            l2=l2[place],
            ssim=ssim[place],
            gradients=int(result.gradients[place]),
            queries=int(result.queries[place]),
            **found_by,
        )
        for place, (path, found_by) in enumerate(zip(paths, result.found_by, strict=True))
    ]
    pictures = zip(images.chunk(len(paths)), clean.chunk(len(paths)), strict=True)
    return [writer.write(photo, *shown, below, about or {}) for photo, shown in zip(measured, pictures, strict=True)]
