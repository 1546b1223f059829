"""LPIPS and DISTS on a VGG-16 of random weights, against their formulas; no trained weights are needed."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torchmetrics
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from robustiqa.attacks import perceptual_similarity
from robustiqa.attacks.perceptual import Perceptual
from robustiqa.attacks.perceptual_similarity import VGG16_FILE, create_similarity
from robustiqa.core.errors import InputError, WeightsError
from tests.toys import ConvModel, LinearModel, toy_photos

Array = npt.NDArray[np.float64]
State = dict[str, Tensor]
VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512)  # widths; 0 for pooling
SHIPPED = Path(torchmetrics.__file__).parent / "functional" / "image"


@cache
def random_vgg16() -> State:
    """Weights that keep the size of features, under torchvision's names."""
    draw = torch.Generator().manual_seed(0)
    state, place, width = {"classifier.6.bias": torch.zeros(1000)}, 0, 3
    for wider in VGG16:
        if wider:
            spread = (2 / (9 * width)) ** 0.5
            state[f"features.{place}.weight"] = spread * torch.randn(wider, width, 3, 3, generator=draw)
            state[f"features.{place}.bias"] = 0.1 * torch.randn(wider, generator=draw)
            width = wider
        place += 2 if wider else 1
    return state


@pytest.fixture(scope="module")
def vgg16_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "vgg16.pth"
    torch.save(random_vgg16(), path)
    return path


def features(normalized: Tensor, state: State, *, l2: bool) -> list[Array]:
    """ReLU outputs before each pooling and at the end, (N, C, h, w)."""
    found, place, x = [], 0, normalized
    hanning = torch.tensor([1.0, 2.0, 1.0])
    for width in VGG16:
        if width:
            x = F.conv2d(x, state[f"features.{place}.weight"], state[f"features.{place}.bias"], padding=1).relu()
        else:
            found.append(x.double().numpy())
            kernel = (torch.outer(hanning, hanning) / 16).expand(x.shape[1], 1, 3, 3)
            smooth = F.conv2d(x**2, kernel, stride=2, padding=1, groups=x.shape[1])
            x = (smooth + 1e-12).sqrt() if l2 else F.max_pool2d(x, 2)
        place += 2 if width else 1
    return [*found, x.double().numpy()]


def lpips_formula(images: Tensor, clean: Tensor, state: State) -> Array:
    """Zhang et al. 2018, equation 1: weighted squared distances of features of length one a pixel."""
    heads = torch.load(SHIPPED / "lpips_models" / "vgg.pth", map_location="cpu", weights_only=True)
    shift = torch.tensor([-0.030, -0.088, -0.188])[:, None, None]
    spread = torch.tensor([0.458, 0.448, 0.450])[:, None, None]
    ours, theirs = (features((2 * x - 1 - shift) / spread, state, l2=False) for x in (images, clean))
    distance = np.zeros(len(images))
    for layer, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        weights = heads[f"lin{layer}.model.1.weight"].double().numpy()[0]  # (C, 1, 1)
        a, b = (x / np.sqrt((x**2).sum(1, keepdims=True) + 1e-8) for x in (a, b))
        distance += (weights * (a - b) ** 2).sum(1).mean((1, 2))
    return distance


def dists_formula(images: Tensor, clean: Tensor, state: State) -> Array:
    """Ding et al. 2020, equations 5 to 7: texture and structure similarity of feature maps, the photo among them."""
    weights = torch.load(SHIPPED / "dists_models" / "weights.pt", map_location="cpu", weights_only=True)
    alpha, beta = (weights[name].detach().double().numpy().ravel() for name in ("alpha", "beta"))
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    spread = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    ours, theirs = ([x.double().numpy(), *features((x - mean) / spread, state, l2=True)] for x in (images, clean))
    distance = np.ones(len(images))
    for photo in range(len(images)):
        channel = 0
        for a, b in zip(ours, theirs, strict=True):
            for x, y in zip(a[photo], b[photo], strict=True):
                texture = (2 * x.mean() * y.mean() + 1e-6) / (x.mean() ** 2 + y.mean() ** 2 + 1e-6)
                covariance = (x * y).mean() - x.mean() * y.mean()
                structure = (2 * covariance + 1e-6) / (x.var() + y.var() + 1e-6)
                distance[photo] -= (alpha[channel] * texture + beta[channel] * structure) / (alpha.sum() + beta.sum())
                channel += 1
        assert channel == len(alpha) == 1475
    return distance


FORMULAS = {"lpips": lpips_formula, "dists": dists_formula}
every_network = pytest.mark.parametrize("name", FORMULAS)


def pair() -> tuple[Tensor, Tensor]:
    clean = toy_photos(2, 16)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(9))
    return (clean + 0.1 * noise).clamp(0, 1), clean


@every_network
def test_a_similarity_is_one_minus_the_distance_of_the_formula(name: str, vgg16_file: Path) -> None:
    images, clean = pair()
    similarity = create_similarity(name, str(vgg16_file))
    expected = FORMULAS[name](images, clean, random_vgg16())
    assert expected.min() > 1e-3
    np.testing.assert_allclose(1 - similarity(images, clean).numpy(), expected, rtol=1e-3)
    torch.testing.assert_close(similarity(clean, clean), torch.ones(2), rtol=0, atol=1e-5)
    alone = torch.cat([similarity(images[i : i + 1], clean[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(similarity(images, clean), alone)


@every_network
def test_the_gradient_of_a_similarity_agrees_with_finite_differences(name: str, vgg16_file: Path) -> None:
    images, clean = (x.double() for x in pair())
    similarity = create_similarity(name, str(vgg16_file))
    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(similarity(leaf, clean).sum(), leaf)
    h, direction = 1e-7, gradient.sign()  # ReLU and maxima have kinks: a short step
    difference = (similarity(images + h * direction, clean) - similarity(images - h * direction, clean)) / (2 * h)
    torch.testing.assert_close((gradient * direction).sum((1, 2, 3)), difference, rtol=1e-2, atol=0)


@every_network
def test_the_attack_climbs_a_similarity_of_features(name: str, vgg16_file: Path) -> None:
    model, photos = LinearModel(torch.zeros(3, 16, 16)).eval(), toy_photos(1, 16)
    similarity = create_similarity(name, str(vgg16_file))
    start = Perceptual(weight=0, steps=1, objective="raise")(model, photos).images
    attack = Perceptual(
        weight=1, steps=3, step_size=3e-4, objective="raise", similarity=name, perceptual_weights=str(vgg16_file)
    )
    assert similarity(attack(model, photos).images, photos) > similarity(start, photos)


def test_the_network_is_built_once_a_run_and_draws_nothing(vgg16_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, reads = perceptual_similarity._read_features, []

    def counted(path: Path) -> State:
        reads.append(path)
        return read(path)

    monkeypatch.setattr(perceptual_similarity, "_read_features", counted)
    perceptual_similarity._network.cache_clear()
    state = torch.get_rng_state()
    attack = Perceptual(steps=1, similarity="lpips", perceptual_weights=str(vgg16_file))
    assert reads == []  # a constructor loads nothing
    for seed in range(2):
        attack(ConvModel().eval(), toy_photos(1, 16, seed))
    assert reads == [vgg16_file]
    create_similarity("dists", str(vgg16_file))
    assert len(reads) == 2
    assert torch.equal(torch.get_rng_state(), state)


def test_torchvisions_cache_is_used_where_no_file_is_named(
    vgg16_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    cached = tmp_path / "checkpoints" / VGG16_FILE
    with pytest.raises(WeightsError) as caught:
        Perceptual(similarity="dists", steps=1)(ConvModel().eval(), toy_photos(1, 16))
    assert str(caught.value) == (
        f"similarity 'dists' needs torchvision's VGG-16, and there is no file {cached}; "
        "give the path of vgg16-397923af.pth as perceptual_weights."
    )
    cached.parent.mkdir()
    cached.symlink_to(vgg16_file)
    images, clean = pair()
    expected = create_similarity("lpips", str(vgg16_file))(images, clean)
    assert torch.equal(create_similarity("lpips")(images, clean), expected)


def test_safetensors_with_the_features_alone_will_do(vgg16_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "vgg16.safetensors"
    save_file({name: value for name, value in random_vgg16().items() if name.startswith("features.")}, path)
    images, clean = pair()
    found = create_similarity("lpips", str(path))(images, clean)
    assert torch.equal(found, create_similarity("lpips", str(vgg16_file))(images, clean))


def test_a_file_that_holds_no_vgg16_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"photographs")
    with pytest.raises(WeightsError) as caught:
        create_similarity("lpips", str(path))
    assert str(caught.value) == f"{path} is not a weights file, or is cut short; safetensors and torch.save are read."
    for state in ({"head.weight": torch.zeros(1)}, {"features.0.weight": torch.zeros(64, 1, 3, 3)}):
        torch.save(state, path)
        for name in FORMULAS:
            perceptual_similarity._network.cache_clear()
            with pytest.raises(WeightsError) as caught:
                create_similarity(name, str(path))
            assert str(caught.value) == (
                f"{path} lacks 'features.0.weight' of shape (64, 3, 3, 3); "
                "perceptual_weights takes torchvision's VGG-16, vgg16-397923af.pth."
            )


def test_photos_that_are_too_small_are_refused(vgg16_file: Path) -> None:
    for name, least in (("ssim", 6), ("lpips", 16)):
        similarity = create_similarity(name, str(vgg16_file))
        assert similarity(toy_photos(1, least), toy_photos(1, least)).item() == pytest.approx(1, abs=1e-5)
        small = toy_photos(1, least - 1)
        with pytest.raises(InputError) as caught:
            similarity(small, small)
        assert str(caught.value) == (
            f"similarity {name!r} needs photos of at least {least}x{least}, got {least - 1}x{least - 1}."
        )


def test_a_label_names_a_weights_file_by_its_hash(tmp_path: Path) -> None:
    labels = set()
    for folder, text in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        path = tmp_path / folder / "vgg16.pth"
        path.parent.mkdir()
        path.write_bytes(text)
        labels.add(Perceptual(similarity="lpips", perceptual_weights=str(path)).label)
    assert len(labels) == 2
    assert not any(str(tmp_path) in label for label in labels)
    assert any(label.endswith("perceptual_weights=7692c3ad3540bb80)") for label in labels)  # SHA-256 of "one"
