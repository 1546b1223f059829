"""Help answers at once: it imports nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.conftest import Run

VERBS = (
    *("demo", "score", "attack", "train", "fit", "evaluate", "report", "leaderboard", "reproduce"),
    *("list", "doctor"),
    *("data", "data info", "data check", "weights", "weights check", "weights calibrate"),
)
GROUPS = {"data": ("info", "check"), "weights": ("check", "calibrate")}
HEAVY = ("torch", "numpy", "scipy", "PIL", "timm", "pandas", "matplotlib", "accelerate", "skimage", "rich", "jinja2")
SLOW = ("statistics", "concurrent.futures.thread", "tempfile", "logging")
LOOK = """
import sys
from robustiqa.cli.app import main
for verb in sys.argv[1:]:
    assert main([*verb.split(), "--help"]) == 0, verb
    loaded = [name for name in {heavy} if name in sys.modules]
    assert not loaded, (verb, loaded)
"""


def test_the_first_help_does_without_slow_parts_of_the_standard_library() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOOK.format(heavy=SLOW), ""], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_help_of_no_verb_imports_anything_heavy() -> None:
    script = LOOK.format(heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", script, "", *VERBS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_each_verb_shows_an_example_or_its_verbs_and_json(run: Run, verb: str) -> None:
    ran = run(*verb.split(), "--help")
    assert ran.code == 0
    assert ran.err == ""
    if verb in GROUPS:
        assert all(f"  {below} " in ran.out for below in GROUPS[verb])
    else:
        assert "Example: robustiqa " + verb in ran.out
        assert "--json" in ran.out


@pytest.mark.parametrize("verb", ["demo", "score", "attack", "train", "evaluate"])
def test_verbs_that_compute_take_device_seed_batch_size_and_workers(run: Run, verb: str) -> None:
    shown = run(verb, "--help").out
    for option in ("--device", "--seed", "--batch-size", "--workers"):
        assert option in shown


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "robustiqa", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: robustiqa [OPTIONS] COMMAND")
    assert all(f"  {verb.split()[0]} " in done.stdout for verb in VERBS)


@pytest.mark.parametrize("arguments", [(), ("data",), ("weights",)])
def test_no_verb_shows_the_help_and_is_a_wrong_request(run: Run, arguments: tuple[str, ...]) -> None:
    ran = run(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith(" ".join(["Usage: robustiqa", *arguments]))
    assert "(see" not in ran.err
