"""Plans of attacks run on toys: to the end, in pieces, by two processes, and from kept records alone."""

from __future__ import annotations

import multiprocessing
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from robustiqa.attacks.learned import SIGNS, STATE_FILE
from robustiqa.attacks.universal import UAP
from robustiqa.core.dataset import Dataset
from robustiqa.core.errors import DataError, SpecError
from robustiqa.core.model import QualityModel
from robustiqa.core.tensor_files import write_tensors
from robustiqa.evaluation.exported import load_exported
from robustiqa.evaluation.records import CLEAN, Record
from robustiqa.evaluation.study import study
from robustiqa.evaluation.views import Evaluation
from robustiqa.experiments import attack_run
from robustiqa.experiments.attack_plan import AttackPlan
from robustiqa.experiments.attack_plan_spec import attack_plan_from_dict
from robustiqa.experiments.attack_run import in_order, run_attacks
from robustiqa.experiments.reproduction import Place
from robustiqa.experiments.results import build_results, main
from robustiqa.report.query_curve import query_curve
from tests.photos import tiny_dataset
from tests.toys import ConvModel

SPEC: dict[str, Any] = {
    "title": "Toys",
    "models": ["base", "NT"],
    "sets": [
        {"name": "whole", "photos": 3, "eps": "4/255", "attacks": [{"name": "fgsm"}, {"name": "ifgsm", "steps": 2}]},
        {"name": "One crop", "photos": 2, "crop": 16, "attacks": [{"name": "ifgsm", "steps": 2}]},
    ],
    "claim": {"set": "whole", "attack": {"name": "ifgsm", "steps": 2}, "against": {"name": "fgsm"}, "percent": 3},
    "query_curve": {
        "set": "One crop",
        "attack": {"name": "square", "eps": "2/255"},
        "option": "queries",
        "budgets": [3, 6],
        "rivals": [{"attack": {"name": "random_sign"}, "eps": ["1/255", "2/255", "4/255"]}],
    },
}
PLAN = attack_plan_from_dict(SPEC)
UNITS = 2 * (2 * 2) + 2 * 2 * (1 + 2 + 3)  # models, goals, attacks of each set


def photos() -> Dataset:
    return tiny_dataset(train=0, validation=0, test=5, low=16, high=20)


def load(weights: Path) -> QualityModel:
    """Weights are a file that names a seeded toy."""
    return ConvModel(seed=int(weights.read_text()), crop_size=16).eval()


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    monkeypatch.setattr("robustiqa.experiments.attack_run.load_model", load)
    return write_weights(tmp_path / "weights")


def write_weights(folder: Path, **seeds: int) -> dict[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = {label: folder / f"{label}.txt" for label in ("base", "NT")}
    for seed, (label, file) in enumerate(files.items()):
        file.write_text(str(seeds.get(label, seed)))
    return files


def place(folder: Path, kept: Path, told: list[str], batch_size: int = 2) -> Place:
    return Place(folder=folder, kept=kept, device="cpu", batch_size=batch_size, tell=told.append)


def run(
    folder: Path, weights: Mapping[str, Path], plan: AttackPlan = PLAN, kept: Path | None = None
) -> tuple[dict[str, Evaluation], list[str]]:
    told: list[str] = []
    return run_attacks(plan, photos(), weights, place(folder, kept or folder / "kept", told)), told


def untimed(records: tuple[Record, ...]) -> list[Record]:
    return [replace(record, seconds=None) for record in records]


def test_a_plan_is_run_to_its_end_in_its_own_order(tmp_path: Path, weights: dict[str, Path]) -> None:
    found, told = run(tmp_path / "run", weights)
    assert list(found) == ["whole", "One crop"]
    assert len(told) == len(set(told)) == UNITS
    assert told[0] == "whole: fgsm(eps=4/255), lower, on base"
    whole, crops = found.values()
    assert whole.models == crops.models == ["base", "NT"]
    assert whole.attacks == [attack.label for attack in PLAN.sets[0].attacks]
    assert crops.info["dataset"]["name"] == "tiny, center crops of 16 pixels"
    for evaluation, count in ((whole, 3), (crops, 2)):
        assert len(evaluation.info["attacks"]) == len(evaluation.attacks)
        for label in evaluation.models:
            assert len(evaluation.clean(label)) == count
            for attack in evaluation.attacks:
                assert len(evaluation.attacked(label, attack, "worst_of_both")) == count
    assert all((record.seconds is None) == (record.attack == CLEAN) for record in whole.records)
    mixed = replace(whole, records=whole.records[::-1])
    assert in_order(mixed, PLAN, PLAN.sets[0], whole.info["info"]) == whole  # whoever did what first
    again, told = run(tmp_path / "run", weights)
    assert (again, told) == (found, [])


def test_a_curve_of_one_way_reads_the_same_as_one_of_both(tmp_path: Path, weights: dict[str, Path]) -> None:
    objectives = ["rank_split", "farther_end"]
    both = {**SPEC, "query_curve": {**SPEC["query_curve"], "objectives": objectives}}
    once = {**SPEC, "query_curve": {**both["query_curve"], "once": True, "models": ["NT"]}}
    long, short = (
        run(tmp_path / name, weights, plan=attack_plan_from_dict(spec))[0]["One crop"]
        for name, spec in (("both", both), ("once", once))
    )
    curve = [attack for attack in short.attacks if not attack.startswith("ifgsm")]
    assert len(curve) == 5
    for attack in curve:
        assert short.goals("base", attack) == []
        assert short.goals("NT", attack) == objectives
        for objective in objectives:
            whole, half = (found.attacked("NT", attack, objective) for found in (long, short))
            assert [record.key for record in half.records] == [record.key for record in whole.records]
            assert half.after.tolist() == pytest.approx(whole.after.tolist(), abs=1e-4)
            assert half.change.any()
    read = query_curve(study(short, samples=50))
    assert read is not None
    assert [(line.group.name, line.objective) for line in read.lines] == [("NT", name) for name in objectives]


def test_kept_records_are_enough_without_weights_and_give_tables_and_figures(
    tmp_path: Path, weights: dict[str, Path]
) -> None:
    kept = tmp_path / "results" / "toys"
    found, _ = run(tmp_path / "run", weights, kept=kept)
    files = {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()}
    again, told = run(tmp_path / "elsewhere", {}, kept=kept)
    assert (again, told) == (found, [])
    assert {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()} == files
    assert sorted(path.name for path in kept.iterdir()) == ["one-crop", "whole"]
    (kept / "notes.md").write_text("# How it was run")
    results = build_results(tmp_path / "results")
    assert results == build_results(tmp_path / "results")
    assert list(results.figures) == [f"images/toys-query-curve-{number}.svg" for number in (1, 2)]
    for text in ("# How it was run", "## Toys", "whole: Every attack", "One crop: square by queries", "it does not"):
        assert text in results.page
    assert "](images/toys-query-curve-1.svg)" in results.page
    main(["--results", str(tmp_path / "results"), "--page", str(tmp_path / "docs" / "results.md")])
    assert (tmp_path / "docs" / "results.md").read_text(encoding="utf-8") == results.page
    for name, svg in results.figures.items():
        assert (tmp_path / "docs" / name).read_text(encoding="utf-8") == svg
    assert str(tmp_path) not in "".join(path.read_text() for path in kept.rglob("*.json"))


def test_a_run_that_is_stopped_goes_on_where_it_was(
    tmp_path: Path, weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed, _ = run(tmp_path / "undisturbed", weights)
    attacked: list[int] = []

    class Stopped(BaseException):
        """As a kill: nothing after it is done."""

    told: list[str] = []
    stopped = 0
    for limit in range(1, 200, 13):  # each sitting ends in the middle of a unit

        def stop(done: int, total: int, limit: int = limit) -> None:
            attacked.append(done)
            if len(attacked) >= limit:
                raise Stopped

        attacked.clear()
        given = replace(place(tmp_path / "run", tmp_path / "kept", told, batch_size=1), progress=stop)
        try:
            found = run_attacks(PLAN, photos(), weights, given)
            break
        except Stopped:
            stopped += 1
    assert stopped > 2
    for name, evaluation in undisturbed.items():
        one, other = untimed(found[name].records), untimed(evaluation.records)
        assert [record.identity for record in one] == [record.identity for record in other]
        for after, before in zip(one, other, strict=True):
            assert after.score == pytest.approx(before.score, abs=1e-3)  # batches of one and of two
    again, _ = run(tmp_path / "other", {}, kept=tmp_path / "kept")
    assert again == found
    assert max(Counter(told).values()) <= stopped + 1
    monkeypatch.undo()


def _join_in(folder: Path, weights: dict[str, Path], ready: Any, go: Any) -> None:
    attack_run.load_model = load  # type: ignore[assignment,attr-defined]
    told: list[str] = []
    ready.set()
    assert go.wait(800)
    run_attacks(PLAN, photos(), weights, place(folder / "run", folder / "kept", told))
    (folder / "theirs").write_text("\n".join(told))


@pytest.mark.timeout(900)  # the other process imports everything anew, on a machine that may be busy
def test_two_processes_share_the_work_and_see_the_same_end(tmp_path: Path, weights: dict[str, Path]) -> None:
    alone, _ = run(tmp_path / "alone", weights)
    context = multiprocessing.get_context("spawn")
    ready, go = context.Event(), context.Event()
    other = context.Process(target=_join_in, args=(tmp_path, weights, ready, go))
    other.start()
    assert ready.wait(800)
    told: list[str] = []
    go.set()
    found = run_attacks(PLAN, photos(), weights, place(tmp_path / "run", tmp_path / "kept", told))
    other.join()
    assert other.exitcode == 0
    theirs = (tmp_path / "theirs").read_text().splitlines()
    assert sorted([*told, *theirs]) == sorted({*told, *theirs})  # no unit twice
    assert len(told) + len(theirs) == UNITS
    for name, evaluation in alone.items():
        assert untimed(found[name].records) == untimed(evaluation.records)
    assert {name: load_exported(tmp_path / "kept" / name) for name in ("whole", "one-crop")} == {
        "whole": found["whole"],
        "one-crop": found["One crop"],
    }


def test_records_of_other_weights_photographs_or_a_quick_run_are_refused(
    tmp_path: Path, weights: dict[str, Path]
) -> None:
    few = attack_plan_from_dict({"title": "t", "models": ["base", "NT"], "sets": SPEC["sets"][:1]})
    kept = tmp_path / "kept"
    run(tmp_path / "run", weights, few, kept)
    sentence = (
        f"{kept / 'whole'} holds records of other weights or photographs, or of a quick run; choose another folder to "
        "keep records in."
    )
    fewer_photos = replace(few, sets=(replace(few.sets[0], photos=2),))
    others = write_weights(tmp_path / "others", base=7)
    for plan, files in ((few, others), (fewer_photos, weights), (few.made_quick(), weights)):
        with pytest.raises(SpecError, match=f"^{re.escape(sentence)}$"):
            run(tmp_path / "new", files, plan, kept)
    assert not (tmp_path / "new").exists()


def test_what_is_missing_is_named_before_anything_is_attacked(tmp_path: Path, weights: dict[str, Path]) -> None:
    with pytest.raises(SpecError, match=r"^'NT' is not attacked to the end yet; give its weights: NT=FILE\.$"):
        run(tmp_path / "run", {"base": weights["base"]})
    with pytest.raises(SpecError, match=r"^the plan has no model 'other'; it attacks base, NT\.$"):
        run(tmp_path / "run", {"other": weights["base"]})
    wide = replace(PLAN, sets=(replace(PLAN.sets[1], crop=17),))
    sentence = "set 'One crop' has crops of 17 pixels, and 'base' takes 16; give the set the crop of the models."
    with pytest.raises(SpecError, match=f"^{re.escape(sentence)}$"):
        run(tmp_path / "run", weights, wide)
    with pytest.raises(DataError, match=r"^dataset 'tiny' has no part 'validation'"):
        run(tmp_path / "run", weights, replace(PLAN, part="validation"))
    assert not (tmp_path / "run").exists()


def test_a_quick_run_is_marked_in_its_records(tmp_path: Path, weights: dict[str, Path]) -> None:
    quick = attack_plan_from_dict({"title": "t", "models": ["base", "NT"], "sets": SPEC["sets"][:1]}).made_quick()
    found, _ = run(tmp_path / "run", weights, quick, tmp_path / "results" / "toys")
    assert found["whole"].info["info"]["quick"] is True
    assert "quick run, not a result" in build_results(tmp_path / "results").page


def test_an_attack_that_asks_no_model_is_run_on_all_of_them_at_once(
    tmp_path: Path, weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tile = 8 / 255 * torch.ones(3, 4, 4)
    tensors, said = {"lower.perturbation": -tile, "raise.perturbation": tile}, {"goals": ["lower", "raise"]}
    write_tensors(tmp_path / STATE_FILE, tensors, {"attack": "uap", "eps": 8 / 255, **said})
    attacks = [{"name": "uap", "weights": str(tmp_path)}, {"name": "fgsm"}]
    sets = [{"name": "whole", "photos": 3, "eps": "4/255", "attacks": attacks}]
    plan = attack_plan_from_dict({"title": "Toys", "models": ["base", "NT"], "sets": sets})
    together, told = run(tmp_path / "together", weights, plan=plan)
    uap = plan.sets[0].attacks[0].label
    assert [line for line in told if "uap" in line] == [f"whole: {uap}, {goal}, on base, NT" for goal in SIGNS]
    monkeypatch.setattr(UAP, "asks_model", True)
    apart, told = run(tmp_path / "apart", weights, plan=plan)
    assert len([line for line in told if "uap" in line]) == 4
    assert untimed(together["whole"].records) == untimed(apart["whole"].records)
    assert together["whole"].info == apart["whole"].info
