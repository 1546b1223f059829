"""Our I-FGSM-10 against torchattacks' PGD and foolbox's LinfPGD: the same score, as many gradients, the same network.

All start at the clean image and take ten steps with weight gradients turned off, whoever's code it is. Ours is timed up
to its last iterate, as theirs are, and once more with its result scored. Runs in the environment that has the peers
(`make peers`), on the packages that everything else is measured with. Adapters are first checked on a linear score.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from importlib import metadata

from benchmarks.attack_rate import ALONE, EPS, STEPS, WHOLE, gradients_alone, with_result
from benchmarks.cases import CASES, QUICK, Case, Planned, Settings, Works
from benchmarks.children import ask
from benchmarks.peers import (
    PACKAGES,
    Climb,
    check_on_a_linear_score,
    installed,
    of_foolbox,
    of_torchattacks,
    scores_of,
)
from benchmarks.store import Group, SkippedError
from benchmarks.timing import Effort, Work, interleaved
from robustiqa.core.attack import frozen_weights

TORCHATTACKS, FOOLBOX = "torchattacks PGD", "foolbox LinfPGD"


def measure_here(case: Case, settings: Settings) -> Group:
    """One network, in an environment that has the peers; those that lack are left out."""
    images = case.crops(settings.device)
    model = case.build("channels_last", settings.device)
    adapters: dict[str, Climb] = {}
    if installed("torchattacks"):
        check_on_a_linear_score(TORCHATTACKS, of_torchattacks(None, random_start=False))
        adapters[TORCHATTACKS] = of_torchattacks(None, random_start=False, clean_scores=scores_of(model, images))
    if installed("foolbox"):
        adapters[FOOLBOX] = of_foolbox(None, random_start=False)
        check_on_a_linear_score(FOOLBOX, adapters[FOOLBOX])

    def of_peer(climb: Climb) -> Work:
        def work() -> None:
            with frozen_weights(model):
                climb(model, images, -1.0, EPS, STEPS, 0)

        return work

    works: Works = {ALONE: gradients_alone(model, images), WHOLE: with_result(model, images)}
    works |= {name: of_peer(climb) for name, climb in adapters.items()}
    seconds = interleaved(works, settings.effort, settle=settings.settle)
    facts = {"versions": {package: metadata.version(package) for package in PACKAGES if installed(package)}}
    return Group(case.name, seconds, items=dict.fromkeys(works, float(case.batch * STEPS)), facts=facts)


def measure(name: str, case: Case, settings: Settings) -> Group:
    """One network, in the peers' environment.

    Raises:
        SkippedError: if there is none.
    """
    if not settings.peers:
        raise SkippedError("there is no environment with torchattacks and foolbox; `make peers` makes it")
    found = ask(
        "benchmarks.peer_rate", name, settings.device, json.dumps(asdict(settings.effort)), python=settings.peers
    )
    return Group(case.name, **found)


def plan(settings: Settings) -> Iterator[Planned]:
    """HyperIQA, light and full."""
    known = QUICK if settings.quick else CASES
    for case in settings.main_cases:
        name = next(name for name, other in known.items() if other == case)
        yield Planned(case.name, partial(measure, name, case, settings))


if __name__ == "__main__":
    asked, place, how_often = sys.argv[1:]
    here = Settings(device=place, effort=Effort(**json.loads(how_often)))
    measured = measure_here({**CASES, **QUICK}[asked], here)
    print(json.dumps(measured.to_dict()))
