"""From the TOML of a plan of attacks to the plan; what can't be meant is refused before anything is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from robustiqa.attacks import create_attack
from robustiqa.attacks.base import NamedAttack
from robustiqa.attacks.objectives import create_objective
from robustiqa.core.errors import SpecError
from robustiqa.core.registry import did_you_mean
from robustiqa.evaluation.views import DIRECTED
from robustiqa.experiments.attack_plan import AttackPlan, Claim, CurvePoint, PhotoSet, QueryCurve
from robustiqa.experiments.spec_files import check_fields

Values = Mapping[str, Any]
FILE = "@"  # begins an option that stands for a file given when the plan is run
DEFAULT_OBJECTIVE = "worst_of_both"
ONE_WAY = ("farther_end", "rank_split")  # pick a direction by the clean score alone


def attack_plan_from_dict(values: Values, files: Mapping[str, str] | None = None) -> AttackPlan:
    """The plan that plain values stand for.

    Args:
        values: As a spec holds them; `specs/attacks-biq2021-light.toml` shows all there is.
        files: What options such as `weights = "@uap"` stand for, by the name behind the @; attacks whose file is not
            given are left out and named.

    Raises:
        SpecError: naming the first unknown or missing field, or what does not fit together.
        UnknownNameError: if an attack or objective does not exist.
        InputError: if an attack refuses its options.
    """
    check_fields(values, "a plan of attacks", ("title", "models", "sets"), ("kind", "part", "query_curve", "claim"))
    models = _list(values, "models", "a plan of attacks")
    if len({label.lower() for label in models}) < len(models):
        raise SpecError(f"models of a plan of attacks must have different labels, got {', '.join(models)}.")
    given = dict(files or {})
    sets = tuple(_photo_set(entry, given) for entry in _list(values, "sets", "a plan of attacks"))
    names = [one.name for one in sets]
    if len(set(names)) < len(names):
        raise SpecError(f"sets of a plan of attacks must have different names, got {', '.join(names)}.")
    unknown = [name for name in given if name not in file_names(values)]
    if unknown:
        raise SpecError(
            f"no attack of the plan takes a file {unknown[0]!r}{did_you_mean(unknown[0], file_names(values))}"
        )
    claim, curve = values.get("claim"), values.get("query_curve")
    return AttackPlan(
        title=str(values["title"]),
        models=tuple(models),
        part=str(values.get("part", "test")),
        sets=sets,
        claim=None if claim is None else _claim(claim, sets, values["sets"]),
        curve=None if curve is None else _curve(curve, names, models),
    )


def _photo_set(values: Values, files: Mapping[str, str]) -> PhotoSet:
    check_fields(values, "a set of photographs", ("name", "attacks"), ("photos", "crop", "eps"))
    name = str(values["name"])
    for count in ("photos", "crop"):
        if count in values and not (type(values[count]) is int and values[count] > 0):
            raise SpecError(f"{count} of set {name!r} must be a whole number of at least 1, got {values[count]!r}.")
    made: list[NamedAttack] = []
    left_out: list[str] = []
    for entry in _list(values, "attacks", f"set {name!r}"):
        missing = [file for file in file_names(entry) if file not in files]
        if missing:
            left_out.append(f"{entry.get('name')} (no file {missing[0]!r} was given)")
        else:
            made += _attacks(entry, values.get("eps"), files)
    return PhotoSet(
        name=name,
        attacks=tuple(made),
        photos=values.get("photos"),
        crop=values.get("crop"),
        left_out=tuple(left_out),
    )


def _attacks(entry: Values, eps: Any, files: Mapping[str, str]) -> list[NamedAttack]:
    """An entry's attack once for each of its objectives."""
    options = {name: value for name, value in entry.items() if name != "objectives"}
    found = []
    for objective in entry.get("objectives", [DEFAULT_OBJECTIVE]):
        fields = {"name": objective} if isinstance(objective, str) else dict(objective)
        found.append(_attack(options, eps, files, create_objective(fields.pop("name", ""), **fields)))
    return found


def _attack(entry: Values, eps: Any, files: Mapping[str, str], objective: Any = DEFAULT_OBJECTIVE) -> NamedAttack:
    if not isinstance(entry, Mapping) or "name" not in entry:
        raise SpecError(f"an attack of a plan needs a name, such as {{ name = 'ifgsm', steps = 10 }}; got {entry!r}.")
    options = {name: _filled(value, files) for name, value in entry.items() if name != "name"}
    if eps is not None:
        options = {"eps": eps, **options}
    return create_attack(str(entry["name"]), **options, objective=objective)


def _filled(value: Any, files: Mapping[str, str]) -> Any:
    return files[value[1:]] if isinstance(value, str) and value.startswith(FILE) else value


def _claim(values: Values, sets: Sequence[PhotoSet], declared: Sequence[Values]) -> Claim:
    check_fields(values, "a claim", ("set", "attack", "against", "percent"))
    chosen = _named(values["set"], [one.name for one in sets], "a claim")
    eps = declared[chosen].get("eps")
    stronger, other = (_attack(values[side], eps, {}) for side in ("attack", "against"))
    shown = [attack.label for attack in sets[chosen].attacks]
    for attack in (stronger, other):
        if attack.label not in shown:
            raise SpecError(f"the claim is about {attack.label}, which set {sets[chosen].name!r} does not run.")
    return Claim(photo_set=sets[chosen].name, attack=stronger, against=other, percent=float(values["percent"]))


def _curve(values: Values, sets: Sequence[str], models: Sequence[str]) -> QueryCurve:
    what = "a query curve"
    check_fields(values, what, ("set", "attack", "option", "budgets", "rivals"), ("objectives", "models", "once"))
    place = _named(values["set"], sets, what)
    budgets = _list(values, "budgets", what)
    if not all(type(budget) is int and budget > 0 for budget in budgets) or sorted(set(budgets)) != budgets:
        raise SpecError(f"budgets of a query curve must be whole numbers in ascending order, got {budgets}.")
    objectives = tuple(values.get("objectives", ("rank_split",)))
    strange = [name for name in objectives if name not in DIRECTED]
    if strange or not objectives:
        raise SpecError(f"objectives of a query curve must be of {', '.join(DIRECTED)}; got {list(objectives)}.")
    once = values.get("once", False)
    if type(once) is not bool or (once and not {*objectives} <= {*ONE_WAY}):
        raise SpecError(f"once of a query curve is true or false, and true with {' and '.join(ONE_WAY)} alone.")
    drawn = _list(values, "models", what) if "models" in values else None
    for label in drawn or ():
        _named(label, models, what, "model")
    rivals = _list(values, "rivals", what)
    points = (
        CurvePoint(
            budget,
            _attack({**values["attack"], values["option"]: budget}, None, {}),
            dict(_rival(entry, budget) for entry in rivals),
        )
        for budget in budgets
    )
    return QueryCurve(
        photo_set=sets[place],
        points=tuple(points),
        objectives=objectives,
        models=None if drawn is None else tuple(drawn),
        once=once,
    )


def _rival(values: Values, budget: int) -> tuple[str, tuple[NamedAttack, ...]]:
    """A rival's name and its runs at every size; without an `option` it asks nothing, whatever the budget."""
    check_fields(values, "a rival", ("attack", "eps"), ("option",))
    spent = {values["option"]: budget} if "option" in values else {}
    offered = [_attack({**values["attack"], **spent, "eps": eps}, None, {}) for eps in _list(values, "eps", "a rival")]
    sizes = [attack.budget for attack in offered]
    if sorted(set(sizes)) != sizes:
        raise SpecError(f"eps of rival {offered[0].name!r} must ascend, got {values['eps']}.")
    return offered[0].name, tuple(offered)


def _named(name: object, names: Sequence[str], what: str, kind: str = "set") -> int:
    if name not in names:
        raise SpecError(
            f"{what} names {kind} {name!r}{did_you_mean(str(name), list(names))} Known: {', '.join(names)}."
        )
    return names.index(str(name))


def _list(values: Values, name: str, what: str) -> list[Any]:
    found = values[name]
    if not isinstance(found, list) or not found:
        raise SpecError(f"{name} of {what} must be a list that is not empty, got {found!r}.")
    return found


def file_names(values: Any) -> list[str]:
    """Names behind every @ in some values."""
    if isinstance(values, str):
        return [values[1:]] if values.startswith(FILE) else []
    if isinstance(values, Mapping):
        values = list(values.values())
    return [name for value in values for name in file_names(value)] if isinstance(values, list) else []
