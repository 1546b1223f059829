"""Plans of attacks: what a spec stands for, what is refused, and the small version."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from robustiqa.core.errors import InputError, SpecError, UnknownNameError
from robustiqa.experiments.attack_plan import AttackPlan
from robustiqa.experiments.attack_plan_spec import attack_plan_from_dict
from robustiqa.experiments.comparison import Comparison
from robustiqa.experiments.declared import load_experiment

IFGSM = "ifgsm(eps=4/255, steps=10, step_size=1/255)"
SPEC: dict[str, Any] = {
    "title": "Mine",
    "models": ["base", "NT"],
    "sets": [
        {
            "name": "whole",
            "photos": 20,
            "eps": "4/255",
            "attacks": [
                {"name": "fgsm", "eps": "0.01"},
                {"name": "ifgsm", "steps": 10},
                {"name": "uap", "weights": "@uap"},
            ],
        },
        {
            "name": "crops",
            "crop": 16,
            "attacks": [
                {"name": "square", "queries": 2000},
                {"name": "ifgsm", "random_start": True, "objectives": ["lower", {"name": "target", "score": 20.0}]},
            ],
        },
    ],
    "claim": {
        "set": "whole",
        "attack": {"name": "ifgsm", "steps": 10},
        "against": {"name": "fgsm", "eps": "0.01"},
        "percent": 3,
    },
    "query_curve": {
        "set": "crops",
        "attack": {"name": "nes", "steps": 3},
        "option": "samples",
        "budgets": [20, 200],
        "rivals": [
            {"attack": {"name": "square"}, "option": "queries", "eps": ["2/255", "4/255"]},
            {"attack": {"name": "random_sign"}, "eps": ["1/255"]},
        ],
    },
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The spec with one value replaced, or left out if None; `sets.0.photos` names one."""
    spec: Any = copy.deepcopy(SPEC)
    *way, last = path.split(".")
    place = spec
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return dict(spec)


def test_a_plan_runs_each_attack_toward_each_goal_once() -> None:
    plan = attack_plan_from_dict(SPEC)
    whole, crops = plan.sets
    assert (whole.photos, whole.crop, crops.photos, crops.crop) == (20, None, None, 16)
    assert [(run.attack.label, run.goal) for run in plan.runs(whole)] == [
        *((label, goal) for label in ("fgsm(eps=0.01)", IFGSM) for goal in ("lower", "raise")),
    ]
    found = [(run.attack.label, run.goal) for run in plan.runs(crops)]
    assert len(set(found)) == len(found)
    squares = [label for label, goal in found if label.startswith("square") and goal == "lower"]
    assert [label[: label.index(", share")] for label in squares] == [
        "square(eps=4/255, queries=2000",
        *(f"square(eps={eps}/255, queries={n}" for n in (20, 200) for eps in (2, 4)),
    ]
    assert [goal for label, goal in found if label.startswith("ifgsm")] == ["lower", "target"]
    assert [goal for label, goal in found if label.startswith("random_sign")] == ["lower", "raise"]  # once for both
    assert all(run.attack.objective.name == run.goal for run in plan.runs(crops))  # type: ignore[union-attr]


def test_a_curve_of_one_way_runs_what_the_table_does_not_hold_once_and_on_its_models() -> None:
    spec = changed("query_curve.once", True)
    spec["query_curve"] |= {"models": ["NT"], "objectives": ["farther_end", "rank_split"]}
    plan = attack_plan_from_dict(spec)
    crops = plan.sets[1]
    goals: dict[str, list[str]] = {}
    for run in plan.runs(crops, "NT"):
        goals.setdefault(run.attack.label, []).append(run.goal)
    table = plan.runs(crops, "base")
    assert {run.attack.name for run in table} == {"square", "ifgsm"}
    assert len(goals) == len({run.attack.label for run in table}) + 2 + 2 * 2 + 1  # attack, Square and noise
    once = [label for label, ways in goals.items() if ways == ["farther_end", "rank_split"]]
    assert len(once) == len(goals) - len({run.attack.label for run in table})
    assert plan.runs(crops) == plan.runs(crops, "NT")
    spec["sets"][1]["attacks"].append({"name": "random_sign", "eps": "1/255"})
    runs = attack_plan_from_dict(spec).runs(attack_plan_from_dict(spec).sets[1], "NT")
    assert [run.goal for run in runs if run.attack.name == "random_sign"] == ["lower", "raise"]  # serve both


def test_what_a_report_must_know_is_plain_values() -> None:
    plan = attack_plan_from_dict(SPEC)
    first, second = (json.loads(json.dumps(plan.notes(photos))) for photos in plan.sets)
    assert (first["title"], first["set"], first["place"], first["quick"]) == ("Mine", "whole", 0, False)
    assert first["shown"] == ["fgsm(eps=0.01)", IFGSM]
    assert first["left_out"] == ["uap (no file 'uap' was given)"]
    assert first["claim"] == {"attack": IFGSM, "against": "fgsm(eps=0.01)", "percent": 3.0}
    assert "curve" not in first
    assert "claim" not in second
    assert [point["queries"] for point in second["curve"]["points"]] == [20, 200]
    assert second["curve"]["objectives"] == ["rank_split"]
    assert list(second["curve"]["points"][0]["rivals"]) == ["square", "random_sign"]


def test_an_attack_with_its_file_is_run(tmp_path: Path) -> None:
    (tmp_path / "uap.safetensors").write_bytes(b"made up")
    plan = attack_plan_from_dict(SPEC, {"uap": str(tmp_path / "uap.safetensors")})
    assert plan.sets[0].left_out == ()
    assert plan.sets[0].attacks[-1].label.startswith("uap(eps=4/255")
    assert "/tmp" not in json.dumps(plan.notes(plan.sets[0]))


def test_a_quick_plan_has_few_photographs_steps_and_queries_and_says_so() -> None:
    plan = attack_plan_from_dict(SPEC).made_quick()
    assert plan.quick
    assert [photos.photos for photos in plan.sets] == [3, 3]
    assert plan.sets[0].attacks[1].label.startswith("ifgsm(eps=4/255, steps=2, ")
    assert plan.sets[1].attacks[0].label.startswith("square(eps=4/255, queries=20, ")
    assert plan.curve is not None
    assert [point.queries for point in plan.curve.points] == [5, 5]
    assert plan.claim is not None
    assert plan.claim.attack.label == plan.sets[0].attacks[1].label
    assert plan.notes(plan.sets[0])["quick"]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("modles", ["a"], "a plan of attacks has no 'modles'; did you mean 'models'?"),
        ("sets", None, "a plan of attacks needs 'sets'."),
        ("sets", [], "sets of a plan of attacks must be a list that is not empty, got []."),
        ("models", ["NT", "nt"], "models of a plan of attacks must have different labels, got NT, nt."),
        ("sets.1.name", "whole", "sets of a plan of attacks must have different names, got whole, whole."),
        ("sets.0.photo", 3, "a set of photographs has no 'photo'; did you mean 'photos'?"),
        ("sets.0.photos", 0, "photos of set 'whole' must be a whole number of at least 1, got 0."),
        ("sets.1.crop", True, "crop of set 'crops' must be a whole number of at least 1, got True."),
        ("sets.0.attacks", "fgsm", "attacks of set 'whole' must be a list that is not empty, got 'fgsm'."),
        (
            "sets.0.attacks",
            [{"eps": 1}],
            "an attack of a plan needs a name, such as { name = 'ifgsm', steps = 10 }; got {'eps': 1}.",
        ),
        ("claim.set", "hole", "a claim names set 'hole'; did you mean 'whole'? Known: whole, crops."),
        ("claim.percent", None, "a claim needs 'percent'."),
        ("claim.against", {"name": "fgsm"}, "the claim is about fgsm(eps=4/255), which set 'whole' does not run."),
        (
            "query_curve.budgets",
            [200, 20],
            "budgets of a query curve must be whole numbers in ascending order, got [200, 20].",
        ),
        (
            "query_curve.objectives",
            ["target"],
            "objectives of a query curve must be of lower, raise, farther_end, worst_of_both, rank_split; "
            "got ['target'].",
        ),
        ("query_curve.rivals.0.eps", ["4/255", "2/255"], "eps of rival 'square' must ascend, got ['4/255', '2/255']."),
        ("query_curve.models", ["nt"], "a query curve names model 'nt'. Known: base, NT."),
        (
            "query_curve",
            {**SPEC["query_curve"], "once": True, "objectives": ["worst_of_both"]},
            "once of a query curve is true or false, and true with farther_end and rank_split alone.",
        ),
        ("query_curve.rivals.0.sizes", [1], "a rival has no 'sizes'."),
    ],
)
def test_a_plan_that_can_not_be_meant_is_refused(path: str, value: Any, message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        attack_plan_from_dict(changed(path, value))


def test_attacks_and_their_options_are_checked_before_anything_is_run() -> None:
    with pytest.raises(UnknownNameError, match=r"^unknown attack 'ifgms'; did you mean 'ifgsm'\?"):
        attack_plan_from_dict(changed("sets.0.attacks", [{"name": "ifgms"}]))
    with pytest.raises(InputError, match=r"step"):
        attack_plan_from_dict(changed("sets.0.attacks", [{"name": "ifgsm", "stpes": 3}]))


def test_a_file_that_no_attack_takes_is_refused() -> None:
    with pytest.raises(SpecError, match=r"^no attack of the plan takes a file 'upa'; did you mean 'uap'\?$"):
        attack_plan_from_dict(SPEC, {"upa": "x"})


def test_a_declared_experiment_is_of_one_kind_or_the_other(tmp_path: Path) -> None:
    assert isinstance(load_experiment("nt-biq2021-light"), Comparison)
    path = tmp_path / "mine.toml"
    path.write_text('kind = "attack"\n')
    with pytest.raises(SpecError, match=r"^unknown kind of experiment 'attack'; did you mean 'attacks'\? Known: com"):
        load_experiment(path)
    with pytest.raises(SpecError, match=r"^files go with a plan of attacks; a comparison takes none\.$"):
        load_experiment("nt-biq2021-light", {"uap": "x"})


def test_the_shipped_plan_is_what_it_says() -> None:
    plan = load_experiment("attacks-biq2021-light")
    assert isinstance(plan, AttackPlan)
    whole, crops = plan.sets
    assert (whole.photos, crops.photos, crops.crop) == (200, 50, 224)
    assert {attack.budget for photos in plan.sets for attack in photos.attacks} == {4 / 255}
    assert len(whole.left_out) == 3
    assert plan.curve is not None
    assert [point.queries for point in plan.curve.points] == [500, 2000, 8000]
    goals = {run.goal for run in plan.runs(whole)}
    assert goals == {"lower", "raise", "absolute_shift", "squared_shift", "target"}
    assert plan.made_quick().quick
    assert len(plan.made_quick().runs(plan.made_quick().sets[1])) > 10
