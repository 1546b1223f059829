"""Leaderboards: entries of one protocol, ranked by the worst that attacks do to them.

What can't be compared is refused: another dataset, other photographs, budgets, attacks or another 8-bit rule. Entries
with flags come after those without, however good their numbers: an attack that fails looks like a model that holds.

Source: RobustBench (Croce et al. 2021) for one file an entry and the mark of unreliable ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from robustiqa.core.errors import InputError, SpecError
from robustiqa.evaluation.cards import AttackRun, Card, Protocol, WorstCase

SAME_BUDGET = 1e-4  # relative: cards hold six digits


@dataclass(frozen=True)
class Leaderboard:
    """Ranked entries.

    Attributes:
        entries: The best first; those without flags before those with.
        norm: Of the budget that they are ranked at.
        eps: That budget.
    """

    entries: tuple[Card, ...]
    norm: str
    eps: float

    @property
    def protocol(self) -> Protocol:
        """What all entries share."""
        return self.entries[0].protocol

    @property
    def budgets(self) -> list[tuple[str, float]]:
        """All that the entries have a worst case of, the one that ranks first."""
        ranked = (self.norm, self.eps)
        return [ranked, *(budget for budget in _budgets(self.entries[0]) if budget != ranked)]


def rank(cards: Sequence[Card], eps: float | None = None) -> Leaderboard:
    """Ranks entries by the worst-case change over the clean spread, the smallest first.

    The same model with the same weights is one entry. Of two cards of it, the one with flags counts, then the one with
    the larger change: both are found by attacks, and the stronger attack is right.

    Args:
        cards: Of one protocol.
        eps: The budget to rank at, in [0, 1] units; the largest, in L-infinity where there is one, by default.

    Raises:
        InputError: if there are no cards, or no worst case at that budget.
        SpecError: if two cards are of different protocols.
    """
    if not cards:
        raise InputError("a leaderboard needs at least one entry, got none.")
    for card in cards[1:]:
        _check_same_protocol(cards[0], card)
    norm, budget = _pick(_budgets(cards[0]), eps)
    entries: dict[tuple[str, str], Card] = {}
    for card in cards:
        place = (card.model, card.weights)
        entries[place] = max(entries.get(place, card), card, key=lambda one: _order(one, norm, budget))
    ranked = sorted(entries.values(), key=lambda card: (_order(card, norm, budget), card.model, card.weights))
    return Leaderboard(tuple(ranked), norm, budget)


def worst_at(card: Card, norm: str, eps: float) -> WorstCase:
    """A card's worst case at a budget.

    Raises:
        SpecError: if it has none.
    """
    found = [worst for worst in card.worst if (worst.norm, worst.eps) == (norm, eps)]
    if not found:
        raise SpecError(f"the card of {card.title} has no worst case at {budget_name(norm, eps)}; make it anew.")
    return found[0]


def without_partial(cards: Sequence[Card]) -> tuple[tuple[Card, ...], tuple[Card, ...]]:
    """Parts the cards of one run: models that met all its attacks, and those that met only some of them."""
    met = [set(card.protocol.attacks) for card in cards]
    fullest = max(met, key=len, default=set())
    partial = tuple(card for card, attacks in zip(cards, met, strict=True) if attacks < fullest)
    return tuple(card for card in cards if card not in partial), partial


def budget_name(norm: str, eps: float) -> str:
    """A budget as people write it: `linf 4/255`, `l2 3`."""
    levels = 255 * eps
    whole = norm == "linf" and round(levels) > 0 and math.isclose(levels, round(levels), rel_tol=SAME_BUDGET)
    return f"{norm} {round(levels)}/255" if whole else f"{norm} {eps:.4g}"


def _budgets(card: Card) -> list[tuple[str, float]]:
    return [(worst.norm, worst.eps) for worst in card.worst]


def _pick(budgets: Sequence[tuple[str, float]], eps: float | None) -> tuple[str, float]:
    fitting = [budget for budget in budgets if eps is None or math.isclose(budget[1], eps, rel_tol=SAME_BUDGET)]
    if not fitting:
        known = ", ".join(budget_name(*budget) for budget in budgets) or "none"
        raise InputError(f"the entries have no worst case at eps {eps}; they have: {known}.")
    return max(fitting, key=lambda budget: (budget[0] == "linf", budget[1]))


def _order(card: Card, norm: str, eps: float) -> tuple[bool, float]:
    """Flagged ones last, then the larger change; a model without spread has none, and comes after those that do."""
    change = worst_at(card, norm, eps).change_over_spread.value
    return bool(card.flags), math.inf if change is None else change


def _check_same_protocol(first: Card, second: Card) -> None:
    differences = list(_differences(first.protocol, second.protocol))
    if differences:
        raise SpecError(
            f"{first.title} and {second.title} are of different protocols and can't be ranked together: "
            f"{'; '.join(differences)}."
        )


def _differences(one: Protocol, other: Protocol) -> Iterator[str]:
    """What differs, in words; the dataset's name alone does not, for folders are named freely."""
    if one.fingerprint != other.fingerprint:
        both = (f"{protocol.dataset or 'unnamed'} {protocol.fingerprint}" for protocol in (one, other))
        yield f"the dataset is {' and '.join(both)}"
    for what, name in {"split": "split", "number of photographs": "photos", "8-bit rule": "precision"}.items():
        values = getattr(one, name), getattr(other, name)
        if values[0] != values[1]:
            yield f"the {what} is {values[0]} and {values[1]}"
    budgets = [sorted({(run.norm, run.eps) for run in protocol.attacks}) for protocol in (one, other)]
    if budgets[0] != budgets[1]:
        yield "the budgets are " + " and ".join(_listed([budget_name(*budget) for budget in side]) for side in budgets)
    runs, others = ({run.attack: run for run in protocol.attacks} for protocol in (one, other))
    if set(runs) != set(others):
        alone = [sorted(set(side) - set(rival)) for side, rival in ((runs, others), (others, runs))]
        yield f"only the first met {_listed(alone[0])}, only the second {_listed(alone[1])}"
    for attack in sorted(set(runs) & set(others)):
        if runs[attack] != others[attack]:
            yield f"{attack} was run as {_described(runs[attack])} and as {_described(others[attack])}"


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words) or "none"


def _described(run: AttackRun) -> str:
    made_from = f", made from {run.made_from}" if run.made_from else ""
    budget = f"{budget_name(run.norm, run.eps)} ({run.levels} levels)"
    return f"{' and '.join(run.goals)} on {run.photos} photographs at {budget}{made_from}"
