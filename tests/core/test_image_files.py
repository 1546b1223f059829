from __future__ import annotations

import io
import pickle
import struct
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from robustiqa.core.errors import ImageFileError, InputError
from robustiqa.core.image_files import MAX_PIXELS, FileSource, find_images, read_image, write_png

Levels = npt.NDArray[np.integer[Any]]
GRAY, RGB, PALETTE, GRAY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6  # PNG color types


def random_levels(*shape: int, bits: int = 8, seed: int = 0) -> Levels:
    kind = np.uint8 if bits == 8 else np.uint16
    return np.random.default_rng(seed).integers(0, 2**bits, shape).astype(kind)


def pixels(path: Path) -> npt.NDArray[np.float32]:
    """What `read_image` says, as (H, W, 3)."""
    image = read_image(path)
    assert image.dtype == torch.float32
    assert image.is_contiguous()
    return image.permute(1, 2, 0).numpy()


def as_pixels(levels: Any) -> npt.NDArray[np.float32]:
    return (np.asarray(levels) / 255).astype(np.float32)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int, color: int, rows: list[bytes], *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG written by hand from the specification, for the kinds that Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [(b"IHDR", header), *extra, (b"IDAT", body), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, content) for kind, content in chunks)


def sixteen_bit_png(levels: Levels, color: int, *extra: tuple[bytes, bytes]) -> bytes:
    rows = [row.astype(">u2").tobytes() for row in levels]
    return png(levels.shape[1], levels.shape[0], 16, color, rows, *extra)


def test_each_8_bit_level_becomes_the_float32_nearest_to_k_over_255(tmp_path: Path) -> None:
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(tmp_path / "levels.png")
    values = pixels(tmp_path / "levels.png")[:, :, 0].reshape(-1)
    for level, value in enumerate(values):
        exact = Fraction(level, 255)
        neighbors = [np.nextafter(value, np.float32(side)) for side in (-1, 2)]
        assert all(abs(Fraction(float(value)) - exact) < abs(Fraction(float(n)) - exact) for n in neighbors)


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


def test_the_first_bytes_decide_and_not_the_name(tmp_path: Path) -> None:
    levels = random_levels(5, 4, 3)
    Image.fromarray(levels).save(tmp_path / "really.png")
    (tmp_path / "really.png").rename(tmp_path / "named.jpg")
    np.testing.assert_array_equal(pixels(tmp_path / "named.jpg"), as_pixels(levels))


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


def test_the_first_page_of_a_tiff_and_the_first_frame_of_a_webp_count(tmp_path: Path) -> None:
    first, second = (Image.fromarray(random_levels(5, 6, 3, seed=seed)) for seed in (1, 2))
    first.save(tmp_path / "pages.tif", save_all=True, append_images=[second])
    first.save(tmp_path / "frames.webp", save_all=True, append_images=[second], lossless=True)
    for name in ("pages.tif", "frames.webp"):
        np.testing.assert_array_equal(pixels(tmp_path / name), as_pixels(first))


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(ImageFileError) as caught:
        read_image(path, **options)
    return str(caught.value)


def test_a_missing_file_a_folder_and_an_empty_file_are_refused_in_a_sentence(tmp_path: Path) -> None:
    missing, folder, empty = tmp_path / "no.png", tmp_path / "dir.png", tmp_path / "empty.png"
    folder.mkdir()
    empty.touch()
    assert refusal(missing) == f"expected an image file at {missing}, found nothing; check the path."
    assert refusal(folder) == f"expected an image file, got the folder {folder}; pass a file."
    assert refusal(empty) == f"{empty} is an empty file; get an intact copy."


def test_text_renamed_to_png_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "notes.png"
    path.write_text("not a picture")
    assert refusal(path) == (
        f"{path} is not a JPEG, PNG, BMP, WebP or TIFF file, whatever its name; convert or remove it."
    )


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "tif"])
def test_a_file_cut_in_half_is_refused_in_a_sentence(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(random_levels(64, 64, 3)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    message = refusal(path)
    assert message.startswith(str(path))
    assert message.endswith(("get an intact copy.", "convert or remove it."))
    if suffix == "jpg":
        assert message.startswith(f"{path} is damaged or cut short (image file is truncated (")


@pytest.mark.parametrize("side", [11_600, 12_000, 14_000, 65_000])
def test_a_decompression_bomb_is_refused_before_anything_is_decoded(tmp_path: Path, side: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(side, side, 8, RGB, []))
    limit_before = Image.MAX_IMAGE_PIXELS
    message = refusal(path)
    assert message.startswith(f"{path} ")
    assert message.endswith(f"the {MAX_PIXELS} that are read; shrink it first.")
    assert limit_before == Image.MAX_IMAGE_PIXELS


def test_the_limit_of_pixels_is_an_argument(tmp_path: Path) -> None:
    path = tmp_path / "small.png"
    Image.fromarray(random_levels(10, 20, 3)).save(path)
    assert read_image(path, max_pixels=200).shape == (3, 10, 20)
    expected = f"{path} is 20 x 10 pixels, more than the 199 that are read; shrink it first."
    assert refusal(path, max_pixels=199) == expected


def test_pixels_of_32_bits_are_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "float.tif"
    Image.fromarray(np.zeros((4, 4), dtype=np.float32)).save(path)
    assert refusal(path) == (
        f"{path} holds pixels of an unusual type (F); save it as 8-bit or 16-bit RGB or gray first."
    )


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


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "tif"])
def test_whatever_the_damage_a_file_is_read_or_refused_by_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"damaged.{suffix}"
    file = io.BytesIO()
    tag = Image.Exif()
    tag[0x0112] = 6
    intact = Image.fromarray(random_levels(12, 12, 3)).resize((24, 24))
    intact.save(
        file, format={"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix), **({} if suffix == "bmp" else {"exif": tag})
    )
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(80):
        content = bytearray(file.getvalue())
        for place in rng.integers(0, min(len(content), 300), 3):
            content[place] = rng.integers(256)
        path.write_bytes(content)
        try:
            image = read_image(path, max_pixels=1_000_000)
        except ImageFileError as error:
            refused += 1
            assert str(path) in str(error)
            assert str(error).count("\n") == 0
        else:
            assert image.shape[0] == 3
            assert 0 <= image.min() <= image.max() <= 1
    assert refused > 10


def test_a_written_png_gives_back_8_bit_pixels_exactly(tmp_path: Path) -> None:
    image = torch.randint(256, (3, 9, 14)).float() / 255
    write_png(image, tmp_path / "new folder" / "a.png")
    assert torch.equal(read_image(tmp_path / "new folder" / "a.png"), image)


def test_write_png_rounds_to_the_nearest_level(tmp_path: Path) -> None:
    image = torch.rand(3, 20, 20)
    write_png(image, tmp_path / "a.png")
    stored = np.asarray(Image.open(tmp_path / "a.png"), dtype=np.float64).transpose(2, 0, 1)
    assert (np.abs(stored - image.double().numpy() * 255) <= 0.5 + 1e-5).all()


def test_write_png_replaces_a_file_whole_or_leaves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    write_png(torch.zeros(3, 4, 4), path)

    def fail_half_way(self: Image.Image, place: Path, **_: Any) -> None:
        Path(place).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail_half_way)
    with pytest.raises(OSError, match="disk full"):
        write_png(torch.ones(3, 4, 4), path)
    assert read_image(path).max() == 0
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("image", "name", "message"),
    [
        (torch.zeros(3, 4, 4), "a.jpg", "write_png writes PNG files, got the name 'a.jpg'; end it in .png."),
        (torch.zeros(1, 3, 4, 4), "a.png", "an image must have shape (3, H, W), got (1, 3, 4, 4)."),
        (
            torch.full((3, 4, 4), 255.0),
            "a.png",
            "images must lie in [0, 1], got [255.00, 255.00]; they look like 8-bit values: divide by 255.",
        ),
    ],
)
def test_write_png_refuses_what_is_no_image(tmp_path: Path, image: torch.Tensor, name: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        write_png(image, tmp_path / name)
    assert str(caught.value) == message
    assert list(tmp_path.iterdir()) == []


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_a_folder_means_the_images_in_it_sorted(tmp_path: Path) -> None:
    fill(tmp_path, "b.PNG", "a.jpeg", "c.webp", "notes.txt", "._a.jpg", "below/d.tif", ".hidden/e.png")
    (tmp_path / "folder.png").mkdir()
    assert find_images(tmp_path) == [tmp_path / "a.jpeg", tmp_path / "b.PNG", tmp_path / "c.webp"]
    deeper = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path, recursive=True)]
    assert deeper == ["a.jpeg", "b.PNG", "below/d.tif", "c.webp"]


def test_a_file_means_itself_whatever_its_name(tmp_path: Path) -> None:
    fill(tmp_path, "photo.data")
    assert find_images(tmp_path / "photo.data") == [tmp_path / "photo.data"]


def test_a_folder_without_images_and_a_missing_path_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, "below/d.tif")
    (tmp_path / "bare").mkdir()
    expectations: list[tuple[Path, Callable[[Path], str]]] = [
        (
            tmp_path,
            lambda p: f"expected images in the folder {p}, found none; there are some below it: pass --recursive.",
        ),
        (
            tmp_path / "bare",
            lambda p: (
                f"expected images in the folder {p}, found none; "
                "looked for .bmp, .jfif, .jpeg, .jpg, .png, .tif, .tiff, .webp."
            ),
        ),
        (
            tmp_path / "missing",
            lambda p: f"expected an image file or a folder at {p}, found nothing; check the path.",
        ),
    ]
    for path, sentence in expectations:
        with pytest.raises(ImageFileError) as caught:
            find_images(path)
        assert str(caught.value) == sentence(path)


def test_a_file_source_reads_its_file_also_after_pickling(tmp_path: Path) -> None:
    image = torch.randint(256, (3, 4, 5)).float() / 255
    write_png(image, tmp_path / "a.png")
    source = pickle.loads(pickle.dumps(FileSource(tmp_path / "a.png")))
    assert torch.equal(source.read(), image)
