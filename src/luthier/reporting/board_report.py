"""A leaderboard as tables, sentences and figures: for a terminal, a notebook and a page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeVar

from luthier.engine.report import counted
from luthier.errors import DataError
from luthier.evaluation.crossed import AcrossPair
from luthier.evaluation.leaderboard import Comparison, Entry, Leaderboard
from luthier.evaluation.spread import Spread
from luthier.reporting.board_details import detail_sections, parts_section
from luthier.reporting.board_figures import cost_chart, interval_strips, is_close, spread_strips
from luthier.reporting.board_mistakes import mistakes_section
from luthier.reporting.board_sentences import headline_metrics, sentences, unlabelled_share
from luthier.reporting.crossed_report import crossed_leaders, crossed_sections
from luthier.reporting.race_report import race_sections
from luthier.reporting.spread_report import spread_section
from luthier.reporting.table import (
    Bar,
    Block,
    Cell,
    Column,
    Columns,
    Fold,
    Lines,
    Page,
    Row,
    Section,
    Table,
    glossary,
    left_out,
)
from luthier.tasks.task import Rows
from luthier.tasks.types import Measure

__all__ = ["board_page", "board_section", "board_sections", "board_table", "pairs_section", "spread_blocks"]

MOST_LINES = 60
"""Specs that are printed or shown in a cell, the best; the page has them all."""

MOST_STRIPS = 40
"""Specs whose intervals are drawn under each other, the best."""

MOST_PAIRS = 300
FEW_PAIRS = 15
"""Pairs up to which all are shown at once; of more, those of the best spec are, and all behind a summary."""

COSTS = (("cost_per_1000_rows_usd", "$/1k", 9), ("latency_p50_seconds", "", 7), ("latency_p95_seconds", "", 2))
"""Columns of money and time, the head where room is dear, and the step at which a terminal leaves them out."""


def board_sections(board: Leaderboard, spreads: Sequence[Spread] = (), spending: str = "") -> tuple[Section, ...]:
    """The leaderboard and what it says, then the spread over draws of examples.

    Args:
        board: what to show.
        spreads: of grids with several seeds of examples.
        spending: what was spent, in a sentence that stands last; nothing when empty.
    """
    said = sentences(board) + ([spending] if spending else [])
    if board.is_compared:
        said.append("Specs that share a letter under “tie” cannot be told apart.")
    if len(board.entries) > MOST_LINES:
        said.insert(0, f"The best {MOST_LINES} are shown; the report in MLflow has all {len(board.entries):,}.")
    crossed = crossed_sections(board.crossed, board.measure)
    beneath = (*race_sections(board), *parts_section(board), *crossed, *map(spread_section, spreads))
    return board_section(board, said), *beneath


def board_section(board: Leaderboard, said: Sequence[str], most_specs: int = MOST_LINES) -> Section:
    """The best specs of a leaderboard, with these sentences beneath."""
    specs = counted(len(board.entries), "spec")
    if board.waiting:
        specs = f"{len(board.entries)} of {counted(len(board.entries) + len(board.waiting), 'spec')}"
    if board.race is not None and board.race.stopped:
        specs = f"{len(board.entries)} of {counted(len(board.entries) + len(board.race.stopped), 'spec')}"
    title = f"{board.task.name}: {specs} on {board.rows_evaluated:,} rows, ranked by {board.measure.title}"
    return Section(title, (board_table(board, most_specs), *([Lines(tuple(said))] if said else [])))


def board_table(board: Leaderboard, most_specs: int | None = None) -> Table:
    """A row per spec, the best first, then "always the most frequent label" and the human raters.

    Args:
        board: what to show.
        most_specs: at most so many specs; all when absent.
    """
    entries = [*board.entries[:most_specs], *board.references]
    columns: list[tuple[Column, Callable[[Entry], Cell]]] = [
        (Column("#", "count"), lambda entry: entry.rank),
        (Column("spec", kind="name", least=20), lambda entry: entry.name),
        (
            Column("technique", kind="beneath", least=16, drop=4),
            lambda entry: _of_spec(entry, entry.candidate.technique),
        ),
        (Column("model", kind="beneath", least=24, drop=4), lambda entry: _of_spec(entry, _model(entry))),
    ]
    for place, name in enumerate(headline_metrics(board)):
        # Room is made from the right: first whole metrics, then the intervals of all but the first.
        drop, brief = (0, 8, 6, 3)[place] if place < 4 else 2, 5 if place else 10
        columns.append((_measured(board.measures[name], brief=brief, drop=drop), _metric(name)))
        if place == 0:
            columns.append((Column("", kind="bar", ticks=tuple(_marks(board).values())), _bar(board)))
    if any(unlabelled_share(entry) for entry in board.entries):
        hint = "Off label, refused or failed; counted as wrong."
        lost = Column(f"no {board.task.kind.value_name}", "percent", short="lost", hint=hint)
        columns.append((lost, lambda entry: _of_spec(entry, unlabelled_share(entry))))
    for name, short, drop in COSTS:
        if any(name in entry.metrics for entry in board.entries):
            columns.append((_measured(board.measures[name], short=short, drop=drop), _metric(name, specs_only=True)))
    if board.is_compared:
        hint = "Specs that share a letter cannot be told apart on these rows."
        columns.append((Column("tie", hint=hint, least=8), lambda entry: entry.group))
    return Table.of(entries, columns, lambda entry, cells: Row(cells, _style(entry.rank), rule=entry is board.majority))


def _style(rank: int | None) -> Literal["", "first", "reference"]:
    return "reference" if rank is None else "first" if rank == 1 else ""


def _measured(measure: Measure, *, short: str = "", brief: int = 0, drop: int = 0) -> Column:
    return Column(measure.title, measure.format, short=short, hint=measure.description, brief=brief, drop=drop)


def _metric(name: str, *, specs_only: bool = False) -> Callable[[Entry], Cell]:
    def cell(entry: Entry) -> Cell:
        found = entry.metrics.get(name)
        return _of_spec(entry, found and found.value) if specs_only else found

    return cell


def _bar(board: Leaderboard) -> Callable[[Entry], Cell]:
    """Of a spec, and of a reference that lies where the specs do."""

    def cell(entry: Entry) -> Cell:
        found = entry.metrics.get(board.ranked_by)
        return Bar(found) if found and (entry.rank is not None or is_close(board, found.value)) else None

    return cell


def _of_spec(entry: Entry, cell: Cell) -> Cell:
    """The cell of a spec; the references beneath have none."""
    return None if entry.rank is None else cell


def _model(entry: Entry) -> str:
    return "" if entry.candidate.model == "none" else entry.candidate.model


def _marks(board: Leaderboard) -> dict[str, float]:
    """The dotted lines: what specs are held against, where it is close to them."""
    found = {entry.name: entry.metrics.get(board.ranked_by) for entry in board.references}
    return {name: one.value for name, one in found.items() if one and is_close(board, one.value)}


def board_page(
    board: Leaderboard, rows: Rows | None = None, *, examples: int = 60, spreads: Sequence[Spread] = ()
) -> Page:
    """Everything a leaderboard says.

    Args:
        board: what it shows.
        rows: the test rows, for the wrong answers; without them, or without predictions on the board, there are none.
        examples: at most so many rows that the best spec got wrong.
        spreads: of grids with several seeds of examples.

    Raises:
        DataError: `rows` are not the rows the leaderboard was made on.
    """
    if rows is not None and rows.digest != board.test_digest:
        raise DataError(
            "these are not the rows the leaderboard was made on; give the same test table, in the same order."
        )
    close = "; where two specs' values are close, the sentences say whether the difference means anything"
    return Page(
        f"Leaderboard: {board.task.name}",
        f"{counted(len(board.entries), 'spec')} answered the same {counted(board.rows_evaluated, 'labelled row')}. "
        f"Intervals contain the true value with 95% confidence{close if board.is_compared else ''}.",
        (*crossed_leaders(board.crossed, board.measure), *sentences(board)),
        (
            _leaderboard(board),
            *race_sections(board, drawn=True),
            *crossed_sections(board.crossed, board.measure, drawn=True),
            _intervals(board),
            *_cost(board),
            *_spreads(spreads),
            *_pairs(board),
            *detail_sections(board),
            mistakes_section(board, rows, examples),
            _glossary(board),
        ),
        f"Test rows sha256 {board.test_digest}.",
    )


def _leaderboard(board: Leaderboard) -> Section:
    measure = board.measure
    marks = " and ".join(f"“{name}”" for name in _marks(board))
    dotted = f"; the dotted lines are {marks}" if marks else ""
    tied = " Specs that share a letter under “tie” cannot be told apart." if board.is_compared else ""
    intro = f"Best first, by {measure.title}. {measure.description} The bar shows the interval{dotted}.{tied}"
    return Section("Leaderboard", (intro, board_table(board)))


def _intervals(board: Leaderboard) -> Section:
    found = [entry for entry in board.entries if board.ranked_by in entry.metrics]
    about = ""
    if board.pairs:
        about = (
            "Overlapping intervals do not mean that two specs are equal: all specs answered the same rows, so pairs "
            "are compared row by row, which detects smaller differences."
        )
    drawn = interval_strips(board, found[:MOST_STRIPS])
    left = left_out("specs", len(found), min(len(found), MOST_STRIPS))
    return Section("Intervals", (drawn, *filter(None, [about]), *left))


def _cost(board: Leaderboard) -> list[Section]:
    chart = cost_chart(board)
    if chart is None:
        return []
    return [Section("Quality and time" if chart.x.unit == "seconds" else "Quality and cost", (chart,))]


def _spreads(spreads: Sequence[Spread]) -> list[Section]:
    if not spreads:
        return []
    intro = (
        "The same settings with other examples drawn: every point is one draw. Two settings differ if their draws lie "
        "further apart than chance explains; the p-values come from permutation tests, corrected for the number of "
        "pairs (Holm's method)."
    )
    return [Section("Spread", (intro, *spread_blocks(spreads)))]


def spread_blocks(spreads: Iterable[Spread]) -> list[Block]:
    """Each spread as a figure, a table and sentences."""
    return [block for spread in spreads for block in (spread_strips(spread), spread_section(spread))]


def _pairs(board: Leaderboard) -> list[Section]:
    ordered = board.task.kind.ordered
    graded = board.task.kind.graded
    tests = "“Near” compares how far off each one is (sign-flip test)."
    if not graded:
        near = ", “near” how far off each one is (sign-flip test)" if ordered else ""
        tests = f"“Right” compares how often each one is exactly right (McNemar's test){near}."
    intro = (
        "Every pair of specs on the same rows. “p” is the probability of a difference at least this large by chance "
        f"alone, corrected for the number of pairs (Holm's method); below {board.alpha:g} it counts as real. "
        f"{tests}"
    )
    right: Columns[Comparison] = [(Column("p right", "p"), lambda pair: pair.accuracy_corrected)]
    near_it: Columns[Comparison] = [(Column("p near", "p"), lambda pair: pair.error_corrected)]
    apart: Columns[Comparison] = [(Column("disagree on", "percent"), lambda pair: pair.disagreement)]
    more = [*([] if graded else right), *(near_it if ordered else []), *([] if graded else apart)]
    head = Column(f"difference in {board.measure.title}", board.measure.format)
    return pairs_section(intro, head, board.pairs, board.alpha, more)


Pair = TypeVar("Pair", bound=Comparison | AcrossPair)


def pairs_section(
    intro: str, difference: Column, pairs: Sequence[Pair], alpha: float, more: Columns[Pair] = ()
) -> list[Section]:
    """Every pair of specs, the better one first; below `alpha` two are different. Nothing where there are no pairs."""
    if not pairs:
        return []
    columns: Columns[Pair] = [
        (Column("better", kind="name"), lambda pair: pair.first),
        (Column("other", kind="name"), lambda pair: pair.second),
        (difference, lambda pair: pair.difference),
        (Column("p", "p"), lambda pair: pair.corrected),
        *more,
        (Column(""), lambda pair: "different" if pair.corrected < alpha else "not told apart"),
    ]
    notes = left_out("pairs", len(pairs), min(len(pairs), MOST_PAIRS), first="first")
    whole = Table.of(pairs[:MOST_PAIRS], columns, notes=notes)
    if len(pairs) <= FEW_PAIRS:
        return [Section("Pairs", (intro, whole))]
    best = pairs[0].first
    of_best = Table.of([pair for pair in pairs[:MOST_PAIRS] if best in (pair.first, pair.second)], columns)
    return [Section("Pairs", (intro, of_best, Fold(f"All {counted(len(pairs), 'pair')}", (whole,))))]


def _glossary(board: Leaderboard) -> Section:
    costs = {name for entry in board.entries for name in entry.metrics} & {name for name, _, _ in COSTS}
    present = {*headline_metrics(board), *costs}
    wrong = "the worst answer" if board.task.kind.graded else "wrong"
    note = (
        f"A row without a usable {board.task.kind.value_name} counts as {wrong} everywhere. “{board.majority.name}” "
        "gives every row the same answer without reading it: a useful spec has to beat it."
    )
    terms = {measure.title: measure.description for name, measure in board.measures.items() if name in present}
    return Section("Glossary", (glossary(terms), note))
