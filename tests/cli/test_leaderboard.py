"""`robustiqa leaderboard`: run folders, exported records and cards in, one ranking out."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from robustiqa.cli import runs
from robustiqa.core.run_folder import open_run_folder
from robustiqa.evaluation.exported import export
from robustiqa.evaluation.records import RecordStore
from robustiqa.evaluation.views import Evaluation
from tests.cli.conftest import Run
from tests.evaluation.synthetic import FGSM_LABEL, MODELS, synthetic

PAIR = {name: MODELS[name] for name in ("base-1", "nt-1")}
OTHERS = {name: MODELS[name] for name in ("base-2", "nt-2")}


def write_run(folder: Path, evaluation: Evaluation, **notes: Any) -> Path:
    """A run folder as `robustiqa evaluate` leaves it."""
    open_run_folder(folder, evaluation.info)
    RecordStore(folder / "records.jsonl").append(evaluation.records)
    runs.write_notes(folder, notes)
    return folder


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A run of two models."""
    return write_run(tmp_path / "mine", synthetic(12, models=PAIR))


def named(document: dict[str, Any]) -> list[str]:
    return [entry["model"] for entry in document["entries"]]


def test_run_folders_are_ranked_together(run: Run, mine: Path, tmp_path: Path) -> None:
    theirs = synthetic(12, models=OTHERS)  # the same opinions: the seed is the same
    ran = run("leaderboard", mine, write_run(tmp_path / "theirs", theirs), "--json")
    assert (ran.code, ran.err) == (0, "")
    changes = [entry["worst"][1]["change_over_spread"]["value"] for entry in ran.document["entries"]]
    assert changes == sorted(changes)
    assert set(named(ran.document)[:2]) == {"nt-1", "nt-2"}
    assert [entry["rank"] for entry in ran.document["entries"]] == [1, 2, 3, 4]
    assert (ran.document["norm"], ran.document["eps"]) == ("linf", pytest.approx(4 / 255, rel=1e-5))


def test_a_terminal_shows_the_ranking_and_what_was_flagged(run: Run, tmp_path: Path) -> None:
    wavers = {"nt-1": [["random_output", "nt-1 wavers."]]}
    ran = run("leaderboard", write_run(tmp_path / "run", synthetic(12, models=PAIR), probes=wavers))
    lines = ran.out.splitlines()
    assert lines[0] == "Leaderboard"
    assert lines[2].startswith("1. base-1") and lines[2].endswith("none")
    assert lines[3] == "Unreliable"
    assert lines[4].startswith("  2. nt-1") and lines[4].endswith("unreliable: random output")
    assert lines[-1] == "nt-1 (00000000), random output: nt-1 wavers."


def test_cards_come_from_records_byte_for_byte_and_rank_the_same(run: Run, mine: Path, tmp_path: Path) -> None:
    first = run("leaderboard", mine, "--out", tmp_path / "first", "--json").document
    export(runs.read_runs([mine]), tmp_path / "exported")
    second = run("leaderboard", tmp_path / "exported", "--out", tmp_path / "second", "--json").document
    assert first["entries"] == second["entries"]
    for card, again in zip(first["cards"], second["cards"], strict=True):
        assert Path(card).read_bytes() == Path(again).read_bytes()
    for given in ([tmp_path / "first"], [tmp_path / "first" / "cards"], first["cards"]):
        assert run("leaderboard", *given, "--json").document["entries"] == first["entries"]
    text = (tmp_path / "first" / "leaderboard.md").read_text(encoding="utf-8")
    assert text == (tmp_path / "second" / "leaderboard.md").read_text(encoding="utf-8")
    assert "| 1. nt-1 |" in text
    assert first["page"] == str(tmp_path / "first" / "leaderboard.html") and Path(first["page"]).is_file()


@pytest.mark.parametrize("below", ["evaluation", "kept"])
def test_records_are_found_where_demo_and_reproduce_leave_them(run: Run, tmp_path: Path, below: str) -> None:
    evaluation = synthetic(12, models=PAIR)
    if below == "kept":
        export(evaluation, tmp_path / "run" / below)
    else:
        write_run(tmp_path / "run" / below, evaluation)
    assert named(run("leaderboard", tmp_path / "run", "--json").document) == ["nt-1", "base-1"]


def test_a_run_given_twice_counts_once(run: Run, mine: Path) -> None:
    assert named(run("leaderboard", mine, mine, "--json").document) == ["nt-1", "base-1"]


def test_another_budget_may_rank(run: Run, mine: Path) -> None:
    assert run("leaderboard", mine, "--eps", "0.01", "--json").document["eps"] == 0.01
    ran = run("leaderboard", mine, "--eps", "8/255")
    assert (ran.code, ran.out) == (2, "")
    assert "they have: linf 0.01, linf 4/255." in ran.err


def test_a_model_that_met_only_some_attacks_of_its_run_is_left_out_and_named(run: Run, tmp_path: Path) -> None:
    evaluation = synthetic(12, models=PAIR | OTHERS)
    fewer = [r for r in evaluation.records if r.scored_by != "base-2" or r.attack in ("none", FGSM_LABEL)]
    ran = run("leaderboard", write_run(tmp_path / "run", replace(evaluation, records=tuple(fewer))), "--json")
    assert ran.err == "base-2 (00000000) met only some of its run's attacks and is left out.\n"
    assert ran.document["left_out"] == ["base-2"]
    assert "base-2" not in named(ran.document)


def test_mixed_protocols_are_one_sentence(run: Run, mine: Path, tmp_path: Path) -> None:
    other = synthetic(10, models=OTHERS)
    other.info["dataset"].update(name="livec", fingerprint="f" * 16)
    ran = run("leaderboard", mine, write_run(tmp_path / "other", other), "--out", tmp_path / "board")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.count("\n") == 1
    assert (
        "of different protocols and can't be ranked together: the dataset is made-up 0123456789abcdef and " in ran.err
    )
    assert "the number of photographs is 12 and 10; " in ran.err
    assert not (tmp_path / "board").exists()


def test_bad_input_is_one_sentence(run: Run, mine: Path, tmp_path: Path) -> None:
    card = Path(run("leaderboard", mine, "--out", tmp_path / "board", "--json").document["cards"][0])
    whole = card.read_text(encoding="utf-8")
    cut, later = tmp_path / "cut.json", tmp_path / "later.json"
    cut.write_text(whole[:100])
    later.write_text(json.dumps({**json.loads(whole), "schema_version": 2}))
    empty, torn = tmp_path / "empty", tmp_path / "torn"
    empty.mkdir()
    export(synthetic(12, models=PAIR), torn)
    (torn / "nt-1.jsonl.gz").write_bytes((torn / "nt-1.jsonl.gz").read_bytes()[:200])
    lines = (mine / "records.jsonl").read_text().splitlines()
    (mine / "records.jsonl").write_text(
        "\n".join(line.replace('"schema_version":1', '"schema_version":7') for line in lines)
    )
    for path, sentence in {
        tmp_path / "nowhere": f"there is no {tmp_path / 'nowhere'}; give run folders, exported records or cards.",
        empty: f"{empty} is no run that was evaluated: it holds neither records nor cards; give the --out folder of "
        "`robustiqa evaluate`, `demo`, `reproduce` or `leaderboard`.",
        cut: f"{cut} is damaged or no card (it is not JSON); make it anew from its records.",
        later: f"{later} is a card of schema version 2, and this version reads 1; use the version that wrote it.",
        torn: f"the records in {torn} are damaged (EOFError); evaluate again.",
        mine: "records of schema version 7 can't be read by this version, which writes 1; use the version that wrote "
        "them.",
    }.items():
        ran = run("leaderboard", path)
        assert (ran.code, ran.out, ran.err) == (2, "", f"{sentence}\n")


ONLY_CARDS = """
import sys
from robustiqa.cli.app import main
assert main(["leaderboard", sys.argv[1]]) == 0
assert "torch" not in sys.modules
"""


def test_cards_are_ranked_without_torch(run: Run, mine: Path, tmp_path: Path) -> None:
    card = run("leaderboard", mine, "--out", tmp_path / "board", "--json").document["cards"][0]
    done = subprocess.run([sys.executable, "-c", ONLY_CARDS, card], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Leaderboard\n")
