"""Quality models by name, and weights that go with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from robustiqa.core.errors import InputError
from robustiqa.core.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

    from robustiqa.core.model import QualityModel

models: Registry[QualityModel] = Registry(
    "model",
    {
        "dbcnn": "robustiqa.models.dbcnn:DBCNN",
        "hyperiqa": "robustiqa.models.hyperiqa:HyperIQA",
        "linearityiqa": "robustiqa.models.linearityiqa:LinearityIQA",
        "maniqa": "robustiqa.models.maniqa:MANIQA",
        "paq2piq": "robustiqa.models.paq2piq:PaQ2PiQ",
    },
)


def create_model(name: str, *, weights: str | Path | None = None, **options: Any) -> QualityModel:
    """Builds a quality model, in eval mode, from neither disk nor network unless weights are named.

    Args:
        name: Registry name, such as `hyperiqa`; `pyiqa:NAME` for a metric of pyiqa, `package.module:factory` for any
            callable (see `robustiqa.models.external`).
        weights: A file, the folder of a training run, or the name of weights that ship with the package; random
            weights if None. A file that this package wrote knows its backbone, scale and calibration; options given
            here must agree.
        options: Of the model, such as `backbone="mobilenetv2_100"`.

    Raises:
        UnknownNameError: if no model or weights have that name.
        WeightsError: if the file does not fit the model entry by entry.
    """
    if ":" in name:
        from robustiqa.models.external import create_external

        if weights is not None:
            raise InputError(f"{name} brings its own weights; pass what it needs as an option.")
        return create_external(name, **options)
    if weights is None:
        return models.create(name, **options).eval()
    from robustiqa.models.loading import load_model

    return load_model(weights, name=name, **options)
