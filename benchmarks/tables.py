"""Each section's measurements as Markdown tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks import attack_rate, compiled, nt_step, penalty_share, report_time, scoring, startup, two_processes
from benchmarks.loader import WORKERS, loader_name
from benchmarks.nt_step import BASELINE, FORWARD, INPUT_GRADIENT, PUBLISHED, PUBLISHED_FORMAT, STEPS, key
from benchmarks.store import Group, Measurements
from benchmarks.timing import Spread

DASH = "–"


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def cell(value: Spread) -> str:
    """The median, and the middle half in brackets."""
    return f"{number(value.middle)} [{number(value.low)}, {number(value.high)}]"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is of words, the others of numbers."""
    lines = [list(header), ["---", *["---:"] * (len(header) - 1)], *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def nt_steps(group: Group) -> str:
    """Seconds, ratios and counts of every step of a network, and the roofline."""
    formats = [(precision, layout) for precision, layout in group.facts["formats"]]
    rows, limits = [], []
    for method, pairs in [(PUBLISHED, [PUBLISHED_FORMAT]), *((method, formats) for method in STEPS)]:
        for precision, layout in pairs:
            work = key(method, precision, layout)
            rows.append(
                [
                    f"{method}, {precision}, {layout}",
                    cell(group.time(work)),
                    cell(group.ratio(work, key(BASELINE, precision, layout))),
                    cell(group.ratio(work, key(PUBLISHED, *PUBLISHED_FORMAT))),
                ]
            )
            limits.append([f"{method}, {precision}, {layout}", *_roofline(group, method, precision, layout)])
    counts = [
        [method, number(_units(group, method)), number(group.facts["flops"][method])] for method in (*STEPS, PUBLISHED)
    ]
    return "\n\n".join(
        [
            table(["step", "seconds", "over the same format's baseline", "over the published schedule"], rows),
            "Counts. A unit is a forward pass; an input gradient is one, a full backward pass two. Operations are "
            "counted by `torch.utils.flop_counter`, over those of a forward pass.",
            table(["step", "units", "operations"], counts),
            "Roofline: what a step's passes take by themselves, same network and format, over what the step takes.",
            table(["step", "bare passes, seconds", "units a second", "achieved"], limits),
        ]
    )


def _units(group: Group, method: str) -> float:
    forward, gradient, backward = group.facts["passes"][method]
    return float(forward + gradient + 2 * backward)


def _roofline(group: Group, method: str, precision: str, layout: str) -> list[str]:
    expected = bare_seconds(group, method, precision, layout)
    taken = group.time(key(method, precision, layout)).middle
    return [number(expected), number(_units(group, method) / taken), f"{expected / taken:.0%}"]


def bare_seconds(group: Group, method: str, precision: str, layout: str) -> float:
    """What a step's passes take by themselves; a baseline step less its forward pass is a full backward pass."""
    forward, both, plain = (
        group.time(key(work, precision, layout)).middle for work in (FORWARD, INPUT_GRADIENT, BASELINE)
    )
    seconds = (forward, both - forward, plain - forward)
    return float(sum(count * each for count, each in zip(group.facts["passes"][method], seconds, strict=True)))


def penalty_shares(group: Group) -> str:
    """Ratios of steps and of whole trainings, by share of the batch and steps between."""
    often = [f"one step in {count}" if count > 1 else "every step" for count in penalty_share.EVERY]
    heads = ["", "step over the baseline's", *(f"training over the baseline's, {each}" for each in often)]
    rows = [
        [
            penalty_share.share_name(fraction),
            cell(group.ratio(penalty_share.share_name(fraction), BASELINE)),
            *(cell(penalty_share.training_ratio(group, fraction, count)) for count in penalty_share.EVERY),
        ]
        for fraction in penalty_share.FRACTIONS
    ]
    return "\n\n".join(
        [
            table(heads, rows),
            f"The penalty is measured in {group.facts['penalized_share']:.0%} of the epochs, as in the recipe; "
            "validation and reading data are left out.",
        ]
    )


def rates(group: Group, works: Sequence[str], unit: str, what: str, against: str) -> str:
    """Items a second, and rates over that of one work."""
    rows = [[work, cell(group.rate(work)), cell(group.speedup(work, unit))] for work in works if work in group.seconds]
    return table(["", f"{what} a second", against], rows)


def attack_rates(group: Group) -> str:
    """Gradients a second."""
    works = (attack_rate.BARE, attack_rate.ALONE, attack_rate.FOLDED, attack_rate.WHOLE, attack_rate.PUBLISHED_LOOP)
    return rates(group, works, attack_rate.BARE, "gradients", "over the bare loop")


def peer_rates(group: Group) -> str:
    """Gradients a second, ours and theirs."""
    versions = ", ".join(f"{package} {version}" for package, version in group.facts.get("versions", {}).items())
    shown = rates(group, list(group.seconds), attack_rate.ALONE, "gradients", "over ours, the gradients alone")
    return f"{shown}\n\nWith {versions or 'no peer'}."


def loader_rates(group: Group) -> str:
    """Crops a second from the loader and into a step."""
    facts = group.facts
    works = [*map(loader_name, WORKERS), nt_step.BASELINE, nt_step.RECIPE]
    shown = rates(group, works, nt_step.RECIPE, "crops", "over the light recipe's NT step")
    return (
        f"{shown}\n\n{facts['photographs']} photographs of {facts['pixels']} pixels, decoded once at "
        f"{number(facts['decoded_per_second'])} a second; steps of {facts['network']}."
    )


def scoring_rates(group: Group) -> str:
    """Photographs a second."""
    shown = rates(group, scoring.WORKS, scoring.BARE, "photographs", "over bare passes")
    return f"{shown}\n\nPhotographs of {group.facts['photograph']} pixels, {group.facts['crops']} crops each."


def compiled_rates(group: Group) -> str:
    """Crops a second, plain and compiled."""
    rows = []
    for plain in compiled.PASSES:
        faster = compiled.compiled_name(plain)
        rows.append([plain, cell(group.rate(plain)), cell(group.rate(faster)), cell(group.speedup(faster, plain))])
    calls = "; ".join(f"{name} {number(seconds)}" for name, seconds in group.facts["first_call"].items())
    shown = table(["", "crops a second", "compiled", "compiled over plain"], rows)
    return f"{shown}\n\nSeconds of the first call, which compiles: {calls}."


def report_times(group: Group) -> str:
    """Seconds of the report."""
    rows = [[work, cell(group.time(work))] for work in (report_time.TABLES, report_time.PAGE)]
    facts = group.facts
    return f"{table(['', 'seconds'], rows)}\n\n{facts['records']} records of {facts['photographs']} photographs."


def startup_times(group: Group) -> str:
    """Seconds of commands."""
    return table(["command", "seconds"], [[f"`{work}`", cell(group.time(work))] for work in startup.COMMANDS])


def memory_peaks(group: Group) -> str:
    """MiB, and over the baseline of the same format."""
    peaks = group.facts["peak"]
    rows = []
    for work, peak in peaks.items():
        unit = peaks.get(" | ".join([BASELINE, *work.split(" | ")[1:]]))
        rows.append([work.replace(" | ", ", "), number(peak), number(peak / unit) if unit else DASH])
    return table(["step", "MiB above the imports", "over the baseline's"], rows)


def evaluation_times(group: Group) -> str:
    """Seconds and rates of three ways to evaluate."""
    works = (two_processes.ONE_CORE, two_processes.TWO_THREADS, two_processes.TWO_PROCESSES)
    rows = [
        [work, cell(group.time(work)), cell(group.speedup(work, two_processes.ONE_CORE))]
        for work in works
        if work in group.seconds
    ]
    return table(["", "seconds", "rate over one process on one core"], rows)


TABLES: dict[str, tuple[str, Callable[[Group], str]]] = {
    "nt-step": ("NT step", nt_steps),
    "penalty-share": ("Cost of the penalty", penalty_shares),
    "attack-rate": ("Attacks", attack_rates),
    "peers": ("Attacks of other packages", peer_rates),
    "loader": ("Loader", loader_rates),
    "scoring": ("Scoring", scoring_rates),
    "compiled": ("torch.compile", compiled_rates),
    "report": ("Report", report_times),
    "startup": ("Start-up", startup_times),
    "memory": ("Memory", memory_peaks),
    "two-processes": ("Evaluation in two processes", evaluation_times),
}


def section(run: Measurements, name: str, level: int = 3) -> str:
    """A section with its heading; empty if nothing of it was measured."""
    title, render = TABLES[name]
    parts = []
    for group in run.groups(name):
        shown = f"Not measured: {group.skipped}." if group.skipped else render(group)
        parts.append(f"**{group.name}**\n\n{shown}")
    return "\n\n".join([f"{'#' * level} {title}", *parts]) if parts else ""
