"""Progress bars of work in several parts: trainings, then attacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from robustiqa.cli.output import Tell

if TYPE_CHECKING:
    from robustiqa.training.loop import TrainingProgress


@dataclass
class Watch:
    """A progress bar for each training, and one for the attacks."""

    start: Callable[[str], Tell]
    tells: dict[str, Tell] = field(default_factory=dict)

    def training(self, label: str, now: TrainingProgress) -> None:
        """A step of the training called `label`."""
        self._bar(f"training {label}")(now.step, now.steps, f"epoch {now.epoch}/{now.epochs}, loss {now.loss:.3f}")

    def attacking(self, done: int, total: int) -> None:
        """`done` of `total` photographs are attacked."""
        self._bar("attacking")(done, total)

    def _bar(self, what: str) -> Tell:
        if what not in self.tells:
            self.tells[what] = self.start(what)
        return self.tells[what]
