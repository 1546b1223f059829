"""From the paths people give to photographs in batches; what can't be used becomes a problem with its sentence."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from robustiqa.core.errors import ImageFileError, InputError

if TYPE_CHECKING:
    from concurrent.futures import Future

    import torch
    from torch import Tensor

    from robustiqa.core.dataset import Dataset, ImageSource
    from robustiqa.core.model import QualityModel


@dataclass(frozen=True)
class Problem:
    """An input that could not be used, and the sentence that says why."""

    path: str
    sentence: str


@dataclass
class Inputs:
    """The photographs a request names.

    Attributes:
        paths: Files, each once, in the order given.
        problems: What could not be used so far; `batches` adds to it.
        smallest: Height and width that a photograph needs; 1 for any.
        max_side: Longest side that photographs are shrunk to; None leaves them as they are.
    """

    paths: list[Path]
    problems: list[Problem] = field(default_factory=list)
    smallest: int = 1
    max_side: int | None = None

    def batches(self, batch_size: int, workers: int) -> Iterator[tuple[list[Path], Tensor]]:
        """Consecutive photographs of one size, at most `batch_size`: their paths, and images (N, 3, H, W).

        Args:
            batch_size: Photographs at a time.
            workers: Threads that decode ahead.
        """
        import torch

        paths: list[Path] = []
        images: list[Tensor] = []
        for path, image in self._read(workers):
            if images and (len(images) == batch_size or image.shape != images[0].shape):
                yield paths, torch.stack(images)
                paths, images = [], []
            paths.append(path)
            images.append(image)
        if images:
            yield paths, torch.stack(images)

    @property
    def sources(self) -> Sequence[ImageSource]:
        """Where the pixels come from, shrunk if they are to be."""
        from robustiqa.core.image_files import FileSource
        from robustiqa.datasets.max_side import Shrunk

        files = [FileSource(path) for path in self.paths]
        return files if self.max_side is None else [Shrunk(file, self.max_side) for file in files]

    def _read(self, workers: int) -> Iterator[tuple[Path, Tensor]]:
        with ReadAhead(self.sources, workers) as ahead:
            for place, path in enumerate(self.paths):
                try:
                    image = ahead.read(place)
                except ImageFileError as error:
                    self.problems.append(Problem(str(path), str(error)))
                    continue
                height, width = image.shape[-2:]
                if min(height, width) >= self.smallest:
                    yield path, image
                    continue
                sentence = (
                    f"{path} is {width}x{height} pixels, smaller than the {self.smallest}x{self.smallest} crop "
                    "that the model takes; pass --small pad to extend it by reflection."
                )
                self.problems.append(Problem(str(path), sentence))

    def refuse_if_none(self, usable: int) -> None:
        """Ends the request if not one input was usable.

        Raises:
            InputError: with the first problem's sentence.
        """
        if usable or not self.problems:
            return
        first = self.problems[0].sentence
        count = len(self.problems)
        raise InputError(first if count == 1 else f"none of the {count} inputs can be used; the first: {first}")


def find_inputs(paths: Sequence[Path], recursive: bool) -> Inputs:
    """The image files that paths stand for, a folder for the images in it; each file once."""
    from robustiqa.core.image_files import find_images

    inputs = Inputs([])
    seen: set[Path] = set()
    for path in paths:
        try:
            found = find_images(path, recursive)
        except ImageFileError as error:
            inputs.problems.append(Problem(str(path), str(error)))
            continue
        inputs.paths += [file for file in found if file.resolve() not in seen]
        seen |= {file.resolve() for file in found}
    return inputs


class ReadAhead:
    """Decodes photographs in threads, as many ahead of the one asked for as there are threads.

    Args:
        sources: The photographs, in the order they are going to be asked for.
        workers: Threads; 0 reads each when it is asked for.
    """

    def __init__(self, sources: Sequence[ImageSource], workers: int) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._sources = sources
        self._workers = workers
        self._pool = ThreadPoolExecutor(workers) if workers else None
        self._pending: dict[int, Future[Tensor]] = {}

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def read(self, place: int) -> Tensor:
        """The photograph at `place`, (3, H, W); raises what reading it raises."""
        if self._pool is None:
            return self._sources[place].read()
        for ahead in range(place, min(place + self._workers + 1, len(self._sources))):
            if ahead not in self._pending:
                self._pending[ahead] = self._pool.submit(self._sources[ahead].read)
        return self._pending.pop(place).result()


@dataclass(frozen=True)
class _Place:
    """One photograph of those that are read ahead."""

    ahead: ReadAhead
    place: int

    def read(self) -> Tensor:
        return self.ahead.read(self.place)


@contextmanager
def reading_ahead(dataset: Dataset, workers: int, mine: Container[str] | None = None) -> Iterator[Dataset]:
    """The same dataset, its photographs decoded in threads ahead of whoever reads them in order.

    Args:
        dataset: Anything.
        workers: Threads; 0 leaves the dataset as it is.
        mine: Keys of the photographs that are going to be read; all if None.
    """
    read = [photo for photo in dataset if mine is None or photo.key in mine]
    with ReadAhead([photo.source for photo in read], workers) as ahead:
        sources = {photo.key: _Place(ahead, place) for place, photo in enumerate(read)}
        photos = tuple(replace(photo, source=sources.get(photo.key, photo.source)) for photo in dataset)
        yield replace(dataset, photos=photos)


def whole_photo(model: QualityModel, small: str, crops: int | None = None, seed: int = 0) -> QualityModel:
    """The model as it scores photographs of any size: batch norms folded, the mean over crops where it has a crop size.

    Args:
        model: In eval mode; it is not changed.
        small: `refuse` or `pad`.
        crops: Random crops; None for the covering grid.
        seed: Of the random crops.
    """
    from robustiqa.models.crop_average import CropAverage
    from robustiqa.models.folding import folded

    model = folded(model)
    if model.crop_size is None:
        return model
    device = model.input_mean.device
    return CropAverage(model, crops=crops, seed=seed, small=small).to(device).eval()


def photos_at_once(
    asked: int | None, models: Mapping[str, QualityModel], sources: Iterable[ImageSource], device: torch.device
) -> int:
    """What `--batch-size` stands for; what it leaves to chance is taken apart by `Fitting` where it does not fit.

    Args:
        asked: None for `auto`.
        models: By label, as they score whole photographs.
        sources: All photographs.
        device: Where to compute.

    Raises:
        InputError: if a batch that was asked for, or one photograph, would not fit into memory.
    """
    from robustiqa.evaluation.fitting import default_batch_size, refuse_too_many

    refuse_too_many(models, asked or 1, _sizes(sources), device)
    return asked or default_batch_size(device)


def _sizes(sources: Iterable[ImageSource]) -> Iterator[tuple[int, int]]:
    """Heights and widths of the photographs in files, of which no pixel is read; made ones are small."""
    from robustiqa.core.image_files import FileSource, image_size
    from robustiqa.datasets.max_side import Shrunk, shrunk_size

    for source in sources:
        file = source.source if isinstance(source, Shrunk) else source
        size = image_size(file.path) if isinstance(file, FileSource) else None
        if size is not None:
            yield shrunk_size(*size, source.max_side) if isinstance(source, Shrunk) else size


def smallest_side(models: Sequence[QualityModel], small: str) -> int:
    """The side that photographs need for all models; 1 where small ones are padded."""
    return 1 if small == "pad" else max([model.crop_size or 1 for model in models], default=1)
