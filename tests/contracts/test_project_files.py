"""The lock, the citation and the package metadata say the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import InvalidRequirement, Requirement

ROOT = Path(__file__).resolve().parents[2]
LOCKED_EXTRAS = ("dev", "docs", "kornia", "tensorboard")


def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def pins(lock: str) -> list[Requirement]:
    """Each line of a lock as an exact requirement; refuses options, addresses and open versions."""
    found = [Requirement(line) for line in lock.splitlines()]
    for requirement in found:
        exact = [part.operator for part in requirement.specifier] == ["=="]
        if not exact or requirement.url is not None:
            raise ValueError(f"{requirement} is not an exact version")
    return found


def unmet(wanted: list[str], locked: list[Requirement]) -> list[str]:
    """Requirements that no pin names, or that a pin of the same name does not satisfy."""
    found = []
    for requirement in map(Requirement, wanted):
        versions = [next(iter(pin.specifier)).version for pin in locked if pin.name == requirement.name]
        if not versions or not all(requirement.specifier.contains(version) for version in versions):
            found.append(f"{requirement} is locked to {versions}")
    return found


def test_the_lock_pins_every_dependency_within_its_bounds() -> None:
    extras = project()["optional-dependencies"]
    wanted = [*project()["dependencies"], *(line for extra in LOCKED_EXTRAS for line in extras[extra])]
    assert unmet(wanted, pins((ROOT / "requirements.lock").read_text(encoding="utf-8"))) == []


def test_the_lock_leaves_pyiqa_out() -> None:
    assert "pyiqa" not in {pin.name for pin in pins((ROOT / "requirements.lock").read_text(encoding="utf-8"))}


@pytest.mark.parametrize(
    "line", ["torch>=2", "torch", "torch @ https://host/torch.whl", "--index-url https://host", "-e ."]
)
def test_a_lock_line_that_is_not_an_exact_version_is_refused(line: str) -> None:
    with pytest.raises((ValueError, InvalidRequirement)):
        pins(f"numpy==2.4.6\n{line}")


@pytest.mark.parametrize(("wanted", "lock"), [("torch>=2.4", "torch==2.3"), ("torch>=2.4", "timm==1.0")])
def test_a_missing_or_outdated_pin_is_found(wanted: str, lock: str) -> None:
    assert len(unmet([wanted], pins(lock))) == 1


def test_the_citation_names_the_version_and_license_of_the_package() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    fields = dict(re.findall(r"^(version|license): (.+)$", citation, flags=re.MULTILINE))
    assert fields == {"version": project()["version"], "license": project()["license"]}
