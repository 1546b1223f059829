"""What a benchmark can show: each word in its `show` is a view, made of tables, figures and sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from robustiqa.report.attacks import attack_table
from robustiqa.report.benchmark_figures import change_figures, first_order_figures, norm_figures, pair_study
from robustiqa.report.benchmark_study import BenchmarkStudy
from robustiqa.report.benchmark_tables import attack_tables, clean_table, white_black_table
from robustiqa.report.controls import first_order_table
from robustiqa.report.examples import EXAMPLES, example_sentences, examples_table
from robustiqa.report.figures import Figure
from robustiqa.report.intensity import intensity_figures, intensity_table
from robustiqa.report.losses import ledger_table, levels_table, losses_table
from robustiqa.report.members import members_table
from robustiqa.report.observations import observation_sentences, observations_table
from robustiqa.report.query_curve import curve_figures, curve_sentences, curve_table, query_curve
from robustiqa.report.sweeps import sweep_figures, sweep_table
from robustiqa.report.tables import Table
from robustiqa.report.transfer_matrix import transfer_matrices


@dataclass(frozen=True)
class View:
    """What one word in `show` puts on the page."""

    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    sentences: tuple[str, ...] = ()


def _view(tables: Iterable[Table | None] = (), figures: Iterable[Figure] = (), sentences: Iterable[str] = ()) -> View:
    made = tuple(table for table in tables if table is not None)
    return View(made, tuple(figures), tuple(sentences))


def _first_order(read: BenchmarkStudy) -> View:
    return _view(_by_pair(read), first_order_figures(read))


def _by_pair(read: BenchmarkStudy) -> Iterator[Table]:
    for pair in read.pairs:
        table = first_order_table(pair_study(read, pair))
        if table is not None:
            yield replace(table, name=f"{table.name}-{pair.model}", title=f"{table.title}, {pair.title}")


def _query_curve(read: BenchmarkStudy) -> View:
    curve = query_curve(read.study)
    if curve is None:
        return View()
    return _view([curve_table(curve)], curve_figures(curve), curve_sentences(curve))


VIEWS: Mapping[str, Callable[[BenchmarkStudy], View]] = {
    "clean": lambda read: _view([clean_table(read)]),
    "attacks": lambda read: _view(attack_tables(read)),
    "observations": lambda read: _view(
        [observations_table(read), white_black_table(read)], sentences=observation_sentences(read)
    ),
    "white_black": lambda read: _view([white_black_table(read)]),
    "sweep": lambda read: _view([sweep_table(read)], sweep_figures(read)),
    EXAMPLES: lambda read: _view([examples_table(read)], sentences=example_sentences(read)),
    "norms": lambda read: _view(figures=norm_figures(read)),
    "changes": lambda read: _view(figures=change_figures(read)),
    "intensity": lambda read: _view([intensity_table(read)], intensity_figures(read)),
    "losses": lambda read: _view([losses_table(read)]),
    "levels": lambda read: _view([levels_table(read)]),
    "ledger": lambda read: _view([ledger_table(read)]),
    "first_order": _first_order,
    "each_attack": lambda read: _view([attack_table(read.study, read.notes["shown"])]),
    "members": lambda read: _view([members_table(read.study)]),
    "query_curve": _query_curve,
    "transfer": lambda read: _view(transfer_matrices(read)),
}
