"""Measures speed and memory, section by section, into one file of JSON; prints Markdown.

    python -m benchmarks.run --out runs/bench.json
    python -m benchmarks.run --out runs/bench.json --only nt-step --models hyperiqa-full

What the file holds already is not measured again, so a long run can be cut into pieces: the same file, other sections.
`--quick` takes small sizes and shows in a minute that every section works.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
from pathlib import Path
from time import perf_counter

import torch

from benchmarks.cases import CASES, QUICK, Plan, Settings
from benchmarks.rendering import part
from benchmarks.store import Group, SkippedError, Store, describe_machine
from benchmarks.timing import Effort

SECTIONS = {
    "startup": "benchmarks.startup",
    "nt-step": "benchmarks.nt_step",
    "penalty-share": "benchmarks.penalty_share",
    "attack-rate": "benchmarks.attack_rate",
    "peers": "benchmarks.peer_rate",
    "loader": "benchmarks.loader",
    "scoring": "benchmarks.scoring",
    "compiled": "benchmarks.compiled",
    "report": "benchmarks.report_time",
    "memory": "benchmarks.memory",
    "two-processes": "benchmarks.two_processes",
}
PEERS = Path(".venv-peers/bin/python")
OUT, QUICK_OUT = Path("runs/bench.json"), Path("runs/bench-quick.json")
QUICK_EFFORT = Effort(rounds=1, warm_up=False)


def plan_of(section: str) -> Plan:
    """What a section measures."""
    plan: Plan = importlib.import_module(SECTIONS[section]).plan
    return plan


def fill(store: Store, sections: list[str], settings: Settings) -> list[str]:
    """Measures what the file lacks; returns the names of groups that failed, whose errors stand on stderr."""
    failed = []
    for section in sections:
        for planned in plan_of(section)(settings):
            if store.has(section, planned.name):
                continue
            _say(f"{section}: {planned.name} ... ")
            start = perf_counter()
            try:
                group = planned.run()
            except SkippedError as why:
                group = Group(planned.name, skipped=str(why))
            except Exception:  # the others may still be measured
                _say(f"failed\n{traceback.format_exc()}")
                failed.append(f"{section}: {planned.name}")
                continue
            store.put(section, group)
            _say(f"skipped, {group.skipped}\n" if group.skipped else f"{perf_counter() - start:.0f} s\n")
    return failed


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes; shows that everything works")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="a section; repeatable; default all")
    parser.add_argument("--again", action="append", choices=SECTIONS, default=[], help="measure a section anew")
    parser.add_argument(
        "--models", action="append", choices=[*CASES, *QUICK], default=[], help="whose steps to time; repeatable"
    )
    parser.add_argument("--data", default="builtin", help="dataset that the loader reads, as in robustiqa train")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=Effort.rounds, help="at most, of each group")
    parser.add_argument("--seconds", type=float, default=Effort.seconds, help="after which a group begins no round")
    parser.add_argument("--peers", type=Path, default=PEERS, help="Python that has torchattacks and foolbox")
    parser.add_argument("--out", type=Path, help=f"default {OUT}, with --quick {QUICK_OUT}")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Measures and prints."""
    options = parse(arguments)
    settings = Settings(
        quick=options.quick,
        device=options.device,
        models=tuple(options.models),
        data=options.data,
        peers=str(options.peers.absolute()) if options.peers.is_file() else "",
        effort=QUICK_EFFORT if options.quick else Effort(options.rounds, seconds=options.seconds),
    )
    device = torch.cuda.get_device_name(options.device) if options.device != "cpu" else "cpu"
    shared = {"quick": options.quick, "device": device, "threads": torch.get_num_threads()}
    path = options.out or (QUICK_OUT if options.quick else OUT)
    store = Store(path, shared, describe_machine())
    for section in options.again:
        store.forget(section)
    failed = fill(store, options.only or list(SECTIONS), settings)
    print(part(path.stem, store.measurements()))
    if failed:
        raise SystemExit(f"{len(failed)} failed: {'; '.join(failed)}.")


if __name__ == "__main__":
    main()
