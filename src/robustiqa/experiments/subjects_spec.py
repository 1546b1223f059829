"""Which models a benchmark attacks, and what its black-box attacks learn from: read from a file that several share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustiqa.core.errors import SpecError
from robustiqa.core.registry import did_you_mean
from robustiqa.experiments.spec_files import check_fields, read_toml

DEFAULT = "light"
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Subject:
    """A model that is attacked, plain and defended.

    Attributes:
        title: What tables call it.
        comparison: The experiment that trains both and chooses the weight.
    """

    title: str
    comparison: str


@dataclass(frozen=True)
class Fit:
    """What is fitted before an attack.

    Attributes:
        attack: Registry name of the fitting.
        source: Name of the source model.
        options: Of the fitting.
    """

    attack: str
    source: str
    options: Values


@dataclass(frozen=True)
class Subjects:
    """All of them, by name.

    Attributes:
        models: What is attacked.
        sources: Names to recipes of the models that attacks learn from.
        fits: What is fitted to the sources.
    """

    models: Mapping[str, Subject]
    sources: Mapping[str, str]
    fits: Mapping[str, Fit]


def load_subjects(name: str | Path) -> Subjects:
    """Reads subjects by name, or a TOML file.

    Raises:
        SpecError: if there are none, or the file holds what can't be meant.
    """
    return subjects_from_dict(read_toml(name, "subjects", "subjects"))


def subjects_from_dict(values: Values) -> Subjects:
    """The subjects that plain values stand for; `subjects/light.toml` shows all there is.

    Raises:
        SpecError: naming the first unknown or missing field, or a source that is not there.
    """
    check_fields(values, "a file of subjects", ("models",), ("sources", "fits"))
    models = {}
    for name, said in values["models"].items():
        check_fields(said, f"model {name!r}", ("title", "comparison"))
        models[name] = Subject(str(said["title"]), str(said["comparison"]))
    titles = [title for one in models.values() for title in (one.title, f"{one.title}+NT")]
    if twice := [title for title in titles if titles.count(title) > 1]:
        raise SpecError(f"two models are called {twice[0]!r}; records can't tell them apart.")
    sources = {}
    for name, said in values.get("sources", {}).items():
        check_fields(said, f"source {name!r}", ("recipe",))
        sources[name] = str(said["recipe"])
    fits = {}
    for name, said in values.get("fits", {}).items():
        if not {"attack", "source"} <= set(said):
            raise SpecError(f"fit {name!r} needs 'attack' and 'source'.")
        if said["source"] not in sources:
            raise SpecError(f"fit {name!r} has no source {said['source']!r}{did_you_mean(said['source'], [*sources])}")
        if name in sources:
            raise SpecError(f"{name!r} is a source and a fit; give one another name.")
        options = {option: value for option, value in said.items() if option not in ("attack", "source")}
        fits[name] = Fit(str(said["attack"]), str(said["source"]), options)
    return Subjects(models, sources, fits)
