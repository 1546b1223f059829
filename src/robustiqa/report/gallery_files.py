"""Items of a gallery as files, so that a page can be made again without attacking again."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from robustiqa.core.run_folder import write_atomically
from robustiqa.report.gallery import GalleryItem, GalleryScore

ITEM_FILE = "item.json"  # written last: where it is, the pictures are
PICTURES = ("clean", "adversarial", "difference")


def write_item(item: GalleryItem, folder: Path) -> None:
    """Writes the pictures as PNG, and beside them what is said of them."""
    said = asdict(item)
    for name in PICTURES:
        write_atomically(folder / f"{name}.png", said.pop(name))
    write_atomically(folder / ITEM_FILE, json.dumps(said, indent=1) + "\n")


def read_item(folder: Path) -> GalleryItem:
    """The item that `write_item` wrote."""
    said = json.loads((folder / ITEM_FILE).read_text(encoding="utf-8"))
    said["scores"] = tuple(GalleryScore(**score) for score in said["scores"])
    return GalleryItem(**said | {name: (folder / f"{name}.png").read_bytes() for name in PICTURES})
