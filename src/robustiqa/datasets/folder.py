"""Photographs without scores: any folder, for comparisons of before and after."""

from __future__ import annotations

from pathlib import Path

from robustiqa.core.dataset import Dataset, Photo
from robustiqa.core.image_files import FileSource, find_images


def load_folder(root: str | Path, recursive: bool = False) -> Dataset:
    """Lists the photographs of a folder, or a single one.

    Args:
        root: A folder, or an image file.
        recursive: Whether to look below the folder, too.

    Returns:
        Photographs without MOS, by their path within the folder; no parts.

    Raises:
        ImageFileError: if there is nothing at the path, or no image in the folder.
    """
    root = Path(root)
    folder = root if root.is_dir() else root.parent
    named = {path.relative_to(folder).as_posix(): path for path in find_images(root, recursive)}
    photos = tuple(Photo(key, FileSource(path)) for key, path in sorted(named.items()))
    return Dataset(root.resolve().name, photos, root=root)
