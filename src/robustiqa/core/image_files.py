"""Photographs in files: one way in (`read_image`), one way out (`write_png`), which files of a folder count.

What a file holds is decided by its first bytes, not by its name. Pixels come out as stored and are taken for
sRGB: the EXIF orientation is applied, a color profile is not. Whatever is transparent is laid on white, as a
browser or a page shows it. Of several frames or pages the first counts.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from robustiqa.core.checks import check_pixels
from robustiqa.core.decoding import DECODER_ERRORS, decode, pillow_warnings_ignored
from robustiqa.core.errors import ImageFileError, InputError

MAX_PIXELS = 2**27  # 134 million: above the 108 million of common phone cameras; 1.6 GB once decoded to float32
SUFFIXES = frozenset({".bmp", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class FileSource:
    """A photograph in a file, decoded each time it is read.

    Attributes:
        path: Where it lies.
    """

    path: Path

    def read(self) -> Tensor:
        """Decodes the file; see `read_image`."""
        return read_image(self.path)


def read_image(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Tensor:
    """Decodes a JPEG, PNG, BMP, WebP or TIFF file upright.

    Level k of 8 bits becomes the float32 nearest to k / 255; 16 bits are divided by 65535, no level is lost.

    Args:
        path: The file; its name plays no part.
        max_pixels: Width times height above which the file is refused before anything is decoded.

    Returns:
        The photograph, (3, H, W), float32 RGB in [0, 1].

    Raises:
        ImageFileError: if the path holds no image file, or a broken, too large or unusual one.
    """
    path = Path(path)
    _check_file(path)
    try:
        with pillow_warnings_ignored, path.open("rb") as file:
            pixels = decode(file, path, max_pixels)
    except UnidentifiedImageError:
        raise ImageFileError(
            f"{path} is not a JPEG, PNG, BMP, WebP or TIFF file, whatever its name; convert or remove it."
        ) from None
    except Image.DecompressionBombError:
        raise ImageFileError(f"{path} has more pixels than the {max_pixels} that are read; shrink it first.") from None
    except PermissionError:
        raise ImageFileError(f"{path} may not be read by this user; change its permissions.") from None
    except DECODER_ERRORS as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ImageFileError(f"{path} is damaged or cut short ({reason}); get an intact copy.") from None
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def image_size(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Height and width that an image file's first bytes tell, as stored; None where `read_image` will complain."""
    try:
        with pillow_warnings_ignored, Image.open(path) as image:
            return image.height, image.width
    except (*DECODER_ERRORS, UnidentifiedImageError, Image.DecompressionBombError, OSError):
        return None


def write_png(image: Tensor, path: str | os.PathLike[str]) -> None:
    """Writes an 8-bit PNG, each value rounded to the nearest level; the file appears whole or not at all.

    Args:
        image: Pixels, (3, H, W), in [0, 1].
        path: Where to; must end in `.png`. Its folder is made if there is none.

    Raises:
        InputError: if the shape, the range or the suffix is wrong.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(f"write_png writes PNG files, got the name {path.name!r}; end it in .png.")
    if image.ndim != 3:
        raise InputError(f"an image must have shape (3, H, W), got {tuple(image.shape)}.")
    check_pixels(image[None])
    levels = torch.round(image.detach().clamp(0, 1) * 255).to(torch.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        Image.fromarray(levels.permute(1, 2, 0).contiguous().cpu().numpy()).save(beside, format="PNG")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def find_images(path: str | os.PathLike[str], recursive: bool = False) -> list[Path]:
    """The image files that a path stands for: itself if it is a file, the images in it if it is a folder.

    A folder's files count by their suffix (`SUFFIXES`); names that begin with a dot do not.

    Args:
        path: A file or a folder.
        recursive: Whether to look below the folder, too.

    Returns:
        Paths sorted by name within the folder.

    Raises:
        ImageFileError: if there is nothing at the path, or no image in the folder.
    """
    path = Path(path)
    if not path.is_dir():
        if not path.exists():
            raise ImageFileError(f"expected an image file or a folder at {path}, found nothing; check the path.")
        return [path]
    found = _images_in(path, recursive)
    if not found:
        deeper = not recursive and bool(_images_in(path, recursive=True))
        what_to_do = (
            "there are some below it: pass --recursive" if deeper else f"looked for {', '.join(sorted(SUFFIXES))}"
        )
        raise ImageFileError(f"expected images in the folder {path}, found none; {what_to_do}.")
    return found


def _images_in(folder: Path, recursive: bool) -> list[Path]:
    candidates = folder.rglob("*") if recursive else folder.glob("*")
    inside = ((candidate.relative_to(folder), candidate) for candidate in candidates)
    kept = [
        (name.as_posix(), candidate)
        for name, candidate in inside
        if candidate.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in name.parts)
        and candidate.is_file()
    ]
    return [candidate for _, candidate in sorted(kept)]


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise ImageFileError(f"expected an image file, got the folder {path}; pass a file.")
    if not path.exists():
        raise ImageFileError(f"expected an image file at {path}, found nothing; check the path.")
    if not path.is_file():
        raise ImageFileError(f"expected an image file, got {path}, which is not a regular file; copy it to one.")
    if path.stat().st_size == 0:
        raise ImageFileError(f"{path} is an empty file; get an intact copy.")
