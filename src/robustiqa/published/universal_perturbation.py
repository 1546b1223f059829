"""The universal perturbation that its authors publish, as a file that the attack `uap` reads.

Theirs is a picture of 256x256 pixels that holds `(perturbation + 0.5) * 255` in 8 bits, for PaQ-2-PiQ, with changes of
at most .1. It raises scores; the file is refused for lowering them.

    convert_published_uap("pretrained_uap_paq2piq.png", "uap-paq2piq.safetensors", source="paq2piq")

Source: Shumitskaya, Antsiferova and Vatolin 2022, published picture and demo.
Deviations: none. The attack rounds to 8 bits where their demo truncates.
"""

from __future__ import annotations

from pathlib import Path

from robustiqa.attacks.universal import PERTURBATION
from robustiqa.core.checks import parse_fraction
from robustiqa.core.errors import InputError
from robustiqa.core.image_files import read_image
from robustiqa.core.tensor_files import write_tensors

PUBLISHED_EPS = 0.1
MIDDLE = 0.5  # the pixel that stands for no change
HALF_A_LEVEL = 0.5 / 255


def convert_published_uap(
    picture: str | Path, out: str | Path, *, eps: float | str = PUBLISHED_EPS, source: str = ""
) -> Path:
    """Writes the perturbation of a picture as learned state.

    Args:
        picture: The published picture.
        out: The file to write; `.safetensors`.
        eps: The largest change that it holds, which the attack scales to its own eps.
        source: What to call the model it was made for.

    Returns:
        `out`.

    Raises:
        InputError: if the picture holds larger changes than `eps`.
        ImageFileError: if there is no such picture.
    """
    amplitude = parse_fraction(eps)
    found = read_image(picture) - MIDDLE  # (3, h, w)
    largest = found.abs().max().item()
    if not 0 < largest <= amplitude + HALF_A_LEVEL:
        raise InputError(f"{picture} must hold changes of at most {amplitude:g} around {MIDDLE}, got {largest:g}.")
    said = {"attack": "uap", "goals": ["raise"], "eps": amplitude, "fit": {"kind": "published"}}
    tensors = {f"raise.{PERTURBATION}": found.clamp(-amplitude, amplitude)}
    write_tensors(Path(out), tensors, {**said, "source": {"label": source}})
    return Path(out)
