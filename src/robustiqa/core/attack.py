"""What an attack is: plain data, called on a model and images; the base class checks, clips, measures and counts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from robustiqa.core.attack_result import AttackResult as AttackResult
from robustiqa.core.attack_result import AttackRun, Contest, keep_largest_change
from robustiqa.core.balls import Ball, create_ball
from robustiqa.core.checks import check_eval_mode, check_pixels, check_scores
from robustiqa.core.errors import InputError
from robustiqa.core.model import ScoreScale
from robustiqa.core.objective import Goal, Objective, Push
from robustiqa.core.seeds import generator


@dataclass(frozen=True)
class CleanPass:
    """One forward and one input-gradient backward pass over clean images; several attacks may share it.

    Attributes:
        scores: (N,).
        gradient: Of each image's own score, (N, 3, H, W), per unit of [0, 1] pixels.
    """

    scores: Tensor
    gradient: Tensor

    @property
    def gradient_l1(self) -> Tensor:
        """L1 norm of each image's gradient, (N,): the number that eps multiplies in the first-order estimate."""
        return self.gradient.abs().flatten(1).sum(1)


def clean_pass(model: nn.Module, images: Tensor) -> CleanPass:
    """Scores images and differentiates the scores with respect to the pixels; one forward, one backward.

    Raises:
        InputError: if the images leave [0, 1] or the model is in training mode.
    """
    check_pixels(images)
    check_eval_mode(model)
    with frozen_weights(model):
        gradient, scores = _score_gradient(model, images, None)
    return CleanPass(scores, gradient)


@contextmanager
def frozen_weights(model: nn.Module) -> Iterator[None]:
    """Turns weight gradients off, so that a backward pass computes input gradients only, and restores them."""
    needing = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in needing:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in needing:
            weight.requires_grad_(True)


def _score_gradient(model: nn.Module, images: Tensor, goal: Goal | None) -> tuple[Tensor, Tensor]:
    """Gradient of each image's goal (its score if None) with respect to its pixels, and the scores.

    Raises:
        InputError: if there is none, or not a number: an attack that stands still looks like robustness.
    """
    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        scores = model(leaf)
        check_scores(scores, len(images))
        if not scores.requires_grad:
            raise InputError("the model's scores have no gradient in the images; use a black-box attack.")
        value = scores if goal is None else goal(scores)
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
    if gradient.isnan().any():
        raise InputError("the model's gradient in the images is not a number; use a black-box attack.")
    return gradient, scores.detach()


class Oracle:
    """The model as an attack may see it; counts every query and every gradient, an image at a time.

    Attributes:
        queries: Forward passes so far, (N,), the clean one not counted.
        gradients: Backward passes so far, (N,), the clean one counted once a run that uses it.
        scale: The model's score scale; 0 to 100 for a module that has none.
    """

    def __init__(self, model: nn.Module, images: Tensor, clean_scores: Tensor, clean: CleanPass | None) -> None:
        self._model, self._images, self._clean = model, images, clean
        self.clean_scores = clean_scores
        self.white_box = False
        self.scale: ScoreScale = getattr(model, "scale", ScoreScale())
        self.queries = torch.zeros(len(images), dtype=torch.long)
        self.gradients = torch.zeros(len(images), dtype=torch.long)

    def scores(self, images: Tensor, rows: Tensor | None = None) -> Tensor:
        """Scores of `images`, one query each; `rows` names which photos of the batch they stand for."""
        self._count(self.queries, rows)
        with torch.no_grad():
            scores: Tensor = self._model(images)
        check_scores(scores, len(images))
        return scores

    def ascent(self, images: Tensor, goal: Goal, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The direction in which `goal` grows, (N, 3, H, W), and the scores it was taken at, (N,).

        At the clean images a `Push` needs no new pass: its gradient is the signed clean gradient.

        Raises:
            InputError: if a black-box attack asks.
        """
        if not self.white_box:
            raise InputError("a black-box attack asked for a gradient; it may only query scores.")
        self._count(self.queries, rows)
        self._count(self.gradients, rows)
        if self._clean is not None and images is self._images and isinstance(goal, Push):
            return goal.signs[:, None, None, None] * self._clean.gradient, self._clean.scores
        return _score_gradient(self._model, images, goal)

    @staticmethod
    def _count(spent: Tensor, rows: Tensor | None) -> None:
        """One pass for each of `rows`; a photo that stands there twice costs two."""
        spent += 1 if rows is None else torch.bincount(rows.cpu(), minlength=len(spent))


@dataclass(frozen=True, kw_only=True)
class Attack(ABC):
    """Base of every attack. Subclasses are frozen dataclasses of plain values that implement `perturb`.

    Args:
        eps: Budget in [0, 1] pixel units, in L-infinity if not in `norm`; a number or a fraction like `"4/255"`.
        objective: What to do to the scores.
        seed: Of random starts and searches; combined with each photo's key, so that results do not depend on batches.
    """

    threat_model: ClassVar[str] = "white-box"
    asks_model: ClassVar[bool] = True  # False: for a `Push`, what it finds depends on the photo alone

    eps: float | str = "4/255"
    objective: Objective
    seed: int = 0

    def __post_init__(self) -> None:
        create_ball(self.norm, self.eps)  # refuses what is none

    @property
    def norm(self) -> str:
        """What `eps` is measured in; a field of attacks that know several norms."""
        return "linf"

    @final
    @property
    def ball(self) -> Ball:
        """The budget; whatever an attack returns is projected and rounded with it."""
        return create_ball(self.norm, self.eps)

    @property
    def budget(self) -> float:
        """`eps` as a number."""
        return self.ball.eps

    @abstractmethod
    def perturb(self, oracle: Oracle, images: Tensor, goal: Goal, generators: Sequence[torch.Generator]) -> Tensor:
        """Adversarial images for one goal; the caller projects them onto the budget once more.

        Args:
            oracle: The model, counted.
            images: Clean images, (N, 3, H, W), not to be written to.
            goal: What to make large.
            generators: One for each photo; the only source of randomness.
        """

    def compete(
        self, oracle: Oracle, images: Tensor, goal: Goal, generators: Sequence[torch.Generator]
    ) -> tuple[Tensor, Contest | None]:
        """As `perturb`; an attack that is made of others also says what each of them reached."""
        return self.perturb(oracle, images, goal, generators), None

    def __call__(
        self,
        model: nn.Module,
        images: Tensor,
        *,
        keys: Sequence[str] | None = None,
        clean: CleanPass | None = None,
        found: Tensor | None = None,
    ) -> AttackResult:
        """Attacks a batch.

        Args:
            model: Any module from (N, 3, H, W) in [0, 1] to scores (N,), in eval mode.
            images: Clean images, (N, 3, H, W), in [0, 1].
            keys: What names each photo in random draws; its place in the batch by default.
            clean: The clean pass of these images, if it was made already.
            found: What this attack found for these images and one direction on another model. It is not searched for
                again; only for an attack that does not ask the model (`asks_model`).

        Raises:
            InputError: if the images leave [0, 1], the model is in training mode, or `found` can not be.
        """
        check_pixels(images)
        check_eval_mode(model)
        names = [str(place) for place in range(len(images))] if keys is None else list(keys)
        if len(names) != len(images):
            raise InputError(f"keys must name each of the {len(images)} images, got {len(names)}.")
        if clean is not None and clean.gradient.shape != images.shape:
            raise InputError(f"clean must be clean_pass(model, images), got one of {tuple(clean.gradient.shape)}.")
        images = images.detach()
        with frozen_weights(model):
            if clean is None and self.threat_model == "white-box":
                clean = CleanPass(*reversed(_score_gradient(model, images, None)))
            if clean is None:
                with torch.no_grad():
                    clean_scores = model(images)
                check_scores(clean_scores, len(images))
            else:
                clean_scores = clean.scores
            oracle = Oracle(model, images, clean_scores, clean)
            oracle.white_box = self.threat_model == "white-box"
            goals = self.objective.goals(clean_scores, oracle.scale)
            if found is not None and (self.asks_model or len(goals) > 1 or not isinstance(goals[0], Push)):
                raise InputError("what an attack found on one model is no use on another; leave out found.")
            runs = [self._run(oracle, images, goal, names, found) for goal in goals]
        return keep_largest_change(images, clean_scores, runs, queries=oracle.queries, gradients=oracle.gradients)

    def _run(self, oracle: Oracle, images: Tensor, goal: Goal, names: Sequence[str], found: Tensor | None) -> AttackRun:
        contest = None
        if found is None:
            generators = [generator(self.seed, name) for name in names]
            found, contest = self.compete(oracle, images, goal, generators)
        adversarial = self.ball.project(found.detach(), images)
        in_8bit = self.ball.to_8bit(adversarial, images)
        spent = oracle.queries.clone()
        scores, scores_8bit = oracle.scores(adversarial), oracle.scores(in_8bit)
        oracle.queries = spent  # measuring the result is not part of the attack
        return AttackRun(adversarial, in_8bit, scores, scores_8bit, contest)
