"""`robustiqa doctor`: looks at everything, and fails only on what does not work."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustiqa.cli import doctor
from robustiqa.evaluation import planted
from tests.cli.conftest import Run

LOOKS = ["versions", "extras", "device", "threads", "memory allocator", "write access", "shipped weights", "self-test"]


def test_a_working_machine_passes_every_look(run: Run, tmp_path: Path) -> None:
    ran = run("doctor", "--device", "cpu", "--out", tmp_path / "runs", "--json")
    findings = {finding["name"]: finding for finding in ran.document["findings"]}
    assert list(findings) == LOOKS
    assert ran.code == 0
    assert "failed" not in {finding["state"] for finding in findings.values()}
    assert findings["write access"]["detail"] == f"{tmp_path.resolve()} can be written to"
    assert findings["self-test"]["detail"].startswith("FGSM at 4/255 raised a random model's score by ")
    assert not (tmp_path / "runs").exists()


def test_what_does_not_work_is_said_and_exits_with_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_self_test", lambda device, seed: doctor.Finding("self-test", "ok", "skipped"))
    ran = run("doctor", "--device", "cuda:99")
    assert ran.code == 1
    (line,) = [line for line in ran.out.splitlines() if line.startswith("device")]
    assert line.split(maxsplit=2)[1:] == [
        "failed",
        "device 'cuda:99' was asked for, but torch finds none here; use --device cpu.",
    ]


@pytest.mark.parametrize(
    ("variable", "value", "state"),
    [
        ("LD_PRELOAD", "/usr/lib/libjemalloc.so.2", "ok"),
        ("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=1", "ok"),
        ("MALLOC_MMAP_THRESHOLD_", "1", "ok"),
        ("UNRELATED", "1", "hint"),
    ],
)
def test_the_allocator_look_knows_what_keeps_large_blocks(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, state: str
) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: ("glibc", "2.36"))
    for name in ("LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    assert doctor._allocator().state == state


def test_the_self_test_of_the_evaluation_says_what_each_model_had_to_raise_and_did(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = [
        planted.Trial("masked gradient", "black_box_stronger", ("black_box_stronger", "not_converged")),
        planted.Trial("honest", "", ()),
    ]
    monkeypatch.setattr(planted, "self_test", lambda seed: iter(told))
    ran = run("doctor", "--evaluation", "--json")
    assert ran.code == 0
    assert ran.document["findings"] == [
        {
            "name": "masked gradient",
            "state": "ok",
            "detail": "must raise black_box_stronger; raised black_box_stronger, not_converged",
        },
        {"name": "honest", "state": "ok", "detail": "must raise nothing; raised nothing"},
    ]


@pytest.mark.parametrize(
    ("trial", "detail"),
    [
        (planted.Trial("random scores", "random_output", ()), "must raise random_output; raised nothing"),
        (planted.Trial("linear 3", "", ("not_converged",)), "must raise nothing; raised not_converged"),
    ],
)
def test_a_missed_defect_and_a_false_alarm_exit_with_1(
    run: Run, monkeypatch: pytest.MonkeyPatch, trial: planted.Trial, detail: str
) -> None:
    monkeypatch.setattr(planted, "self_test", lambda seed: iter([trial]))
    ran = run("doctor", "--evaluation", "--json")
    assert ran.code == 1
    assert [(found["state"], found["detail"]) for found in ran.document["findings"]] == [("failed", detail)]


def test_the_self_test_of_the_evaluation_passes_without_weights(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {name: planted.PLANTED[name] for name in ("quantized scores", "training mode")}
    monkeypatch.setattr(planted, "PLANTED", chosen)
    monkeypatch.setattr(planted.self_test, "__defaults__", (0, 1))
    ran = run("doctor", "--evaluation")
    assert ran.code == 0
    assert [line.split("  ")[0] for line in ran.out.splitlines()[1:]] == [*chosen, "honest", "linear 1"]
