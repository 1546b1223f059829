from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.image_bytes import (
    GRAY,
    PALETTE,
    RGB,
    as_pixels,
    pixels,
    png,
    random_levels,
)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.bmp", {}),
        ("a.webp", {"lossless": True}),
        ("a.tif", {}),
        ("a.tiff", {"compression": "tiff_lzw"}),
        ("deflate.tif", {"compression": "tiff_adobe_deflate"}),
    ],
)
def test_lossless_formats_give_back_the_stored_levels(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    levels = random_levels(13, 17, 3)
    Image.fromarray(levels).save(tmp_path / name, **options)
    np.testing.assert_array_equal(pixels(tmp_path / name), as_pixels(levels))


def test_a_progressive_jpeg_reads_as_the_baseline_one(tmp_path: Path) -> None:
    smooth = Image.fromarray(random_levels(6, 8, 3)).resize((80, 60), Image.Resampling.BICUBIC)
    smooth.save(tmp_path / "baseline.jpg", quality=80)
    smooth.save(tmp_path / "progressive.jpg", quality=80, progressive=True)
    assert (tmp_path / "progressive.jpg").read_bytes() != (tmp_path / "baseline.jpg").read_bytes()
    read = pixels(tmp_path / "progressive.jpg")
    np.testing.assert_array_equal(read, pixels(tmp_path / "baseline.jpg"))
    assert np.abs(read - np.asarray(smooth) / 255).mean() < 0.03


def test_a_gray_jpeg_has_three_equal_channels(tmp_path: Path) -> None:
    gray = Image.fromarray(random_levels(6, 8)).resize((80, 60), Image.Resampling.BICUBIC)
    gray.save(tmp_path / "gray.jpg", quality=95)
    read = pixels(tmp_path / "gray.jpg")
    assert (read == read[:, :, :1]).all()
    assert np.abs(read[:, :, 0] - np.asarray(gray) / 255).mean() < 0.02


def test_a_cmyk_jpeg_is_mixed_as_ink_on_paper(tmp_path: Path) -> None:
    inks = np.zeros((64, 64, 4), dtype=np.uint8)
    inks[:32, :32], inks[:32, 32:], inks[32:, :32], inks[32:, 32:] = (
        (255, 0, 0, 0),
        (0, 0, 0, 255),
        (0, 128, 255, 64),
        0,
    )
    Image.fromarray(inks, mode="CMYK").save(tmp_path / "cmyk.jpg", quality=100)
    read = pixels(tmp_path / "cmyk.jpg")
    for row in (16, 48):
        for column in (16, 48):
            cyan, magenta, yellow, black = inks[row, column] / 255
            expected = [(1 - ink) * (1 - black) for ink in (cyan, magenta, yellow)]
            np.testing.assert_allclose(read[row, column], expected, atol=0.02)


def test_a_palette_is_looked_up_also_when_it_is_partly_transparent(tmp_path: Path) -> None:
    palette = bytes([10, 20, 30, 200, 100, 50, 0, 255, 0, 9, 9, 9])
    alpha = bytes([255, 128, 0])
    rows = [bytes([0b00_01_10_11]), bytes([0b11_10_01_00])]
    (tmp_path / "opaque.png").write_bytes(png(4, 2, 2, PALETTE, rows, (b"PLTE", palette)))
    (tmp_path / "alpha.png").write_bytes(png(4, 2, 2, PALETTE, rows, (b"PLTE", palette), (b"tRNS", alpha)))
    colors = np.frombuffer(palette, np.uint8).reshape(4, 3) / 255
    indices = np.array([[0, 1, 2, 3], [3, 2, 1, 0]])
    np.testing.assert_array_equal(pixels(tmp_path / "opaque.png"), colors.astype(np.float32)[indices])
    opacity = np.array([255, 128, 0, 255])[:, None] / 255
    expected = (opacity * colors + 1 - opacity)[indices]
    np.testing.assert_allclose(pixels(tmp_path / "alpha.png"), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["alpha.png", "alpha.webp", "alpha.tif"])
def test_whatever_is_transparent_lies_on_white(tmp_path: Path, name: str) -> None:
    options: dict[str, Any] = {"lossless": True, "exact": True} if name.endswith(".webp") else {}
    levels = random_levels(9, 7, 4)
    levels[0, 0], levels[0, 1] = (1, 2, 3, 0), (1, 2, 3, 255)
    Image.fromarray(levels).save(tmp_path / name, **options)
    alpha = levels[:, :, 3:] / 255
    read = pixels(tmp_path / name)
    np.testing.assert_allclose(read, alpha * levels[:, :, :3] / 255 + 1 - alpha, atol=1e-6)
    np.testing.assert_array_equal(read[0, 0], 1)
    np.testing.assert_array_equal(read[0, 1], as_pixels([1, 2, 3]))
    assert read.max() <= 1


def test_gray_with_alpha_lies_on_white_too(tmp_path: Path) -> None:
    levels = random_levels(9, 7, 2)
    Image.fromarray(levels, mode="LA").save(tmp_path / "la.png")
    gray, alpha = levels[:, :, :1] / 255, levels[:, :, 1:] / 255
    np.testing.assert_allclose(pixels(tmp_path / "la.png"), np.tile(alpha * gray + 1 - alpha, 3), atol=1e-6)


def test_a_transparent_color_key_is_white(tmp_path: Path) -> None:
    rgb = png(2, 1, 8, RGB, [bytes([1, 2, 3, 1, 2, 4])], (b"tRNS", struct.pack(">HHH", 1, 2, 3)))
    two_bit_gray = png(4, 1, 2, GRAY, [bytes([0b00_01_10_11])], (b"tRNS", struct.pack(">H", 1)))
    one_bit_gray = png(2, 1, 1, GRAY, [bytes([0b01_000000])], (b"tRNS", struct.pack(">H", 0)))
    for name, content in (("rgb", rgb), ("two", two_bit_gray), ("one", one_bit_gray)):
        (tmp_path / f"{name}.png").write_bytes(content)
    np.testing.assert_array_equal(pixels(tmp_path / "rgb.png")[0], as_pixels([[255] * 3, [1, 2, 4]]))
    np.testing.assert_array_equal(pixels(tmp_path / "two.png")[0, :, 0], as_pixels([0, 255, 170, 255]))
    np.testing.assert_array_equal(pixels(tmp_path / "one.png")[0, :, 0], [1, 1])


def test_the_first_page_of_a_tiff_and_the_first_frame_of_a_webp_count(tmp_path: Path) -> None:
    first, second = (Image.fromarray(random_levels(5, 6, 3, seed=seed)) for seed in (1, 2))
    first.save(tmp_path / "pages.tif", save_all=True, append_images=[second])
    first.save(tmp_path / "frames.webp", save_all=True, append_images=[second], lossless=True)
    for name in ("pages.tif", "frames.webp"):
        np.testing.assert_array_equal(pixels(tmp_path / name), as_pixels(first))
