"""Photographs in files: one way in (`read_image`), one way out (`write_png`), which files of a folder count.

What a file holds is decided by its first bytes, not by its name. Pixels come out as stored and are taken for
sRGB: the EXIF orientation is applied, a color profile is not. Whatever is transparent is laid on white, as a
browser or a page shows it. Of several frames or pages the first counts.
"""

from __future__ import annotations

import os
import struct
import sys
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from robustiqa.core.checks import check_pixels
from robustiqa.core.errors import ImageFileError, InputError

MAX_PIXELS = 2**27  # 134 million: above the 108 million of common phone cameras; 1.6 GB once decoded to float32
SUFFIXES = frozenset({".bmp", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
_DECODER_ERRORS = (
    OSError,
    SyntaxError,  # Pillow's word for a broken PNG chunk
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
)
# Pillow unpacks only the high byte of 16-bit color. Read with the other byte order it unpacks the low byte.
_LOW_BYTE_RAWMODE = {
    f"{bands};16{order}": f"{bands};16{other}"
    for bands in ("RGB", "RGBA", "RGBX")
    for order, other in (("B", "L"), ("L", "B"), ("N", "B" if sys.byteorder == "little" else "L"))
}
_ORIENTATION_TAG = 0x0112
# EXIF 2.3, tag Orientation: quarter turns counterclockwise, then whether to mirror left to right
_ORIENTATIONS = {
    1: (0, False),
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (3, True),
    6: (3, False),
    7: (1, True),
    8: (1, False),
}

Bands = npt.NDArray[np.float32]


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
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata; what matters raises
            pixels = _decode(file, path, max_pixels)
    except UnidentifiedImageError:
        raise ImageFileError(
            f"{path} is not a JPEG, PNG, BMP, WebP or TIFF file, whatever its name; convert or remove it."
        ) from None
    except Image.DecompressionBombError:
        raise ImageFileError(f"{path} has more pixels than the {max_pixels} that are read; shrink it first.") from None
    except PermissionError:
        raise ImageFileError(f"{path} may not be read by this user; change its permissions.") from None
    except _DECODER_ERRORS as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ImageFileError(f"{path} is damaged or cut short ({reason}); get an intact copy.") from None
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


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


def _decode(file: IO[bytes], path: Path, max_pixels: int) -> Bands:
    """Upright pixels, (H, W, 3), in [0, 1]."""
    image = Image.open(file, formats=_FORMATS)
    width, height = image.size
    if width * height > max_pixels:
        raise ImageFileError(
            f"{path} is {width} x {height} pixels, more than the {max_pixels} that are read; shrink it first."
        )
    rawmode = _rawmode(image)
    if "16" in rawmode and image.mode in ("RGB", "RGBA", "CMYK"):
        bands = _sixteen_bit_color(file, image, rawmode, path)
    elif image.mode.startswith(("I", "F")):
        bands = _gray_beyond_8_bit(image, path)
    else:
        bands = _eight_bit(image, rawmode, path)
    return _upright(_on_white(bands), image.getexif().get(_ORIENTATION_TAG, 1))


def _rawmode(image: Image.Image) -> str:
    """How Pillow is going to unpack the file's pixels, such as `RGB;16B`."""
    tiles: Any = getattr(image, "tile", None)
    arguments: Any = tiles[0].args if tiles else ""
    return str(arguments[0]) if isinstance(arguments, tuple) and arguments else str(arguments or "")


def _eight_bit(image: Image.Image, rawmode: str, path: Path) -> Bands:
    key = image.info.get("transparency")
    if image.mode == "L" and isinstance(key, int) and rawmode in ("L;2", "L;4"):
        image.info["transparency"] = key * 255 // (2 ** int(rawmode[-1]) - 1)  # the key is in the file's own levels
    if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "La", "CMYK", "YCbCr"):
        raise _unusual_pixels(path, image.mode)
    transparent = image.mode in ("LA", "PA", "RGBA", "RGBa", "La") or key is not None
    image.load()
    return np.asarray(image.convert("RGBA" if transparent else "RGB")).astype(np.float32) / np.float32(255)


def _gray_beyond_8_bit(image: Image.Image, path: Path) -> Bands:
    sixteen_bit = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")
    if not sixteen_bit or "12" in _rawmode(image):
        raise _unusual_pixels(path, image.mode)
    key = image.info.get("transparency")
    white_is_zero = image.format == "TIFF" and getattr(image, "tag_v2", {}).get(262) == 0
    levels = np.asarray(image).astype(np.float32)[:, :, None]
    gray = levels / np.float32(65535)
    bands = np.repeat(1 - gray if white_is_zero else gray, 3, axis=2)
    return bands if key is None else np.concatenate([bands, np.float32(1) - (levels == key)], axis=2, dtype=np.float32)


def _sixteen_bit_color(file: IO[bytes], image: Image.Image, rawmode: str, path: Path) -> Bands:
    """All 16 bits of color pixels, in two readings of the file: Pillow keeps 8 of them at a time."""
    planar = image.format == "TIFF" and getattr(image, "tag_v2", {}).get(284) == 2
    if rawmode != "LA;16B" and (rawmode not in _LOW_BYTE_RAWMODE or planar):
        raise _unusual_pixels(path, rawmode)
    key = image.info.get("transparency")
    high = np.asarray(image)
    file.seek(0)
    again: Any = Image.open(file, formats=_FORMATS)
    again.tile = [
        tile._replace(args=_with_rawmode(tile.args, _LOW_BYTE_RAWMODE.get(rawmode, "RGBA"))) for tile in again.tile
    ]
    low = np.asarray(again)
    if rawmode == "LA;16B":  # read as four bytes: gray high, gray low, alpha high, alpha low
        high, low = low[:, :, [0, 0, 0, 2]], low[:, :, [1, 1, 1, 3]]
    levels = high.astype(np.uint16) * 256 + low
    bands: Bands = levels.astype(np.float32) / np.float32(65535)
    if key is None:
        return bands
    opaque = (levels[:, :, :3] != np.asarray(key)).any(axis=2, keepdims=True)
    return np.concatenate([bands[:, :, :3], opaque], axis=2, dtype=np.float32)


def _with_rawmode(arguments: Any, rawmode: str) -> Any:
    return (rawmode, *arguments[1:]) if isinstance(arguments, tuple) else rawmode


def _on_white(bands: Bands) -> Bands:
    """Lays (H, W, 4) on white; (H, W, 3) stays."""
    if bands.shape[2] == 3:
        return bands
    alpha = bands[:, :, 3:]
    return alpha * bands[:, :, :3] + (1 - alpha)


def _upright(bands: Bands, orientation: object) -> Bands:
    turns, mirrored = _ORIENTATIONS.get(orientation if isinstance(orientation, int) else 1, (0, False))
    turned = np.rot90(bands, turns)
    return turned[:, ::-1] if mirrored else turned


def _unusual_pixels(path: Path, mode: str) -> ImageFileError:
    return ImageFileError(
        f"{path} holds pixels of an unusual type ({mode}); save it as 8-bit or 16-bit RGB or gray first."
    )
