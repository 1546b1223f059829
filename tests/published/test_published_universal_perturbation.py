"""The published picture of a universal perturbation becomes what the attack reads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from robustiqa.attacks import create_attack
from robustiqa.core.errors import InputError
from robustiqa.core.image_files import write_png
from robustiqa.published.universal_perturbation import convert_published_uap
from tests.toys import ConvModel, toy_photos


def picture(low: int = 102, high: int = 153) -> Tensor:
    """Levels at both ends, as the published one is nearly everywhere."""
    signs = torch.randint(2, (3, 8, 8), generator=torch.Generator().manual_seed(0))
    return torch.where(signs == 1, high, low) / 255


def test_a_published_picture_adds_its_signs_at_the_amplitude_asked_for(tmp_path: Path) -> None:
    write_png(picture(), tmp_path / "uap.png")
    file = convert_published_uap(tmp_path / "uap.png", tmp_path / "uap.safetensors", source="paq2piq")
    attack = create_attack("uap", weights=file, eps=0.04, objective="raise")
    result = attack(ConvModel().eval(), toy_photos(2))
    expected = 0.04 * torch.where(picture() > 0.5, 1.0, -1.0).repeat(1, 3, 3)
    torch.testing.assert_close(result.images - result.clean_images, expected.expand(2, -1, -1, -1), rtol=0, atol=1e-6)
    assert attack.provenance["source"] == {"label": "paq2piq"}
    with pytest.raises(InputError, match="was fitted to raise scores only"):
        create_attack("uap", weights=file, objective="lower")(ConvModel().eval(), toy_photos(1))


def test_a_picture_of_something_else_is_refused(tmp_path: Path) -> None:
    write_png(picture(0, 255), tmp_path / "photo.png")
    with pytest.raises(InputError) as caught:
        convert_published_uap(tmp_path / "photo.png", tmp_path / "out.safetensors")
    assert str(caught.value) == f"{tmp_path / 'photo.png'} must hold changes of at most 0.1 around 0.5, got 0.5."
    assert not (tmp_path / "out.safetensors").exists()
