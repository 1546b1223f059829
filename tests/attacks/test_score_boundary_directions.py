"""What the query attack tries first: the ablation of the companion paper."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from robustiqa.attacks import score_boundary
from robustiqa.attacks.score_boundary import ScoreBoundary
from robustiqa.core.errors import InputError
from tests.attacks.test_score_boundary import SMALL, Watching, smooth_slopes
from tests.toys import toy_photos


def test_noise_in_place_of_texture_keeps_to_the_mask_or_goes_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def left_half(images: Tensor) -> Tensor:
        mask = torch.zeros_like(images[:, :1], dtype=torch.bool)
        mask[..., :12] = True
        return mask

    monkeypatch.setattr(score_boundary, "noise_mask", left_half)
    photos = toy_photos(1)
    touched = {}
    for direction in ("sparse_noise", "gaussian_noise"):
        model = Watching(smooth_slopes()).eval()
        attack = ScoreBoundary(objective="raise", direction=direction, **{**SMALL, "query_budget": 5})
        attack(model, photos)
        moved = torch.stack([(image - photos[0]).abs().amax((0, 1)) for image in model.seen]).amax(0)  # (W,)
        touched[direction] = [bool(part.max() > 0) for part in (moved[:12], moved[12:])]
        assert f"direction={direction}" in attack.label
    assert touched == {"sparse_noise": [True, False], "gaussian_noise": [True, True]}
    assert "direction" not in ScoreBoundary().label
    with pytest.raises(InputError, match=r"^direction must be one of texture, .* got 'textures'; did you mean 'tex"):
        ScoreBoundary(direction="textures")
