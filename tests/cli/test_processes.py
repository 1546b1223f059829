"""Verbs under torchrun: processes share the work, the first one prints, a failing one ends all with one sentence."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from robustiqa.cli import processes
from robustiqa.cli.app import main
from robustiqa.cli.devices import find_device, training_device
from robustiqa.evaluation.records import read_records
from tests.cli.conftest import Ran, Run
from tests.cli.test_reproduce import SPEC
from tests.cli.test_train import RECIPE
from tests.two_processes import ROOT, Ended, run_in_two

SECOND = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork to start two processes at the cost of one")


@pytest.fixture(scope="module")
def broken(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset with an unreadable photograph: the last of the test part, so of the second process."""
    folder = tmp_path_factory.mktemp("broken") / "photos"
    shutil.copytree(dataset, folder)
    (folder / "p17.png").write_text("not an image")
    return folder


@pytest.fixture(scope="module")
def evaluation(weights: dict[str, Path]) -> tuple[str, ...]:
    """An evaluation, but for dataset and folder."""
    options = ("--attack", "fgsm:eps=4/255", "--no-report", "--device", "cpu", "--workers", "1")
    return ("evaluate", "--weights", str(weights["base"]), *options)


@dataclass(frozen=True)
class Both:
    """What two processes did, command by command."""

    folder: Path
    ended: Ended
    places: dict[str, int]

    def ran(self, name: str) -> list[Ran]:
        """How a command ended in each process; code -1 where it did not."""
        found = []
        for rank in "01":
            own = self.folder / "ran" / str(self.places[name]) / rank
            code = int((own / "code").read_text()) if (own / "code").is_file() else -1
            found.append(Ran(code, (own / "out").read_text(), (own / "err").read_text()))
        return found


@pytest.fixture(scope="module")
def both(dataset: Path, broken: Path, evaluation: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Command lines in two processes, one after the other; the last one ends them."""
    folder = tmp_path_factory.mktemp("both")
    commands: dict[str, list[Any]] = {
        "evaluate": [*evaluation, "--data", dataset, "--out", folder / "run", "--json"],
        "list": ["list", "--json"],
        "shard": [*evaluation, "--data", dataset, "--out", folder / "shard", "--shard", "1/2"],
        "unknown recipe": ["train", "no-such-recipe", "--data", dataset, "--out", folder / "train"],
        "help": ["train", "--help"],
        "broken": [*evaluation, "--data", broken, "--out", folder / "broken"],
    }
    listed = json.dumps([[str(argument) for argument in command] for command in commands.values()])
    ended = run_in_two(folder / "processes", "tests.cli.one_of_two:run_commands", folder / "ran", listed)
    return Both(folder, ended, {name: place for place, name in enumerate(commands)})


@needs_fork
def test_two_processes_evaluate_what_one_evaluates_and_the_first_reports(
    both: Both, run: Run, evaluation: tuple[str, ...], dataset: Path, tmp_path: Path
) -> None:
    first, second = both.ran("evaluate")
    assert (first.code, second) == (0, Ran(0, "", "")), first.err
    alone = run(*evaluation, "--data", dataset, "--out", tmp_path, "--json").document
    together = first.document
    assert together["complete"] is alone["complete"] is True
    assert (together["records"], together["tables"]) == (alone["records"], alone["tables"])
    for name in ("records.jsonl", "validation/records.jsonl", "notes.json", "run.json"):
        texts = [(folder / name).read_text().splitlines() for folder in (both.folder / "run", tmp_path)]
        assert sorted(texts[0]) == sorted(texts[1]), name


@needs_fork
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("list", "`list` runs in one process; torchrun is for train, evaluate, reproduce.\n"),
        ("shard", "--shard is for processes that are started one by one; leave it out under torchrun.\n"),
        ("unknown recipe", "unknown recipe 'no-such-recipe'. Known: "),
    ],
)
def test_a_wrong_request_is_said_once_and_ends_all_processes(name: str, sentence: str, both: Both) -> None:
    ran = both.ran(name)
    assert [one.code for one in ran] == [2, 2]
    said = "".join(one.err for one in ran)
    assert said.startswith(sentence)
    assert said.count("\n") == 1
    if name == "list":
        documents = [one for one in ran if one.out]
        assert [one.document["error"] for one in documents] == [sentence.rstrip()]


@needs_fork
def test_help_is_shown_once(both: Both) -> None:
    first, second = both.ran("help")
    assert first.out.startswith("Usage: robustiqa train")
    assert second == Ran(0, "", "")


@needs_fork
def test_a_process_that_fails_ends_all_with_its_sentence_and_code(both: Both) -> None:
    first, second = both.ran("broken")
    sentence = "p17.png is not a JPEG, PNG, BMP, WebP or TIFF file, whatever its name; convert or remove it "
    sentence += "(1 unusable in all; `robustiqa data check` names each).\n"
    assert second.code == 2
    assert second.err.endswith(sentence) and second.err.count("\n") == 1
    assert first == Ran(-1, "", "")  # ended while it waited
    assert both.ended.codes[1] == 2 and both.ended.codes[0] < 0
    kept = both.folder / "broken" / "records.jsonl"
    done = {record.key for record in read_records(kept)} if kept.exists() else set()
    assert done <= {"p02.png", "p08.png", "p14.png"}  # the failing one had begun with none of its own


def test_shards_started_one_by_one_end_in_the_report_of_one_process(
    run: Run, evaluation: tuple[str, ...], dataset: Path, tmp_path: Path
) -> None:
    asked = (*evaluation, "--data", dataset, "--out", tmp_path / "run")
    first = run(*asked, "--shard", "2/2")
    sentence = f"shard 2/2 is done: {tmp_path / 'run'} holds 9 of 18 records; the last shard reports.\n"
    assert (first.code, first.out, first.err) == (0, sentence, "")
    again = run(*asked, "--shard", "2/2", "--json").document
    assert (again["complete"], again["records"]) == (False, 9)
    last = run(*asked, "--shard", "1/2", "--json").document
    alone = run(*evaluation, "--data", dataset, "--out", tmp_path / "alone", "--json").document
    assert (last["complete"], last["records"], last["tables"]) == (True, 18, alone["tables"])
    wrong = run(*asked, "--shard", "3/2")
    assert (wrong.code, wrong.err) == (2, "a shard is one of 1 to n, such as 2/4, got 3/2.\n")


def test_the_first_process_reports_once_the_others_are_done(
    run: Run, evaluation: tuple[str, ...], dataset: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = [*evaluation, "--data", str(dataset), "--out", str(tmp_path), "--json"]
    waited: list[float] = []

    def meanwhile(seconds: float) -> None:
        waited.append(seconds)
        monkeypatch.setenv("RANK", "1")
        assert main(asked) == 0
        monkeypatch.setenv("RANK", "0")

    monkeypatch.setattr(processes, "time", SimpleNamespace(sleep=meanwhile))
    monkeypatch.setenv("WORLD_SIZE", "2")
    document = run(*asked).document
    assert waited == [processes.WAIT]
    assert (document["complete"], document["records"]) == (True, 18)


def test_each_process_of_a_machine_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [str(find_device(name)) for name in ("auto", "cuda", "cuda:1", "cpu")] == ["cuda", "cuda", "cuda:1", "cpu"]
    for name, value in {**SECOND, "WORLD_SIZE": "8", "RANK": "5"}.items():
        monkeypatch.setenv(name, value)
    assert [str(find_device(name)) for name in ("auto", "cuda", "cpu")] == ["cuda:1", "cuda:1", "cpu"]
    assert training_device("auto") == "cuda"  # Accelerate picks the same
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert str(find_device("auto")) == "cuda:1"


def test_an_error_of_the_transport_says_that_another_process_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "[/pytorch/gloo/pair.cc:534] Connection closed by peer [127.0.0.1]:2947"
    assert processes.explain_lost(said) is None
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert processes.explain_lost(said) == "another process of this run has ended; its own sentence says why."
    assert processes.explain_lost("division by zero") is None


def test_without_a_launcher_that_lets_them_agree_every_process_says_why_it_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in SECOND.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("TORCHELASTIC_ERROR_FILE", raising=False)
    assert processes.speaks() and processes.speaks()
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "nowhere" / "0" / "error.json"))
    assert processes.speaks() and processes.speaks()
    (tmp_path / "attempt_0").mkdir()
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "attempt_0" / "0" / "error.json"))
    assert [processes.speaks(), processes.speaks()] == [True, False]


def torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    """`torchrun --nproc-per-node 2 -m robustiqa ...`."""
    launched = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src"), "CUDA_VISIBLE_DEVICES": ""}
    command = [*launched, "-m", "robustiqa", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_torchrun_trains_one_model_and_prints_once(dataset: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE.replace("batch_size = 3", "batch_size = 4"))
    done = torchrun("train", recipe, "--data", dataset, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "run" / "model.safetensors"))
    assert done.stdout.count("\n") == 1
    assert done.stderr.count("epoch 1/2: ") == done.stderr.count("epoch 2/2: ") == 1
    assert "Warning" not in done.stderr


@pytest.mark.slow
def test_torchrun_ends_with_one_sentence_where_one_process_fails(
    broken: Path, evaluation: tuple[str, ...], tmp_path: Path
) -> None:
    done = torchrun(*evaluation, "--data", broken, "--out", tmp_path)
    assert done.returncode == 1  # torchrun's; the process's own was 2
    assert done.stderr.count("is not a JPEG, PNG, BMP, WebP or TIFF file") == 1


@pytest.mark.slow
def test_torchrun_shares_the_pieces_of_an_experiment(dataset: Path, run: Run, tmp_path: Path) -> None:
    experiment = tmp_path / "tiny.toml"
    experiment.write_text(SPEC)
    asked = ("reproduce", experiment, "--data", dataset, "--device", "cpu")
    done = torchrun(*asked, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("report.html") == 1
    alone = run(*asked, "--out", tmp_path / "alone")
    assert alone.code == 0, alone.err
    for path in sorted((tmp_path / "alone" / "kept").glob("*.jsonl.gz")):
        both = (path, tmp_path / "run" / "kept" / path.name)
        lines = [sorted(record.to_line() for record in read_records(file)) for file in both]
        assert lines[0] == lines[1], path.name  # their order depends on which piece was done first
