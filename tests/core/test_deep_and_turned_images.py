from __future__ import annotations

import struct
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from robustiqa.core.image_files import read_image
from tests.image_bytes import (
    GRAY,
    GRAY_ALPHA,
    RGB,
    RGB_ALPHA,
    as_pixels,
    pixels,
    random_levels,
    refusal,
    sixteen_bit_png,
)


@pytest.mark.parametrize("color", [GRAY, RGB, GRAY_ALPHA, RGB_ALPHA])
def test_no_level_of_a_16_bit_png_is_lost(tmp_path: Path, color: int) -> None:
    channels = {GRAY: 1, RGB: 3, GRAY_ALPHA: 2, RGB_ALPHA: 4}[color]
    levels = random_levels(11, 6, channels, bits=16)
    (tmp_path / "deep.png").write_bytes(sixteen_bit_png(levels, color))
    exact = levels / 65535
    colors = exact[:, :, :3] if channels >= 3 else np.repeat(exact[:, :, :1], 3, axis=2)
    alpha = exact[:, :, -1:] if channels in (2, 4) else 1.0
    read = pixels(tmp_path / "deep.png")
    np.testing.assert_allclose(read, alpha * colors + 1 - alpha, atol=2e-7)
    if channels in (1, 3):
        np.testing.assert_array_equal(np.round(read * 65535.0), np.broadcast_to(levels, read.shape))


@pytest.mark.parametrize("color", [GRAY, RGB])
def test_a_16_bit_color_key_is_compared_in_all_its_bits(tmp_path: Path, color: int) -> None:
    channels = 1 if color == GRAY else 3
    levels = np.full((1, 2, channels), 0x1234, dtype=np.uint16)
    levels[0, 1, 0] = 0x1235
    key = (b"tRNS", struct.pack(">" + "H" * channels, *[0x1234] * channels))
    (tmp_path / "key.png").write_bytes(sixteen_bit_png(levels, color, key))
    read = pixels(tmp_path / "key.png")
    np.testing.assert_array_equal(read[0, 0], 1)
    np.testing.assert_allclose(read[0, 1, 0], 0x1235 / 65535, atol=1e-7)


def test_a_gray_16_bit_png_of_pillow_is_not_clipped(tmp_path: Path) -> None:
    levels = random_levels(8, 9, bits=16)
    Image.fromarray(levels).save(tmp_path / "pillow.png")
    np.testing.assert_allclose(pixels(tmp_path / "pillow.png")[:, :, 1], levels / 65535, atol=1e-7)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_no_level_of_a_16_bit_tiff_is_lost(
    tmp_path: Path, byteorder: Any, compression: str | None, channels: int
) -> None:
    from tifffile import imwrite

    levels = random_levels(8, 9, channels, bits=16)
    content: Any = levels[:, :, 0] if channels == 1 else levels
    options: dict[str, Any] = {"photometric": "minisblack" if channels == 1 else "rgb", "compression": compression}
    if channels == 4:
        options["extrasamples"] = ["unassalpha"]
    imwrite(tmp_path / "deep.tif", content, byteorder=byteorder, **options)
    colors = np.broadcast_to(levels[:, :, :3], (8, 9, 3)) / 65535
    alpha = levels[:, :, 3:] / 65535 if channels == 4 else 1.0
    np.testing.assert_allclose(pixels(tmp_path / "deep.tif"), alpha * colors + 1 - alpha, atol=2e-7)


def test_a_16_bit_tiff_where_zero_is_white_is_turned_round(tmp_path: Path) -> None:
    from tifffile import imwrite

    levels = random_levels(8, 9, bits=16)
    imwrite(tmp_path / "white.tif", levels, photometric="miniswhite")
    np.testing.assert_allclose(pixels(tmp_path / "white.tif")[:, :, 2], 1 - levels / 65535, atol=1e-7)


def displayed_at(orientation: int, row: int, column: int, height: int, width: int) -> tuple[int, int]:
    """Where a stored pixel is shown, from EXIF's words for the sides on which row 0 and column 0 lie."""
    up, down, left, right = row, height - 1 - row, column, width - 1 - column
    places = {
        1: (up, left),
        2: (up, right),
        3: (down, right),
        4: (down, left),
        5: (left, up),
        6: (left, down),
        7: (right, down),
        8: (right, up),
    }
    return places[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "tif", "deep.tif", "deep.png"])
def test_all_eight_exif_orientations_are_applied(tmp_path: Path, orientation: int, kind: str) -> None:
    height, width, deep = 3, 5, "deep" in kind
    levels = random_levels(height, width, 3, bits=16 if deep else 8)
    path = tmp_path / f"turned.{kind}"
    tag = Image.Exif()
    tag[0x0112] = orientation
    if kind == "deep.tif":
        from tifffile import imwrite

        imwrite(path, levels, photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
    elif kind == "deep.png":
        path.write_bytes(sixteen_bit_png(levels, RGB, (b"eXIf", tag.tobytes().removeprefix(b"Exif\0\0"))))
    else:
        Image.fromarray(levels).save(path, exif=tag)
    shape = (height, width) if orientation < 5 else (width, height)
    expected = np.zeros((*shape, 3), dtype=np.float32)
    for row in range(height):
        for column in range(width):
            place = displayed_at(orientation, row, column, height, width)
            expected[place] = levels[row, column] / (65535 if deep else 255)
    np.testing.assert_allclose(pixels(path), expected, atol=1e-7)


def test_a_jpeg_from_a_phone_held_upright_is_turned(tmp_path: Path) -> None:
    picture = Image.fromarray(random_levels(6, 8, 3)).resize((80, 60), Image.Resampling.BICUBIC)
    tag = Image.Exif()
    tag[0x0112] = 6
    picture.save(tmp_path / "lying.jpg", quality=90)
    picture.save(tmp_path / "phone.jpg", quality=90, exif=tag)
    np.testing.assert_array_equal(pixels(tmp_path / "phone.jpg"), np.rot90(pixels(tmp_path / "lying.jpg"), -1))


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
@pytest.mark.parametrize("exif", [b"garbage!", b"II*\0", b"II*\0\x08\0\0\0\xff\xff", b"MM\0*\0\0\0\x08"])
def test_exif_that_cannot_be_read_counts_as_none_and_warns_of_nothing(tmp_path: Path, kind: str, exif: bytes) -> None:
    path = tmp_path / f"a.{kind}"
    picture = Image.fromarray(random_levels(16, 12, 3))
    picture.save(path, exif=exif if kind == "webp" else b"Exif\0\0" + exif)
    assert pixels(path).shape == (16, 12, 3)


def test_threads_that_decode_leave_the_warning_filters_alone(tmp_path: Path) -> None:
    Image.fromarray(random_levels(64, 64, 3)).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff")
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read_image, [tmp_path / "a.jpg"] * 200))
    assert list(warnings.filters) == before


def test_planes_of_8_bits_are_read_and_planes_of_16_bits_refused(tmp_path: Path) -> None:
    from tifffile import imwrite

    for bits in (8, 16):
        levels = random_levels(5, 6, 3, bits=bits)
        path = tmp_path / f"planar{bits}.tif"
        imwrite(path, levels.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
        if bits == 8:
            np.testing.assert_array_equal(pixels(path), as_pixels(levels))
        else:
            assert "holds pixels of an unusual type (planes of more than 8 bits);" in refusal(path)


def test_pixels_of_32_bits_are_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "float.tif"
    Image.fromarray(np.zeros((4, 4), dtype=np.float32)).save(path)
    assert refusal(path) == (
        f"{path} holds pixels of an unusual type (F); save it as 8-bit or 16-bit RGB or gray first."
    )
