"""Attacks of other packages on the same score as ours, behind one call, and the check that they climb it.

An adapter is used only if it moves a linear score by eps times its L1 norm. foolbox and torchattacks are optional; they
live in an environment of their own (`make peers`), for torchattacks 3.5 asks for an old requests.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import torch
from torch import Tensor, nn

from robustiqa.attacks import create_attack
from robustiqa.core.attack import frozen_weights

PACKAGES = ("foolbox", "torchattacks")
LEAST_LINEAR, LINEAR_STEPS = 0.99, 100  # of eps * L1, and in how many steps, which even steps of eps / 30 reach
Climb = Callable[[nn.Module, Tensor, float, float, int, int], Tensor]  # model, images, sign, eps, steps, seed


class Linear(nn.Module):
    """A score that is a sum of slopes times pixels."""

    def __init__(self, side: int = 16) -> None:
        super().__init__()
        self.slopes = nn.Parameter(torch.randn(3, side, side, generator=torch.Generator().manual_seed(0)))

    def forward(self, images: Tensor) -> Tensor:
        """Scores, (N,)."""
        return (self.slopes * images).flatten(1).sum(1)


class TwoClasses(nn.Module):
    """Logits (0, sign * (score - clean) / unit): the cross entropy of class 0 climbs just where the goal does."""

    def __init__(self, model: nn.Module, clean_scores: Tensor, sign: float, unit: float) -> None:
        super().__init__()
        self.model, self.clean, self.sign, self.unit = model, clean_scores, sign, unit

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (N, 2)."""
        goal = self.sign * (self.model(images) - self.clean) / self.unit
        return torch.stack([torch.zeros_like(goal), goal], dim=1)


def scores_of(model: nn.Module, images: Tensor) -> Tensor:
    """Scores without a graph, (N,)."""
    with torch.no_grad():
        scores: Tensor = model(images)
    return scores


def installed(package: str) -> bool:
    """Whether a peer is there."""
    return importlib.util.find_spec(package) is not None


def ours(name: str, **options: object) -> Climb:
    """An attack of this package."""

    def climb(model: nn.Module, images: Tensor, sign: float, eps: float, steps: int, seed: int) -> Tensor:
        objective = "raise" if sign > 0 else "lower"
        attack = create_attack(name, eps=eps, steps=steps, seed=seed, objective=objective, **options)
        return attack(model, images).images

    return climb


def of_foolbox(relative_step: float | None, random_start: bool = True) -> Climb:
    """foolbox's LinfPGD, its loss replaced by the score; None for our step."""

    def climb(model: nn.Module, images: Tensor, sign: float, eps: float, steps: int, seed: int) -> Tensor:
        import eagerpy
        import foolbox

        torch.manual_seed(seed)
        attack = foolbox.attacks.LinfPGD(
            steps=steps, rel_stepsize=relative_step or 2.5 / steps, random_start=random_start
        )
        attack.get_loss_fn = lambda *_: lambda inputs: eagerpy.astensor(sign * model(inputs.raw).sum())
        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device=images.device)
        labels = torch.zeros(len(images), dtype=torch.long, device=images.device)
        found: Tensor = attack.run(wrapped, images, foolbox.Misclassification(labels), epsilon=eps)
        return found.detach()

    return climb


def of_torchattacks(step: float | None, random_start: bool = True, clean_scores: Tensor | None = None) -> Climb:
    """torchattacks' PGD on two logits that stand for the score; None for our step, and for scores not known yet."""

    def climb(model: nn.Module, images: Tensor, sign: float, eps: float, steps: int, seed: int) -> Tensor:
        import torchattacks

        torch.manual_seed(seed)
        unit = float(getattr(getattr(model, "scale", None), "span", 100.0))  # keeps the cross entropy from saturating
        logits = TwoClasses(model, clean_scores if clean_scores is not None else scores_of(model, images), sign, unit)
        alpha = step or 2.5 * eps / steps
        attack = torchattacks.PGD(logits.eval(), eps=eps, alpha=alpha, steps=steps, random_start=random_start)
        labels = torch.zeros(len(images), dtype=torch.long, device=images.device)
        found: Tensor = attack(images, labels)
        return found.detach()

    return climb


def check_on_a_linear_score(name: str, climb: Climb) -> None:
    """Refuses an adapter that does not climb the score it is given."""
    model = Linear().eval()
    images = torch.full((2, 3, 16, 16), 0.5)
    best = float(4 / 255 * model.slopes.detach().abs().sum())
    with frozen_weights(model):
        for sign in (-1.0, 1.0):
            moved = sign * (model(climb(model, images, sign, 4 / 255, LINEAR_STEPS, 0)) - model(images)) / best
            if not (moved > LEAST_LINEAR).all():
                raise SystemExit(f"{name} moves a linear score by {moved.min():.3f} of what it should; not compared.")
