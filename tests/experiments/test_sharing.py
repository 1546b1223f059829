from __future__ import annotations

import multiprocessing
import time
from dataclasses import replace
from pathlib import Path

import pytest

from robustiqa.experiments.sharing import Unit, claim, share


def unit(folder: Path, name: str, order: list[str]) -> Unit:
    def run() -> None:
        order.append(name)
        (folder / name).touch()

    return Unit(name, (folder / name).is_file, run)


def test_units_are_done_in_order_and_once(tmp_path: Path) -> None:
    order: list[str] = []
    units = [unit(tmp_path, name, order) for name in ("b", "a", "c")]
    units[1].run()
    share(units, tmp_path / "locks")
    share(units, tmp_path / "locks")
    assert order == ["a", "b", "c"]


def test_what_is_not_ready_comes_after_what_is(tmp_path: Path) -> None:
    order: list[str] = []
    first, second, third = (unit(tmp_path, name, order) for name in ("a", "b", "c"))
    units = [replace(first, ready=second.done), second, third]
    share(units, tmp_path / "locks")
    assert order == ["b", "a", "c"]  # as soon as it is ready, it comes first again


def test_what_never_gets_ready_is_run_at_last(tmp_path: Path) -> None:
    order: list[str] = []
    units = [replace(unit(tmp_path, "a", order), ready=lambda: False), unit(tmp_path, "b", order)]
    share(units, tmp_path / "locks")
    assert order == ["b", "a"]


def test_what_another_process_is_at_comes_last(tmp_path: Path) -> None:
    order: list[str] = []
    units = [unit(tmp_path, name, order) for name in ("a", "b")]
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    other = context.Process(target=_hold, args=(tmp_path, held))
    other.start()
    assert held.wait(30)
    share(units, tmp_path / "locks")
    other.join()
    assert order == ["b"]  # the other process did "a", and it was waited for
    assert (tmp_path / "a").read_text() == "theirs"


def _hold(folder: Path, held: object) -> None:
    with claim(folder / "locks" / "a.lock") as mine:
        assert mine
        held.set()  # type: ignore[attr-defined]
        time.sleep(0.5)
        (folder / "a").write_text("theirs")


def test_work_whose_holder_died_is_taken_over(tmp_path: Path) -> None:
    order: list[str] = []
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    other = context.Process(target=_hold_until_killed, args=(tmp_path, held))
    other.start()
    assert held.wait(30)
    with claim(tmp_path / "locks" / "a.lock", wait=False) as mine:
        assert not mine
    other.kill()
    other.join()
    share([unit(tmp_path, "a", order)], tmp_path / "locks")
    assert order == ["a"]


def _hold_until_killed(folder: Path, held: object) -> None:
    with claim(folder / "locks" / "a.lock"):
        held.set()  # type: ignore[attr-defined]
        time.sleep(60)


def test_a_claim_is_given_back_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^stop$"), claim(tmp_path / "x.lock"):
        raise ValueError("stop")
    with claim(tmp_path / "x.lock", wait=False) as mine:
        assert mine
