from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from robustiqa.core.errors import ImageFileError, InputError
from robustiqa.core.image_files import MAX_PIXELS, FileSource, find_images, read_image, write_png
from tests.image_bytes import (
    RGB,
    as_pixels,
    pixels,
    png,
    random_levels,
    refusal,
)


def test_each_8_bit_level_becomes_the_float32_nearest_to_k_over_255(tmp_path: Path) -> None:
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(tmp_path / "levels.png")
    values = pixels(tmp_path / "levels.png")[:, :, 0].reshape(-1)
    for level, value in enumerate(values):
        exact = Fraction(level, 255)
        neighbors = [np.nextafter(value, np.float32(side)) for side in (-1, 2)]
        assert all(abs(Fraction(float(value)) - exact) < abs(Fraction(float(n)) - exact) for n in neighbors)


def test_the_first_bytes_decide_and_not_the_name(tmp_path: Path) -> None:
    levels = random_levels(5, 4, 3)
    Image.fromarray(levels).save(tmp_path / "really.png")
    (tmp_path / "really.png").rename(tmp_path / "named.jpg")
    np.testing.assert_array_equal(pixels(tmp_path / "named.jpg"), as_pixels(levels))


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
