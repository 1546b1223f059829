"""The pair of models in the package is the one whose hashes were committed with it, and is small."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from robustiqa.models.files import shipped_weights
from robustiqa.models.loading import load_model
from robustiqa.models.weights import read_weights

NAMES = ["demo-baseline", "demo-nt"]
MOST_BYTES = 8_000_000


def test_the_pair_ships_and_is_small() -> None:
    assert sorted(shipped_weights()) == NAMES
    assert sum(path.stat().st_size for path in shipped_weights().values()) <= MOST_BYTES


def test_the_committed_hashes_are_those_of_the_files() -> None:
    folder = next(iter(shipped_weights().values())).parent
    lines = [line.split() for line in (folder / "SHA256SUMS").read_text().splitlines()]
    committed = {name: digest for digest, name in lines}
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in shipped_weights().values()}
    assert found == committed


@pytest.mark.parametrize("name", NAMES)
def test_they_say_that_they_were_trained_on_offline_pictures_only(name: str) -> None:
    path: Path = shipped_weights()[name]
    training = read_weights(path).metadata["training"]
    assert training["dataset"]["name"] == "builtin"
    assert training["model"]["backbone_weights"] == ""
    assert (training["penalty"]["weight"] > 0) == (name == "demo-nt")
    assert not load_model(name).training
