"""What an attack leaves behind: images, scores, passes, and who of an ensemble found what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from robustiqa.core import pixels


@dataclass(frozen=True)
class Contest:
    """What each member of an ensemble reached for N photos.

    Attributes:
        names: Of the M candidates; the first is the clean image.
        scores: Score of each candidate's 8-bit image, (M, N); of a random model, the mean over several passes.
        won: Which candidate was kept, (N,).
    """

    names: tuple[str, ...]
    scores: Tensor
    won: Tensor

    @property
    def winners(self) -> list[str]:
        """The name of what was kept, photo by photo."""
        return [self.names[place] for place in self.won.tolist()]


@dataclass(frozen=True)
class AttackResult:
    """What an attack did to each of N photos.

    Attributes:
        clean_images: What came in, (N, 3, H, W).
        images: Adversarial images in float, within the budget, in [0, 1]; same shape.
        images_8bit: The same as a file holds them, within the budget on the 8-bit grid. This is what counts.
        clean_scores: Scores before, (N,).
        scores: Scores of the float images, (N,).
        scores_8bit: Scores of the 8-bit images, (N,).
        won: Which of the objective's goals was kept, (N,).
        queries: Forward passes spent on each photo over all goals, (N,).
        gradients: Backward passes likewise, (N,).
        contest: Of an ensemble, what its members reached toward the goal that was kept; None for other attacks.
    """

    clean_images: Tensor = field(repr=False)
    images: Tensor = field(repr=False)
    images_8bit: Tensor = field(repr=False)
    clean_scores: Tensor
    scores: Tensor
    scores_8bit: Tensor
    won: Tensor
    queries: Tensor
    gradients: Tensor
    contest: Contest | None = field(default=None, kw_only=True)

    @property
    def found_by(self) -> list[dict[str, Any]]:
        """Photo by photo, for records: `member` and `member_scores` of an ensemble, nothing for other attacks."""
        if self.contest is None:
            return [{} for _ in self.scores_8bit]
        names, scores = self.contest.names, self.contest.scores.T.tolist()
        reached = [dict(zip(names, of_photo, strict=True)) for of_photo in scores]
        return [
            {"member": name, "member_scores": found} for name, found in zip(self.contest.winners, reached, strict=True)
        ]

    @property
    def linf(self) -> Tensor:
        """Largest pixel change of the float images, (N,)."""
        return pixels.linf_distance(self.images, self.clean_images)

    @property
    def l2(self) -> Tensor:
        """Euclidean length of the change of the float images, (N,)."""
        return pixels.l2_distance(self.images, self.clean_images)

    @property
    def ssim(self) -> Tensor:
        """Structural similarity of float adversarial and clean images, (N,)."""
        return pixels.ssim(self.images, self.clean_images)


@dataclass(frozen=True)
class AttackRun:
    """One goal's outcome for N photos; attributes as in `AttackResult`."""

    images: Tensor
    images_8bit: Tensor
    scores: Tensor
    scores_8bit: Tensor
    contest: Contest | None


def keep_largest_change(
    images: Tensor, clean_scores: Tensor, runs: Sequence[AttackRun], *, queries: Tensor, gradients: Tensor
) -> AttackResult:
    """Picks, photo by photo, the run whose 8-bit score moved farthest.

    Args:
        images: Clean images, (N, 3, H, W).
        clean_scores: (N,).
        runs: One for each goal.
        queries: Forward passes over all goals, (N,).
        gradients: Backward passes likewise, (N,).
    """
    changes = torch.stack([(run.scores_8bit - clean_scores).abs() for run in runs])  # (goals, N)
    won = changes.argmax(0)
    rows = torch.arange(len(images), device=won.device)

    def pick(parts: list[Tensor]) -> Tensor:
        return parts[0] if len(parts) == 1 else torch.stack(parts)[won, rows]

    return AttackResult(
        clean_images=images,
        images=pick([run.images for run in runs]),
        images_8bit=pick([run.images_8bit for run in runs]),
        clean_scores=clean_scores,
        scores=pick([run.scores for run in runs]),
        scores_8bit=pick([run.scores_8bit for run in runs]),
        won=won,
        queries=queries,
        gradients=gradients,
        contest=chosen_contest([run.contest for run in runs], won),
    )


def chosen_contest(contests: Sequence[Contest | None], chosen: Tensor) -> Contest | None:
    """Each photo's contest from one of several of the same members; None if they are of no ensemble.

    Args:
        contests: Of several runs.
        chosen: Which of them, (N,).
    """
    held = [contest for contest in contests if contest is not None]
    if not held:
        return None
    rows = torch.arange(len(chosen), device=chosen.device)
    scores = torch.stack([contest.scores.T for contest in held])[chosen, rows].T  # (M, N)
    return Contest(held[0].names, scores, torch.stack([contest.won for contest in held])[chosen, rows])
