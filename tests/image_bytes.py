"""Image files written by hand or with Pillow, and what `read_image` makes of them, for tests of the readers."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from robustiqa.core.errors import ImageFileError
from robustiqa.core.image_files import read_image

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


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(ImageFileError) as caught:
        read_image(path, **options)
    return str(caught.value)
