from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from fractions import Fraction

import pytest

from robustiqa.core.errors import InputError, RobustIQAError, UnknownNameError
from robustiqa.core.registry import Registry, did_you_mean


@dataclass(frozen=True, kw_only=True)
class Gauge:
    width: int = 1
    height: int = 1


HERE = f"{__name__}:Gauge"


def test_names_are_sorted_and_known() -> None:
    registry: Registry[object] = Registry("gauge", {"wide": HERE, "narrow": HERE})
    assert registry.names() == ["narrow", "wide"]
    assert "wide" in registry
    assert "tall" not in registry


def test_a_module_is_imported_when_its_name_is_asked_for_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "this", raising=False)
    registry: Registry[object] = Registry("thing", {"fraction": "fractions:Fraction", "missing": "no.such.module:X"})
    assert registry.names() == ["fraction", "missing"]
    assert registry.get("fraction") is Fraction
    with pytest.raises(ModuleNotFoundError):
        registry.get("missing")


def test_create_passes_options_on() -> None:
    registry: Registry[Gauge] = Registry("gauge", {"plain": HERE})
    assert registry.create("plain", width=3) == Gauge(width=3)


def test_an_unknown_name_gets_the_closest_one_and_all_others() -> None:
    registry: Registry[object] = Registry("attack", {"ifgsm": HERE, "fgsm": HERE, "square": HERE})
    message = "unknown attack 'fgms'; did you mean 'fgsm'? Known: fgsm, ifgsm, square."
    with pytest.raises(UnknownNameError, match=f"^{re.escape(message)}$"):
        registry.get("fgms")
    message = "unknown attack 'zzz'. Known: fgsm, ifgsm, square."
    with pytest.raises(UnknownNameError, match=f"^{re.escape(message)}$"):
        registry.create("zzz")


def test_an_unknown_option_gets_the_closest_one_and_all_others() -> None:
    registry: Registry[Gauge] = Registry("gauge", {"plain": HERE})
    message = "gauge 'plain' has no option 'widht'; did you mean 'width'? Options: width, height."
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        registry.create("plain", widht=3)


def test_a_hint_is_given_only_for_a_close_name() -> None:
    assert did_you_mean("ifsgm", ["fgsm", "ifgsm"]) == "; did you mean 'ifgsm'?"
    assert did_you_mean("banana", ["fgsm", "ifgsm"]) == "."
    assert did_you_mean("anything", []) == "."


def test_an_unknown_name_is_both_ours_and_a_lookup_error() -> None:
    assert issubclass(UnknownNameError, RobustIQAError)
    assert issubclass(UnknownNameError, LookupError)
