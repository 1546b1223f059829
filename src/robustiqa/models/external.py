"""Models of other packages as quality models: any pyiqa metric by name, any callable by `package.module:factory`.

Both are turned to the project's convention (0..100, higher is better, (N,) scores with gradients), so that they can
be scored, attacked and evaluated like the models of the registry. pyiqa is an optional extra.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from robustiqa.core.calibration import Rescale
from robustiqa.core.checks import check_scores
from robustiqa.core.errors import InputError, MissingExtraError, UnknownNameError
from robustiqa.core.model import QualityModel, ScoreScale
from robustiqa.core.registry import did_you_mean

PYIQA = "pyiqa"
NO_STATISTICS = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)  # what is called normalizes by itself
SCALE = ScoreScale()
Scorer = Callable[[Tensor], Tensor]


class External(QualityModel):
    """A callable from images to scores as a quality model.

    Args:
        scorer: From images (N, 3, H, W) in [0, 1] to scores (N,), differentiable if it is to be attacked with
            gradients. A module is a part of this model: its weights, its device, its mode.
        low: Score that maps to 0 (to 100 if `lower_is_better`).
        high: Score that maps to 100.
        lower_is_better: Whether small scores mean good photographs.
        crop_size: Side of the square it takes, or None if it takes any size.
    """

    def __init__(
        self,
        scorer: Scorer,
        *,
        low: float = SCALE.low,
        high: float = SCALE.high,
        lower_is_better: bool = False,
        crop_size: int | None = None,
    ) -> None:
        super().__init__(*NO_STATISTICS)
        if not callable(scorer):
            raise InputError(f"a model must be callable with images, got {type(scorer).__name__}.")
        self.calibration = Rescale(low, high, lower_is_better)
        self.crop_size = crop_size
        self.scorer = scorer  # a module is registered as a part

    def raw_scores(self, normalized: Tensor) -> Tensor:
        """The callable's own scores, (N,)."""
        scores = self.scorer(normalized)
        check_scores(scores, len(normalized))
        return scores


class _PyIQA(nn.Module):
    """A pyiqa metric that gives (N,) scores."""

    def __init__(self, metric: Any) -> None:
        super().__init__()
        self.metric = metric

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.metric(images).reshape(
            len(images)
        )  # pyiqa gives (N,), (N, 1) or, for one image, a scalar
        return scores if torch.is_grad_enabled() else scores.detach()  # pyiqa builds a graph whether asked to or not


def create_external(name: str, **options: Any) -> QualityModel:
    """Builds `pyiqa:NAME` or calls `package.module:factory`.

    Args:
        name: What to build.
        options: For pyiqa, of its network, and `low`, `high` where it does not know its own range. Else of the
            factory, which returns a quality model, or a callable with the attributes `low`, `high`,
            `lower_is_better` and `crop_size` where `External`'s defaults do not fit.

    Raises:
        UnknownNameError: if there is no such metric, module or factory.
        MissingExtraError: if pyiqa is needed and not installed.
        InputError: if pyiqa has no range for the metric.
    """
    package, _, thing = name.partition(":")
    model = _from_pyiqa(thing, **options) if package == PYIQA else _from_factory(package, thing, options)
    return model.eval()


def _from_pyiqa(name: str, *, low: float | None = None, high: float | None = None, **options: Any) -> QualityModel:
    try:
        import pyiqa
    except ImportError:
        raise MissingExtraError(
            f"pyiqa:{name} needs pyiqa; install it with `pip install 'robustiqa[pyiqa]'`."
        ) from None
    known: list[str] = pyiqa.list_models(metric_mode="NR")
    if name not in known:
        raise UnknownNameError(
            f"pyiqa has no no-reference metric {name!r}{did_you_mean(name, known)} `pyiqa -ls` lists them."
        )
    metric = pyiqa.create_metric(name, as_loss=True, loss_reduction="none", device="cpu", **options)
    ends = _range(str(getattr(metric, "score_range", "")))
    ends = (ends[0] if low is None else low, ends[1] if high is None else high)
    if None in ends:
        raise InputError(f"pyiqa gives no range for {name!r}; say low=... and high=..., between which scores lie.")
    return External(_PyIQA(metric), low=ends[0], high=ends[1], lower_is_better=bool(metric.lower_better))  # type: ignore[arg-type]


def _range(said: str) -> tuple[float | None, float | None]:
    """Both ends of pyiqa's `score_range`, such as `0, 1` or `~0, ~100`; None for what is no number."""
    ends = [re.search(r"-?\d+(\.\d+)?", part) for part in said.split(",")]
    numbers = [None if end is None else float(end[0]) for end in ends]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (None, None)


def _from_factory(module: str, attribute: str, options: dict[str, Any]) -> QualityModel:
    name = f"{module}:{attribute}"
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the module is there, and lacks one of its own
        raise UnknownNameError(f"there is no module {module!r} for the model {name!r}; is it on the path?") from None
    if not hasattr(found, attribute):
        names = [known for known in vars(found) if not known.startswith("_")]
        raise UnknownNameError(f"module {module!r} has no factory {attribute!r}{did_you_mean(attribute, names)}")
    factory = getattr(found, attribute)
    if not callable(factory):
        raise InputError(f"{name} must be a function that makes a model, got {type(factory).__name__}.")
    made = factory(**options)
    if isinstance(made, QualityModel):
        return made
    said = {
        field: getattr(made, field) for field in ("low", "high", "lower_is_better", "crop_size") if hasattr(made, field)
    }
    return External(made, **said)
