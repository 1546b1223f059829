"""What is promised of speed and memory, and whether a run of measurements holds it. A table, never a test.

All are ratios within one run, but for the seconds of `--help`. What was not measured is said to be so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import attack_rate, peer_rate, startup, two_processes
from benchmarks.cases import GUARDED, GUARDED_LIGHT
from benchmarks.loader import loader_name
from benchmarks.nt_step import BASELINE, FINITE, PUBLISHED, PUBLISHED_FORMAT, RECIPE, key
from benchmarks.store import Group, Measurements
from benchmarks.timing import Spread, blend, ratio

Reading = Callable[[Measurements], Spread | None]


@dataclass(frozen=True)
class Guard:
    """One promise.

    Attributes:
        says: What is measured, over what.
        wanted: The bound.
        at_most: Whether the bound is from above.
        reads: Takes the value from a run; None if it was not measured.
        unit: Of the value: `x` for a ratio, `s` for seconds.
    """

    says: str
    wanted: float
    at_most: bool
    reads: Reading
    unit: str = "x"

    def verdict(self, run: Measurements) -> str:
        """`held`, `missed` or `not measured`; the median decides."""
        value = self.reads(run)
        if value is None:
            return "not measured"
        held = value.middle <= self.wanted if self.at_most else value.middle >= self.wanted
        return "held" if held else "missed"


def step_ratio(case: str, work: str, unit: str) -> Reading:
    """An NT step over another."""

    def read(run: Measurements) -> Spread | None:
        return _of(run.group("nt-step", case), work, unit)

    return read


def recipe_ratio(case: str, precision: str, unit: str) -> Reading:
    """The light recipe's steps over all its epochs, those before the penalty begins included, over another step."""

    def read(run: Measurements) -> Spread | None:
        group = run.group("nt-step", case)
        plain, nt = (key(method, precision, "channels_last") for method in (BASELINE, RECIPE))
        if group is None or not {plain, nt, unit} <= set(group.seconds):
            return None
        share = float(group.facts["penalized_share"])
        mixed = blend([(share, group.seconds[nt]), (1 - share, group.seconds[plain])])
        return ratio(mixed, group.seconds[unit])

    return read


def rate_ratio(section: str, case: str | None, work: str, unit: str) -> Reading:
    """Rate of a work over that of another, in a section's group, or its first; seconds of the other over its own."""

    def read(run: Measurements) -> Spread | None:
        measured = [group.name for group in run.groups(section) if not group.skipped]
        name = case if case is not None else next(iter(measured), "")
        return _of(run.group(section, name), unit, work)

    return read


def memory_ratio(case: str) -> Reading:
    """Peak of the NT step over that of the baseline, in the layout that training uses."""

    def read(run: Measurements) -> Spread | None:
        group = run.group("memory", case)
        if group is None:
            return None
        peaks = group.facts["peak"]
        value = peaks[key(FINITE, "float32", "channels_last")] / peaks[key(BASELINE, "float32", "channels_last")]
        return Spread(value, value, value)

    return read


def help_seconds(run: Measurements) -> Spread | None:
    """Of `robustiqa --help`."""
    group = run.group("startup", "commands")
    return None if group is None else group.time(startup.HELP)


def _of(group: Group | None, work: str, unit: str) -> Spread | None:
    if group is None or not {work, unit} <= set(group.seconds):
        return None
    return group.ratio(work, unit)


def _steps(method: str, precision: str, layout: str) -> tuple[str, str]:
    """A step, and the baseline's in the same format."""
    return key(method, precision, layout), key(BASELINE, precision, layout)


FULL, LIGHT = GUARDED.name, GUARDED_LIGHT.name
LAST = "channels_last"
AS_PUBLISHED = key(PUBLISHED, *PUBLISHED_FORMAT)
IFGSM = f"{attack_rate.ALONE}, rate over that of"
GUARDS = (
    Guard("NT step over baseline, contiguous", 2.35, True, step_ratio(FULL, *_steps(FINITE, *PUBLISHED_FORMAT))),
    Guard("NT step over baseline, channels_last", 2.05, True, step_ratio(FULL, *_steps(FINITE, "float32", LAST))),
    Guard("NT step over baseline, bf16", 2.40, True, step_ratio(FULL, *_steps(FINITE, "bf16", LAST))),
    Guard(
        "NT step, float32, over the published schedule",
        0.40,
        True,
        step_ratio(FULL, key(FINITE, "float32", LAST), AS_PUBLISHED),
    ),
    Guard(
        "NT step, bf16, over the published schedule",
        0.24,
        True,
        step_ratio(FULL, key(FINITE, "bf16", LAST), AS_PUBLISHED),
    ),
    Guard(
        "light recipe over baseline, ResNet-50",
        1.35,
        True,
        recipe_ratio(FULL, "float32", key(BASELINE, "float32", LAST)),
    ),
    Guard(
        "light recipe over baseline, light network",
        1.30,
        True,
        recipe_ratio(LIGHT, "float32", key(BASELINE, "float32", LAST)),
    ),
    Guard(
        "light recipe, float32, over the published schedule", 0.28, True, recipe_ratio(FULL, "float32", AS_PUBLISHED)
    ),
    Guard("light recipe, bf16, over the published schedule", 0.14, True, recipe_ratio(FULL, "bf16", AS_PUBLISHED)),
    Guard(
        f"{IFGSM} a bare loop",
        0.95,
        False,
        rate_ratio("attack-rate", FULL, attack_rate.ALONE, attack_rate.BARE),
    ),
    Guard(
        f"{IFGSM} torchattacks PGD",
        1.0,
        False,
        rate_ratio("peers", FULL, attack_rate.ALONE, peer_rate.TORCHATTACKS),
    ),
    Guard(f"{IFGSM} foolbox LinfPGD", 1.0, False, rate_ratio("peers", FULL, attack_rate.ALONE, peer_rate.FOOLBOX)),
    Guard(
        f"{attack_rate.WHOLE}, rate over that of {attack_rate.PUBLISHED_LOOP}",
        1.5,
        False,
        rate_ratio("attack-rate", FULL, attack_rate.WHOLE, attack_rate.PUBLISHED_LOOP),
    ),
    Guard(
        "loader with 2 workers, rate over what the light recipe's NT step takes",
        1.5,
        False,
        rate_ratio("loader", None, loader_name(2), RECIPE),
    ),
    Guard("peak memory of an NT step over the baseline's", 2.2, True, memory_ratio(FULL)),
    Guard(
        "evaluation in two processes, rate over one process on one core",
        1.6,
        False,
        rate_ratio("two-processes", LIGHT, two_processes.TWO_PROCESSES, two_processes.ONE_CORE),
    ),
    Guard(
        "evaluation in two processes, rate over one process with two threads",
        0.95,
        False,
        rate_ratio("two-processes", LIGHT, two_processes.TWO_PROCESSES, two_processes.TWO_THREADS),
    ),
    Guard("robustiqa --help", 0.3, True, help_seconds, "s"),
)
