"""Small texts that options hold, labels of weights, and what JSON may hold."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from robustiqa.cli.output import Output, number, plain
from robustiqa.cli.parsing import parse_call, parse_pairs, parse_value
from robustiqa.cli.weights import label_weights
from robustiqa.core.errors import InputError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-3", 1e-3),
        ("true", True),
        ("False", False),
        ("4/255", "4/255"),
        ("no", "no"),
        ("1,5", (1, 5)),
        (" cosine ", "cosine"),
    ],
)
def test_values_are_numbers_truths_tuples_or_text(text: str, value: object) -> None:
    found = parse_value(text)
    assert found == value
    assert type(found) is type(value)


def test_calls_are_a_name_and_fields() -> None:
    assert parse_call("fgsm", "--attack") == ("fgsm", {})
    assert parse_call("ifgsm:eps=4/255,steps=10", "--attack") == ("ifgsm", {"eps": "4/255", "steps": 10})


@pytest.mark.parametrize("text", ["scale", "=3", " =3"])
def test_pairs_need_a_name_and_an_equals_sign(text: str) -> None:
    with pytest.raises(InputError) as error:
        parse_pairs([text], "--data-option")
    assert str(error.value) == f"--data-option takes NAME=VALUE, got {text!r}."


def test_weights_are_labeled_by_name_folder_or_word(tmp_path: Path) -> None:
    run = tmp_path / "nt"
    run.mkdir()
    (run / "model.safetensors").touch()
    assert label_weights(["demo-nt"]) == {"demo-nt": "demo-nt"}
    assert label_weights(["a/b.pth"]) == {"b": "a/b.pth"}
    assert label_weights(["mine=a/b.pth"]) == {"mine": "a/b.pth"}
    assert label_weights([str(run)]) == {"nt": str(run / "model.safetensors")}
    assert label_weights([str(run / "model.safetensors")]) == {"nt": str(run / "model.safetensors")}
    odd = tmp_path / "lr=0.1.pth"
    odd.touch()
    assert label_weights([str(odd)]) == {"lr=0.1": str(odd)}


def test_two_weights_of_one_label_are_refused() -> None:
    with pytest.raises(InputError) as error:
        label_weights(["one/b.pth", "two/b.pth"])
    assert str(error.value) == "two weights are labeled 'b'; write LABEL=WEIGHTS to tell them apart."


def test_json_holds_null_for_what_is_not_a_number() -> None:
    values = {"a": math.nan, "b": [math.inf, 1.5], "c": {"d": (-math.inf, Path("x/y"), "z", None, True)}}
    assert plain(values) == {"a": None, "b": [None, 1.5], "c": {"d": [None, "x/y", "z", None, True]}}


def test_json_mode_prints_nothing_but_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output("score", json=True)
    output.line("for people")
    output.table(["a"], [["b"]])
    output.note("a note")
    output.document(value=math.nan)
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"schema_version": 1, "verb": "score", "value": None}
    assert captured.err == "a note\n"


def test_only_the_first_process_of_a_run_writes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    for output in (Output("train"), Output("train", json=True)):
        output.line("a line")
        output.note("a note")
        output.document(value=1)
        output.table(["a"], [["b"]])
    assert capsys.readouterr() == ("", "")


def test_a_narrow_terminal_folds_words_and_cuts_no_number(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # to rich, a terminal
    monkeypatch.setenv("COLUMNS", "30")
    ranges = ["1111.11 .. 2222.22", "3333.33 .. 4444.44, beyond linear"]
    Output("score").table(["photo", "score", "range", "tangent"], [["a/long/way/to/photo.png", "12345.67", *ranges]])
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert all(whole in shown for whole in ("12345.67", *ranges))
    assert "".join(line.split()[0] for line in shown.splitlines()[1:]) == "a/long/way/to/photo.png"


def test_numbers_in_tables_have_a_dash_where_there_is_none() -> None:
    assert [number(None), number(math.nan), number(1.005, 1), number(-2.0)] == ["-", "-", "1.0", "-2.00"]
