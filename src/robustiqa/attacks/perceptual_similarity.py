"""How alike two photos look: SSIM, LPIPS and DISTS as similarities, 1 for equal photos, differentiable.

LPIPS and DISTS compare features of torchvision's VGG-16. Its weights are read from a file when a photo is first
compared, never fetched; what was learned on top of them ships inside torchmetrics.

Source: Wang et al. 2004 (SSIM); Zhang et al. 2018 (LPIPS, version 0.1, VGG-16); Ding et al. 2020 (DISTS); all three as
torchmetrics computes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from robustiqa.core import pixels
from robustiqa.core.errors import InputError, MissingExtraError, WeightsError
from robustiqa.core.registry import did_you_mean

Similarity = Callable[[Tensor, Tensor], Tensor]

SMALLEST_SIDE = {"ssim": 6, "lpips": 16, "dists": 1}  # SSIM reflects 5 pixels at the border; LPIPS halves four times
VGG16_FILE = "vgg16-397923af.pth"  # torchvision's name; behind the dash the beginning of the file's SHA-256
DISTS_STAGES = ((0, 4), (4, 9), (9, 16), (16, 23), (23, 30))  # VGG-16 up to relu1_2, 2_2, 3_3, 4_3 and 5_3
DISTS_WIDTHS = (3, 64, 128, 256, 512, 512)  # channels of the photo and of each stage


def check_similarity(name: str) -> None:
    """Checks the name of a similarity.

    Raises:
        InputError: if there is none of that name.
    """
    if name not in SMALLEST_SIDE:
        hint = did_you_mean(str(name), list(SMALLEST_SIDE))
        raise InputError(f"unknown similarity {name!r}{hint} Known: {', '.join(sorted(SMALLEST_SIDE))}.")


def create_similarity(name: str, weights: str | None = None) -> Similarity:
    """A function from images and clean images, both (N, 3, H, W) in [0, 1], to similarities (N,).

    Args:
        name: `ssim`; `lpips` or `dists`, which are 1 minus the distances of these names.
        weights: A file with torchvision's VGG-16, for the last two; None for the one in torchvision's cache.

    Raises:
        InputError: if there is no similarity of that name; later, if photos are too small for it.
        WeightsError: if there is no such file, or it holds no VGG-16.
    """
    check_similarity(name)
    measure = pixels.ssim if name == "ssim" else _of_features(name, vgg16_file(name, weights))

    def similarity(images: Tensor, clean: Tensor) -> Tensor:
        if min(images.shape[-2:]) < SMALLEST_SIDE[name]:
            height, width = images.shape[-2:]
            least = SMALLEST_SIDE[name]
            raise InputError(f"similarity {name!r} needs photos of at least {least}x{least}, got {height}x{width}.")
        return measure(images, clean)

    return similarity


def vgg16_file(name: str, weights: str | None) -> Path:
    """The file that `weights` names, or the one in torchvision's cache.

    Raises:
        WeightsError: if it is not there.
    """
    path = Path(torch.hub.get_dir(), "checkpoints", VGG16_FILE) if weights is None else Path(weights)
    if not path.is_file():
        raise WeightsError(
            f"similarity {name!r} needs torchvision's VGG-16, and there is no file {path}; "
            f"give the path of {VGG16_FILE} as perceptual_weights."
        )
    return path


def vgg16_hash(name: str, weights: str) -> str:
    """SHA-256 of a weights file, 16 hexadecimal digits.

    Raises:
        WeightsError: if it is not there.
    """
    path = vgg16_file(name, weights)
    return _hash(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _hash(path: Path, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _of_features(name: str, path: Path) -> Similarity:
    network = _network(name, path, path.stat().st_mtime_ns)

    def similarity(images: Tensor, clean: Tensor) -> Tensor:
        network.to(images)
        option = {"normalize": True} if name == "lpips" else {"require_grad": True}
        distance: Tensor = network(images, clean, **option)  # (N, 1, 1, 1), or (N,) and a number for N = 1
        return 1 - distance.reshape(-1)

    return similarity


@lru_cache(maxsize=2)
def _network(name: str, path: Path, changed: int) -> nn.Module:
    """The measure on the VGG-16 of a file, which is read once a run, and again when it has changed."""
    vgg16 = _read_features(path)
    network = _lpips(vgg16, path) if name == "lpips" else _dists(vgg16, path)
    return network.requires_grad_(False).eval()


def _read_features(path: Path) -> dict[str, Tensor]:
    """Convolutions of a VGG-16 by their place: `0.weight`, `0.bias`, `2.weight`, ..."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # bytes that are no weights file fail in any way at all
        raise WeightsError(
            f"{path} is not a weights file, or is cut short; safetensors and torch.save are read."
        ) from None
    named = state if isinstance(state, Mapping) else {}
    return {str(name).removeprefix("features."): named[name] for name in named if str(name).startswith("features.")}


def _fill(layers: nn.Module, vgg16: Mapping[str, Tensor], path: Path) -> None:
    """Gives the convolutions of `layers`, which have no memory yet, their weights; the last part of a name is a place.

    Raises:
        WeightsError: naming the first entry that is missing or of another shape.
    """
    for name, layer in layers.named_modules():
        if not isinstance(layer, nn.Conv2d):
            continue
        place = name.rpartition(".")[2]
        for kind in ("weight", "bias"):
            wanted, found = tuple(getattr(layer, kind).shape), vgg16.get(f"{place}.{kind}")
            if not isinstance(found, Tensor) or tuple(found.shape) != wanted:
                raise WeightsError(
                    f"{path} lacks 'features.{place}.{kind}' of shape {wanted}; "
                    f"perceptual_weights takes torchvision's VGG-16, {VGG16_FILE}."
                )
            setattr(layer, kind, nn.Parameter(found.float(), requires_grad=False))


def _lpips(vgg16: Mapping[str, Tensor], path: Path) -> nn.Module:
    from torchmetrics.functional.image import lpips  # heavy import

    with torch.device("meta"):  # no memory, no random draws: every weight comes from a file
        network = lpips._LPIPS(pretrained=False, net="vgg", pnet_rand=True)
    network.scaling_layer = lpips.ScalingLayer()
    _fill(network.net, vgg16, path)
    heads = _shipped(Path(lpips.__file__).parent / "lpips_models" / "vgg.pth")
    for place, head in enumerate(network.lins):
        head.model[-1].weight = nn.Parameter(heads[f"lin{place}.model.1.weight"])
    return network


def _dists(vgg16: Mapping[str, Tensor], path: Path) -> nn.Module:
    try:
        from torchmetrics.functional.image import dists  # heavy import
    except ImportError:
        raise MissingExtraError("similarity 'dists' needs torchmetrics 1.7 or later.") from None
    import torchvision

    with torch.device("meta"):
        layers = torchvision.models.vgg16(weights=None).features
    _fill(layers, vgg16, path)
    network = dists.DISTSNetwork.__new__(dists.DISTSNetwork)  # its __init__ fetches a VGG-16 whatever it is told
    nn.Module.__init__(network)
    for number, (first, last) in enumerate(DISTS_STAGES):
        pooling = [dists.L2pooling(channels=DISTS_WIDTHS[number])] if number else []
        setattr(network, f"stage{number + 1}", nn.Sequential(*pooling, *layers[first + len(pooling) : last]))
    network.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, -1, 1, 1))
    network.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, -1, 1, 1))
    network.chns = list(DISTS_WIDTHS)
    weights = _shipped(Path(dists.__file__).parent / "dists_models" / "weights.pt")
    network.alpha, network.beta = nn.Parameter(weights["alpha"]), nn.Parameter(weights["beta"])
    return network


def _shipped(path: Path) -> dict[str, Tensor]:
    """What torchmetrics ships of a measure."""
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return {name: value.detach() for name, value in state.items()}
