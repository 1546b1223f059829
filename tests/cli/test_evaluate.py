"""`robustiqa evaluate` and `report`: resumable records, and the same tables from them again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from robustiqa.cli.app import main
from robustiqa.core.model import QualityModel
from robustiqa.evaluation import probe
from robustiqa.evaluation import run as evaluation_run
from robustiqa.evaluation.flags import Flag
from robustiqa.evaluation.records import RecordStore
from tests.cli.conftest import Run

ATTACKS = ("--attack", "fgsm:eps=4/255", "--attack", "random_sign:eps=4/255")


@pytest.fixture(scope="module")
def asked(dataset: Path, weights: dict[str, Path]) -> tuple[str, ...]:
    """An evaluation of both models, but for its folder."""
    labeled = ("--weights", f"plain={weights['base']}", "--weights", weights["nt"])
    compared = ("--base", "plain", "--defended", "nt", "--gallery", "1", "--batch-size", "6", "--device", "cpu")
    return tuple(map(str, ("evaluate", "--data", dataset, *labeled, *ATTACKS, *compared)))


@pytest.fixture(scope="module")
def evaluated(asked: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its run folder."""
    folder = tmp_path_factory.mktemp("evaluated") / "run"
    assert main([*asked, "--out", str(folder)]) == 0
    return folder


def test_the_folder_holds_records_tables_and_a_page(evaluated: Path) -> None:
    records = list(RecordStore(evaluated / "records.jsonl"))
    assert len(records) == 6 * 2 * (1 + 2 + 2)  # photographs, models, clean and two directions of two attacks
    assert {record.scored_by for record in records} == {"plain", "nt"}
    assert {record.attack for record in records} == {"none", "fgsm(eps=4/255)", "random_sign(eps=4/255)"}
    page = (evaluated / "report.html").read_text(encoding="utf-8")
    assert "data:image/png;base64" in page  # the gallery
    assert (evaluated / "tables" / "honest.csv").is_file() and (evaluated / "tables" / "honest.tex").is_file()
    notes = json.loads((evaluated / "notes.json").read_text())
    assert set(notes["calibration"]) == {"plain", "nt"}
    assert notes["probes"] == {"plain": [], "nt": []}  # both were asked, and nothing was found


def test_what_a_probe_finds_is_kept_and_printed(
    run: Run, asked: tuple[str, ...], evaluated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def suspicious(model: QualityModel, images: Tensor, *, label: str) -> list[Flag]:
        return [Flag("random_output", label, f"{label} wavers.")] if label == "nt" else []

    kept = (evaluated / "notes.json").read_bytes()
    monkeypatch.setattr(probe, "probe_model", suspicious)
    ran = run(*asked, "--no-report", "--out", evaluated, "--json")
    assert "Flag raised, random output: nt wavers." in ran.document["findings"]
    raised = [(flag["name"], flag["model"]) for flag in ran.document["flags"]]
    assert raised == [("random_output", "nt"), ("shrunk_scores", "nt")]  # it is the other at half its steepness
    assert json.loads((evaluated / "notes.json").read_text())["probes"]["nt"] == [["random_output", "nt wavers."]]
    (evaluated / "notes.json").write_bytes(kept)


def test_running_again_makes_no_record_anew_and_prints_the_same(
    run: Run, asked: tuple[str, ...], evaluated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a record was made again")

    monkeypatch.setattr(evaluation_run, "run_batch", refuse)
    ran = run(*asked, "--no-report", "--out", evaluated)
    assert ran.code == 0
    report = run("report", evaluated)
    assert report.code == 0
    assert report.out.splitlines()[:-1] == ran.out.splitlines()[:-1]
    assert report.out.splitlines()[-1] == str(evaluated / "report.html")


def test_the_json_document_holds_the_tables_numbers(run: Run, evaluated: Path, tmp_path: Path) -> None:
    document = run("report", evaluated, "--out", tmp_path, "--json").document
    tables = {table["name"]: table for table in document["tables"]}
    (spread,) = [row for row in tables["clean"]["rows"] if row["row"].startswith("Spread")]
    records = [record for record in RecordStore(evaluated / "records.jsonl") if record.attack == "none"]
    scores = [record.clean_score for record in records if record.scored_by == "plain"]
    mean = sum(scores) / len(scores)
    expected = (sum((score - mean) ** 2 for score in scores) / (len(scores) - 1)) ** 0.5
    population = expected * ((len(scores) - 1) / len(scores)) ** 0.5
    assert spread["cells"][0]["value"] in (pytest.approx(expected), pytest.approx(population))
    assert document["report"] == str(tmp_path / "report.html")
    assert (tmp_path / "report.md").read_text().startswith("# ")


def test_report_compares_what_it_is_told_to(run: Run, evaluated: Path, tmp_path: Path) -> None:
    asked = ("report", evaluated, "--out", tmp_path, "--json")
    swapped = run(*asked, "--base", "nt", "--defended", "plain").document
    told = run(*asked).document

    def first_row(document: dict[str, Any]) -> list[float]:
        (clean,) = [table for table in document["tables"] if table["name"] == "clean"]
        return [cell["value"] for cell in clean["rows"][0]["cells"][:2]]

    assert first_row(swapped) == first_row(told)[::-1]


def test_another_request_for_the_same_folder_is_refused(run: Run, asked: tuple[str, ...], evaluated: Path) -> None:
    ran = run(*asked, "--small", "pad", "--out", evaluated)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f'{evaluated} holds another run (small is "refuse" there, "pad" now);')


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--attack", "fgms"), "unknown attack 'fgms'; did you mean 'fgsm'?"),
        (("--attack", "fgsm:eps=4"), "eps is in [0, 1] pixel units, got 4; did you mean '4/255'?"),
        (("--variant", "crops"), "unknown variant 'crops'; known: end_to_end, patchwise."),
        (("--part", "tests"), "dataset 'dataset0' has no part 'tests'; it has: all, train, validation, test."),
        (("--base", "plan"), "the comparison names 'plan', but the models are labeled plain, nt."),
        (("--control", "noise"), "--control takes NAME=LABEL, got 'noise'."),
        (("--weights", "nowhere.pth"), "there is no weights file nowhere.pth"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_writes_nothing(
    run: Run, asked: tuple[str, ...], tmp_path: Path, options: tuple[str, ...], sentence: str
) -> None:
    ran = run(*asked, "--out", tmp_path / "run", *options)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(sentence)
    assert ran.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("broken", ["p02.png", "p01.png"])  # of the part that is attacked; of the one to fit on
def test_an_unusable_photograph_is_named_before_anything_is_attacked_or_written(
    run: Run, asked: tuple[str, ...], dataset: Path, tmp_path: Path, broken: str
) -> None:
    copy, out = tmp_path / "copy", tmp_path / "run"
    shutil.copytree(dataset, copy)
    (copy / broken).write_text("text")
    (copy / "p03.png").write_text("of the part to train on, which nothing here reads")
    ran = run(*(str(copy) if word == str(dataset) else word for word in asked), "--out", out)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"{copy / broken} is not a JPEG, PNG, BMP, WebP or TIFF file")
    assert ran.err.endswith(" (1 unusable in all; `robustiqa data check` names each).\n")
    assert not out.exists()


def test_a_comparison_needs_both_sides(run: Run, evaluated: Path) -> None:
    ran = run("report", evaluated, "--base", "plain")
    assert (ran.code, ran.err) == (2, "a comparison needs --base LABEL and --defended LABEL; give both.\n")


def test_a_defense_can_be_named(run: Run, evaluated: Path, tmp_path: Path) -> None:
    asked = ("report", evaluated, "--base", "plain", "--out", tmp_path, "--json")
    assert "on plain" not in run(*asked, "--defended", "nt").document["findings"][1]
    assert any("+pooled" in sentence for sentence in run(*asked, "--defended", "pooled=nt").document["findings"])
    several = run(*asked, "--base", "plain", "--defended", "nt", "--defended", "pooled=nt")
    said = "--defended takes LABEL or NAME=LABEL, with one NAME for all seeds, got nt, pooled=nt.\n"
    assert (several.code, several.err) == (2, said)


def test_report_of_a_folder_without_records_is_one_sentence(run: Run, tmp_path: Path) -> None:
    ran = run("report", tmp_path)
    sentence = f"{tmp_path} holds no records; give the --out folder of `robustiqa evaluate`.\n"
    assert (ran.code, ran.out, ran.err) == (2, "", sentence)


def test_photographs_without_scores_are_compared_before_and_after(
    run: Run, photos: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    asked = ("evaluate", "--data", f"folder:{photos}", "--part", "all", "--weights", weights["base"], "--no-report")
    more = ("--attack", "ifgsm:eps=4/255,steps=1", "--objective", "rank_split", "--workers", "0", "--json")
    ran = run(*asked, *more, "--out", tmp_path / "run")
    assert ran.code == 0, ran.err
    assert ran.document["records"] == 2 * (1 + 2)
    assert ran.document["report"] is None
    assert not (tmp_path / "run" / "report.html").exists()
    assert {record.goal for record in RecordStore(tmp_path / "run" / "records.jsonl")} == {"none", "lower", "raise"}


def test_too_few_validation_photographs_for_a_curve_are_left_alone(
    run: Run, dataset: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    few = shutil.copytree(dataset, tmp_path / "few")
    ratings = (few / "ratings.csv").read_text(encoding="utf-8")
    (few / "ratings.csv").write_text(ratings.replace("validation", "train", 5), encoding="utf-8")
    asked = ("evaluate", "--data", few, "--weights", weights["base"], "--attack", "fgsm", "--no-report")
    ran = run(*asked, "--out", tmp_path / "run", "--json")
    assert ran.code == 0, ran.err
    assert ran.document["records"] == 6 * (1 + 2)
    assert not (tmp_path / "run" / "validation").exists()
    assert "calibration" not in json.loads((tmp_path / "run" / "notes.json").read_text())
