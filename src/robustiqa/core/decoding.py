"""From the bytes of an image file to upright pixels in [0, 1], through Pillow; see `image_files` for what is promised.

Pillow is asked for the stored levels and for nothing that loses some: of 16-bit color it would keep 8.
"""

from __future__ import annotations

import struct
import sys
import threading
import warnings
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from robustiqa.core.errors import ImageFileError

DECODER_ERRORS = (
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
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
# Pillow unpacks only the high byte of 16-bit color. Read with the other byte order it unpacks the low byte.
_LOW_BYTE_RAWMODE = {
    f"{bands};16{order}": f"{bands};16{other}"
    for bands in ("RGB", "RGBA", "RGBX")
    for order, other in (("B", "L"), ("L", "B"), ("N", "B" if sys.byteorder == "little" else "L"))
}
_ORIENTATION_TAG = 0x0112
_BITS_TAG, _PHOTOMETRIC_TAG, _PLANAR_TAG = 258, 262, 284
# EXIF 2.3, tag Orientation: quarter turns counterclockwise, then whether to mirror left to right
_ORIENTATIONS = {
    **{1: (0, False), 2: (0, True), 3: (2, False), 4: (2, True)},
    **{5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)},
}

Bands = npt.NDArray[np.float32]


class PillowWarningsIgnored:
    """Silences Pillow, which warns of odd metadata (what matters raises), while any thread decodes.

    `warnings.catch_warnings` in each thread would restore the filters in the wrong order.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = warnings.catch_warnings()
                self._before.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._before.__exit__(None, None, None)


pillow_warnings_ignored = PillowWarningsIgnored()


def decode(file: IO[bytes], path: Path, max_pixels: int) -> Bands:
    """Upright pixels, (H, W, 3), in [0, 1]."""
    image = Image.open(file, formats=_FORMATS)
    width, height = image.size
    if width * height > max_pixels:
        raise ImageFileError(
            f"{path} is {width} x {height} pixels, more than the {max_pixels} that are read; shrink it first."
        )
    rawmode = _rawmode(image)
    tags: Any = getattr(image, "tag_v2", {})  # of a TIFF
    if tags.get(_PLANAR_TAG) == 2 and max(tags.get(_BITS_TAG, (1,))) > 8:
        raise _unusual_pixels(path, "planes of more than 8 bits")  # Pillow would take them for 8 bits
    if rawmode.endswith((";16B", ";16L", ";16N")) and image.mode in ("RGB", "RGBA", "CMYK"):
        bands = _sixteen_bit_color(file, image, rawmode, path)
    elif image.mode.startswith(("I", "F")):
        bands = _gray_beyond_8_bit(image, path)
    else:
        bands = _eight_bit(image, rawmode, path)
    return _upright(_on_white(bands), _orientation(image))


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
    white_is_zero = getattr(image, "tag_v2", {}).get(_PHOTOMETRIC_TAG) == 0
    levels = np.asarray(image).astype(np.float32)[:, :, None]
    gray = levels / np.float32(65535)
    bands = np.repeat(1 - gray if white_is_zero else gray, 3, axis=2)
    return bands if key is None else np.concatenate([bands, np.float32(1) - (levels == key)], axis=2, dtype=np.float32)


def _sixteen_bit_color(file: IO[bytes], image: Image.Image, rawmode: str, path: Path) -> Bands:
    """All 16 bits of color pixels, in two readings of the file: Pillow keeps 8 of them at a time."""
    if rawmode != "LA;16B" and rawmode not in _LOW_BYTE_RAWMODE:
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
    laid: Bands = np.minimum(alpha * bands[:, :, :3] + (1 - alpha), 1)
    return laid


def _orientation(image: Image.Image) -> object:
    """The EXIF orientation; metadata that can't be read count as none, as in any viewer."""
    try:
        return image.getexif().get(_ORIENTATION_TAG)
    except DECODER_ERRORS:
        return None


def _upright(bands: Bands, orientation: object) -> Bands:
    turns, mirrored = _ORIENTATIONS.get(orientation if isinstance(orientation, int) else 1, (0, False))
    turned = np.rot90(bands, turns)
    return turned[:, ::-1] if mirrored else turned


def _unusual_pixels(path: Path, mode: str) -> ImageFileError:
    return ImageFileError(
        f"{path} holds pixels of an unusual type ({mode}); save it as 8-bit or 16-bit RGB or gray first."
    )
