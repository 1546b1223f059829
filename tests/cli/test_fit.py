"""`robustiqa fit`: what it writes is what `robustiqa attack` takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustiqa.core.tensor_files import file_hash, read_tensors
from tests.cli.conftest import LIGHT, Run


def test_what_is_fitted_can_be_attacked_with(
    run: Run, weights: dict[str, Path], dataset: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "uap"
    asked = ("fit", "uap", "--weights", weights["base"], "--data", dataset, "--out", out, "--epochs", "1")
    ran = run(*asked, "--set", "goals=raise", "--set", "learning_rate=0.02", "--batch-size", "3", "--json")
    assert (ran.code, ran.err) == (0, "")
    file = out / "attack.safetensors"
    assert ran.document["weights"] == str(file)
    assert ran.document["sha256"] == file_hash(file)
    source = ran.document["source"]
    assert (source["label"], source["backbone"], source["initialization"]) == ("base", LIGHT, "unknown")
    assert source["sha256"] == file_hash(weights["base"])
    assert read_tensors(file).tensors["raise.perturbation"].shape == (3, 224, 224)

    again = run(*asked, "--set", "goals=raise", "--set", "learning_rate=0.02", "--batch-size", "3")
    assert again.code == 0
    assert again.out.startswith(f"{file}, mean score in the last epoch: raise ")

    attack = ("attack", photos / "ann.png", "--weights", weights["base"], "--attack", f"uap:weights={out}", "--json")
    done = run(*attack, "--objective", "raise")
    assert done.code == 0, done.err
    assert done.document["attack"] == f"uap(eps=4/255, weights={file_hash(file)})"
    assert done.document["photos"][0]["results"]["base"]["levels"] == 4
    refused = run(*attack[:-1])
    assert refused.code == 2
    assert refused.err.startswith(f"{file} was fitted to raise scores only;")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("fgsm",), "unknown fitting 'fgsm'. Known: facpa, uap."),
        (("uap", "--set", "kind=best"), "kind must be one of optimized, cumulative, generative, got 'best'."),
        (("uap", "--set", "eps=3/255", "--eps", "3/255"), "eps is given twice, with --set and as --eps; drop one."),
        (("uap", "--weights", "nowhere.safetensors"), "there is no weights file nowhere.safetensors."),
        (("uap", "--set", "part=tset"), " has no part 'tset'; it has: all, train, validation, test."),
    ],
)
def test_a_wrong_request_is_one_sentence(
    run: Run, dataset: Path, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    ran = run("fit", *arguments, "--data", dataset, "--out", tmp_path / "out")
    assert ran.code == 2
    assert sentence in ran.err
    assert ran.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
