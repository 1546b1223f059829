"""A photograph of 12 megapixels is scored and attacked in a process of its own, which then says what that took.

    python -m tests.large_photo MODEL BACKBONE CROPS

prints a JSON line: peak resident set in GiB after the imports and after each piece of work. CROPS is how many random
crops are averaged: memory depends on those that are taken at a time, time on all. Needs `/proc`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.child import peak_gib, said_by_child


def measured_attack(model: str, backbone: str, crops: int) -> dict[str, float]:
    """Runs the work in a child; the parent's own memory does not count."""
    return said_by_child("tests.large_photo", model, backbone, crops)


def _attack(name: str, backbone: str, crops: int) -> dict[str, Any]:
    import torch

    from robustiqa.attacks.gradient import IFGSM
    from robustiqa.core import pixels
    from robustiqa.core.attack import clean_pass
    from robustiqa.models import create_model
    from robustiqa.models.crop_average import CropAverage

    torch.set_num_threads(1)
    model = CropAverage(create_model(name, backbone=backbone), crops=crops).eval()
    image = pixels.quantize(torch.rand(1, 3, 3000, 4000))
    peaks = {"imports": peak_gib()}
    model.score(image)
    peaks["score"] = peak_gib()
    clean = clean_pass(model, image)
    peaks["clean pass"] = peak_gib()
    result = IFGSM(steps=2)(model, image, clean=clean)
    peaks["attack"] = peak_gib()
    pixels.ssim(result.images_8bit, result.clean_images)
    peaks["similarity"] = peak_gib()
    return peaks


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_attack(sys.argv[1], sys.argv[2], int(sys.argv[3]))) + "\n")
