"""Attack, defend and measure no-reference image quality models.

    import robustiqa as riq

    model = riq.create_model("hyperiqa", weights="path/or/name")
    attack = riq.create_attack("ifgsm", eps="4/255", steps=10, objective="worst_of_both")
    result = attack(model, images)

A public name is imported when it is first asked for, so that `import robustiqa` costs nothing.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what the table below says, in the words of type checkers and editors
    from robustiqa.attacks import create_attack as create_attack
    from robustiqa.attacks.objectives import create_objective as create_objective
    from robustiqa.attacks.security_curve import SecurityCurve as SecurityCurve
    from robustiqa.attacks.security_curve import security_curve as security_curve
    from robustiqa.core.attack import Attack as Attack
    from robustiqa.core.attack import AttackResult as AttackResult
    from robustiqa.core.dataset import Dataset as Dataset
    from robustiqa.core.errors import RobustIQAError as RobustIQAError
    from robustiqa.core.image_files import read_image as read_image
    from robustiqa.core.image_files import write_png as write_png
    from robustiqa.core.model import QualityModel as QualityModel
    from robustiqa.core.model import ScoreScale as ScoreScale
    from robustiqa.core.objective import Objective as Objective
    from robustiqa.core.penalty import Penalty as Penalty
    from robustiqa.datasets import create_dataset as create_dataset
    from robustiqa.defenses.norm_regularization import CentralDifference as CentralDifference
    from robustiqa.defenses.norm_regularization import DoubleBackward as DoubleBackward
    from robustiqa.defenses.norm_regularization import FiniteDifference as FiniteDifference
    from robustiqa.defenses.norm_regularization import NormRegularization as NormRegularization
    from robustiqa.defenses.standardized_norm import StandardizedNormRegularization as StandardizedNormRegularization
    from robustiqa.evaluation.run import evaluate as evaluate
    from robustiqa.evaluation.views import Evaluation as Evaluation
    from robustiqa.models import create_model as create_model
    from robustiqa.models.as_metric import as_metric as as_metric
    from robustiqa.models.crop_average import CropAverage as CropAverage
    from robustiqa.report import report as report
    from robustiqa.training.attack_fitting import FitOptions as FitOptions
    from robustiqa.training.attack_fitting import create_fit as create_fit
    from robustiqa.training.attack_fitting import fit_attack as fit_attack
    from robustiqa.training.loop import RunOptions as RunOptions
    from robustiqa.training.loop import train as train
    from robustiqa.training.spec import TrainingSpec as TrainingSpec
    from robustiqa.training.spec import load_recipe as load_recipe

_TABLE = {
    "Attack": "robustiqa.core.attack:Attack",
    "AttackResult": "robustiqa.core.attack:AttackResult",
    "CentralDifference": "robustiqa.defenses.norm_regularization:CentralDifference",
    "CropAverage": "robustiqa.models.crop_average:CropAverage",
    "Dataset": "robustiqa.core.dataset:Dataset",
    "DoubleBackward": "robustiqa.defenses.norm_regularization:DoubleBackward",
    "Evaluation": "robustiqa.evaluation.views:Evaluation",
    "FiniteDifference": "robustiqa.defenses.norm_regularization:FiniteDifference",
    "FitOptions": "robustiqa.training.attack_fitting:FitOptions",
    "NormRegularization": "robustiqa.defenses.norm_regularization:NormRegularization",
    "Objective": "robustiqa.core.objective:Objective",
    "Penalty": "robustiqa.core.penalty:Penalty",
    "QualityModel": "robustiqa.core.model:QualityModel",
    "RobustIQAError": "robustiqa.core.errors:RobustIQAError",
    "RunOptions": "robustiqa.training.loop:RunOptions",
    "ScoreScale": "robustiqa.core.model:ScoreScale",
    "SecurityCurve": "robustiqa.attacks.security_curve:SecurityCurve",
    "StandardizedNormRegularization": "robustiqa.defenses.standardized_norm:StandardizedNormRegularization",
    "TrainingSpec": "robustiqa.training.spec:TrainingSpec",
    "as_metric": "robustiqa.models.as_metric:as_metric",
    "create_attack": "robustiqa.attacks:create_attack",
    "create_dataset": "robustiqa.datasets:create_dataset",
    "create_fit": "robustiqa.training.attack_fitting:create_fit",
    "create_model": "robustiqa.models:create_model",
    "create_objective": "robustiqa.attacks.objectives:create_objective",
    "evaluate": "robustiqa.evaluation.run:evaluate",
    "fit_attack": "robustiqa.training.attack_fitting:fit_attack",
    "load_recipe": "robustiqa.training.spec:load_recipe",
    "read_image": "robustiqa.core.image_files:read_image",
    "report": "robustiqa.report:report",
    "security_curve": "robustiqa.attacks.security_curve:security_curve",
    "train": "robustiqa.training.loop:train",
    "write_png": "robustiqa.core.image_files:write_png",
}

__all__ = sorted(_TABLE)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if not TYPE_CHECKING:  # hidden from type checkers, so that they refuse names that do not exist

    def __getattr__(name: str) -> Any:
        if name not in _TABLE:
            raise AttributeError(f"module 'robustiqa' has no attribute {name!r}")
        module, _, attribute = _TABLE[name].partition(":")
        return getattr(importlib.import_module(module), attribute)


class _CallableRoom(ModuleType):
    """The room `robustiqa.report`, callable as the function of the same name inside it."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.report(*args, **options)


class _Package(ModuleType):
    """Python binds an imported room to its name in the package; that must not hide the function `report`."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "report" and isinstance(value, ModuleType):
            value.__class__ = _CallableRoom
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
